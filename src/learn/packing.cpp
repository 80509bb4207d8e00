#include "learn/packing.h"

#include <algorithm>
#include <bit>
#include <numeric>
#include <tuple>

namespace deepsearch {

namespace {

int64_t common_prefix(const std::vector<Token>& a, const std::vector<Token>& b) {
  return std::mismatch(a.begin(), a.begin() + static_cast<std::ptrdiff_t>(std::min(a.size(), b.size())), b.begin())
             .first -
         a.begin();
}

int64_t length(const Row& row) {
  return static_cast<int64_t>(row.tokens.size());
}

// Query-key pairs of the tokens at positions from … to − 1 of a text.
double pairs_between(int64_t from, int64_t to) {
  return 0.5 * static_cast<double>(to - from) * static_cast<double>(from + to + 1);
}

// Indices of rows in lexicographic order of their tokens, ties by index.
template <class Element, class RowOf>
std::vector<int32_t> sorted_by_tokens(const std::vector<Element>& rows, RowOf&& row_of) {
  std::vector<int32_t> order;
  order.reserve(rows.size());
  for (size_t r = 0; r < rows.size(); ++r) order.push_back(static_cast<int32_t>(r));
  const auto tokens_of = [&](int32_t r) -> const std::vector<Token>& {
    return row_of(rows[static_cast<size_t>(r)])->tokens;
  };
  std::sort(order.begin(), order.end(),
            [&](int32_t a, int32_t b) { return std::tie(tokens_of(a), a) < std::tie(tokens_of(b), b); });
  return order;
}

// The trie of sorted rows, written depth-first.
class Layout {
 public:
  Layout(const std::vector<WeightedRow>& rows, PackedRows& packed)
      : rows_(rows), packed_(packed), order_(sorted_by_tokens(rows, [](const WeightedRow& row) { return row.row; })) {
    for (size_t i = 0; i + 1 < order_.size(); ++i) {
      shared_.push_back(common_prefix(tokens_of(order_[i]), tokens_of(order_[i + 1])));
    }
    places_.resize(rows.size());
    for (size_t r = 0; r < rows.size(); ++r) places_[r].reserve(rows[r].row->tokens.size());
    if (!rows.empty()) write();
  }

  // Where each token of each row went.
  const std::vector<std::vector<int32_t>>& places() const { return places_; }

 private:
  // Sorted rows first … last − 1, which agree in their first `depth` tokens; `parent` ends there.
  struct Group {
    size_t first, last;
    int64_t depth;
    int32_t parent;
  };

  const std::vector<Token>& tokens_of(int32_t row) const { return rows_[static_cast<size_t>(row)].row->tokens; }

  void write() {
    std::vector<Group> stack = {{0, order_.size(), 0, -1}};
    while (!stack.empty()) {
      const Group group = stack.back();
      stack.pop_back();
      const auto shared = [&](size_t i) { return shared_[i]; };
      int64_t end = length(*rows_[static_cast<size_t>(order_[group.first])].row);
      for (size_t i = group.first; i + 1 < group.last; ++i) end = std::min(end, shared(i));
      const int32_t parent = end > group.depth ? write_segment(group, end) : group.parent;
      if (group.last - group.first == 1) continue;
      // The groups that go on after `end`, pushed last first so that they are written first first.
      size_t last = group.last;
      for (size_t i = group.last - 1; i-- > group.first;) {
        if (shared(i) > end) continue;
        stack.push_back({i + 1, last, end, parent});
        last = i + 1;
      }
      stack.push_back({group.first, last, end, parent});
    }
  }

  int32_t write_segment(const Group& group, int64_t end) {
    const auto first = static_cast<int32_t>(packed_.tokens.size());
    const std::vector<Token>& tokens = tokens_of(order_[group.first]);
    packed_.segments.push_back({group.parent, first, static_cast<int32_t>(end - group.depth)});
    for (int64_t depth = group.depth; depth < end; ++depth) {
      packed_.tokens.push_back(tokens[static_cast<size_t>(depth)]);
      packed_.positions.push_back(static_cast<int32_t>(depth));
    }
    for (size_t i = group.first; i < group.last; ++i) {
      std::vector<int32_t>& places = places_[static_cast<size_t>(order_[i])];
      for (int64_t depth = group.depth; depth < end; ++depth) {
        places.push_back(first + static_cast<int32_t>(depth - group.depth));
      }
    }
    return static_cast<int32_t>(packed_.segments.size()) - 1;
  }

  const std::vector<WeightedRow>& rows_;
  PackedRows& packed_;
  std::vector<int32_t> order_;
  std::vector<int64_t> shared_;  // tokens that sorted row i has in common with the next
  std::vector<std::vector<int32_t>> places_;
};

// One response token of one row.
struct Mention {
  int32_t output_place, place;  // of the token before it and of itself
  float advantage, behaviour;
  int32_t version;
  double weight;
  float count;
  int32_t row, index;

  // As bits: a NaN must not upset the order (its loss is what names the tree).
  auto term() const {
    return std::make_tuple(output_place, place, std::bit_cast<int32_t>(advantage), std::bit_cast<int32_t>(behaviour),
                           version);
  }
  bool operator<(const Mention& other) const {
    return std::tuple_cat(term(), std::tie(weight, row, index)) <
           std::tuple_cat(other.term(), std::tie(other.weight, other.row, other.index));
  }
};

std::vector<Mention> mentions_of(const std::vector<WeightedRow>& rows,
                                 const std::vector<std::vector<int32_t>>& places) {
  std::vector<Mention> mentions;
  for (size_t r = 0; r < rows.size(); ++r) {
    const Row& row = *rows[r].row;
    for (int64_t j = 0; j < row.n_response(); ++j) {
      const auto at = static_cast<size_t>(j);
      const auto token = static_cast<size_t>(row.n_prompt + j);
      Mention mention{};
      mention.output_place = places[r][token - 1];
      mention.place = places[r][token];
      mention.advantage = row.advantages[at];
      mention.behaviour = row.behaviour[at];
      mention.version = row.versions.empty() ? -1 : row.versions[at];
      const bool counts = row.versions.empty() || mention.version >= rows[r].oldest_version;
      mention.weight = counts ? rows[r].weight : 0.0;
      mention.count = counts ? 1.0F : 0.0F;
      mention.row = static_cast<int32_t>(r);
      mention.index = static_cast<int32_t>(j);
      mentions.push_back(mention);
    }
  }
  return mentions;
}

// Outputs, targets and terms from the rows' response tokens.
void write_terms(const std::vector<WeightedRow>& rows, const std::vector<std::vector<int32_t>>& places,
                 const std::vector<Token>& tokens, PackedRows& packed) {
  packed.row_first = {0};
  for (const WeightedRow& row : rows) {
    packed.row_first.push_back(packed.row_first.back() + row.row->n_response());
    packed.row_tokens += length(*row.row);
  }
  packed.row_terms.resize(static_cast<size_t>(packed.row_first.back()));
  std::vector<Mention> mentions = mentions_of(rows, places);
  std::sort(mentions.begin(), mentions.end());
  const Mention* before = nullptr;
  for (const Mention& mention : mentions) {
    if (before == nullptr || before->output_place != mention.output_place) {
      packed.outputs.push_back(mention.output_place);
    }
    if (before == nullptr || before->place != mention.place) {
      packed.target_outputs.push_back(static_cast<int32_t>(packed.outputs.size()) - 1);
      packed.target_tokens.push_back(tokens[static_cast<size_t>(mention.place)]);
    }
    if (before == nullptr || before->term() != mention.term()) {
      packed.term_targets.push_back(static_cast<int32_t>(packed.target_tokens.size()) - 1);
      packed.advantages.push_back(mention.advantage);
      packed.behaviour.push_back(mention.behaviour);
      packed.versions.push_back(mention.version);
      packed.weights.push_back(0);
      packed.counts.push_back(0);
    }
    packed.weights.back() += mention.weight;
    packed.counts.back() += mention.count;
    packed.row_terms[static_cast<size_t>(packed.row_first[static_cast<size_t>(mention.row)] + mention.index)] =
        static_cast<int32_t>(packed.weights.size()) - 1;
    before = &mention;
  }
}

std::vector<Piece> cut_by_prefix(const std::vector<Row>& rows, int64_t tokens, const CostModel& cost) {
  const std::vector<int32_t> order = sorted_by_tokens(rows, [](const Row& row) { return &row; });
  const auto tokens_of = [&](int32_t row) -> const std::vector<Token>& {
    return rows[static_cast<size_t>(row)].tokens;
  };
  std::vector<Piece> pieces;
  for (size_t i = 0; i < order.size(); ++i) {
    const int64_t all = length(rows[static_cast<size_t>(order[i])]);
    int64_t shared = i > 0 ? common_prefix(tokens_of(order[i - 1]), tokens_of(order[i])) : 0;
    if (pieces.empty() || pieces.back().tokens + all - shared > tokens) {
      pieces.emplace_back();
      shared = 0;
    }
    Piece& piece = pieces.back();
    piece.rows.push_back(order[i]);
    piece.tokens += all - shared;
    piece.cost += static_cast<double>(all - shared) + cost.per_pair * pairs_between(shared, all);
  }
  return pieces;
}

std::vector<Piece> cut_padded(const std::vector<Row>& rows, int64_t tokens, const CostModel& cost) {
  std::vector<int32_t> order(rows.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    return rows[static_cast<size_t>(a)].tokens.size() > rows[static_cast<size_t>(b)].tokens.size();
  });
  std::vector<Piece> pieces;
  int64_t longest = 0;
  int64_t room = 0;  // rows that still fit: a piece's first row is its longest
  for (const int32_t row : order) {
    if (room == 0) {
      longest = std::max<int64_t>(length(rows[static_cast<size_t>(row)]), 1);
      room = std::max<int64_t>(1, tokens / longest);
      pieces.emplace_back();
    }
    Piece& piece = pieces.back();
    piece.rows.push_back(row);
    piece.tokens += longest;
    piece.cost += static_cast<double>(longest) + cost.per_pair * pairs_between(0, longest);
    --room;
  }
  return pieces;
}

}  // namespace

PackedRows pack_rows(const std::vector<WeightedRow>& rows) {
  PackedRows packed;
  const Layout layout(rows, packed);
  write_terms(rows, layout.places(), packed.tokens, packed);
  return packed;
}

PackedRows pad_rows(const std::vector<WeightedRow>& rows, Token pad) {
  PackedRows packed;
  for (const WeightedRow& row : rows) packed.width = std::max(packed.width, length(*row.row));
  packed.tokens.assign(rows.size() * static_cast<size_t>(packed.width), pad);
  std::vector<std::vector<int32_t>> places(rows.size());
  for (size_t r = 0; r < rows.size(); ++r) {
    const std::vector<Token>& tokens = rows[r].row->tokens;
    const auto first = static_cast<int32_t>(static_cast<int64_t>(r) * packed.width);
    std::copy(tokens.begin(), tokens.end(), packed.tokens.begin() + first);
    places[r].resize(tokens.size());
    std::iota(places[r].begin(), places[r].end(), first);
  }
  for (int64_t position = 0; position < packed.width; ++position) {
    packed.positions.push_back(static_cast<int32_t>(position));
  }
  write_terms(rows, places, packed.tokens, packed);
  return packed;
}

std::vector<Piece> cut_into_pieces(const std::vector<Row>& rows, Packing packing, int64_t tokens,
                                   const CostModel& cost) {
  return packing == Packing::kTree ? cut_by_prefix(rows, tokens, cost) : cut_padded(rows, tokens, cost);
}

std::vector<int> share_pieces(const std::vector<Piece>& pieces, int ranks) {
  std::vector<size_t> order(pieces.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return pieces[a].cost > pieces[b].cost; });
  std::vector<double> load(static_cast<size_t>(ranks), 0);
  std::vector<int> rank_of(pieces.size(), 0);
  for (const size_t piece : order) {
    const auto least = std::min_element(load.begin(), load.end());
    *least += pieces[piece].cost;
    rank_of[piece] = static_cast<int>(least - load.begin());
  }
  return rank_of;
}

}  // namespace deepsearch
