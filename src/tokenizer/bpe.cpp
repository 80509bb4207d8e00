#include "tokenizer/bpe.h"

#include <algorithm>
#include <array>
#include <mutex>
#include <queue>

#include "tokenizer/merge_table.h"
#include "tokenizer/unicode.h"

namespace deepsearch {

namespace {

// Up to this many symbols a scan for the best pair beats a queue.
constexpr size_t kScanLimit = 24;

void merge_by_scan(const MergeTable& merges, std::vector<Token>& symbols) {
  constexpr Merge kNone{INT32_MAX, Vocabulary::kNone};
  std::array<Merge, kScanLimit> next{};  // next[i]: the merge of symbols i and i + 1
  const auto merge_at = [&](size_t i) {
    const Merge* const merge = i + 1 < symbols.size() ? merges.find(symbols[i], symbols[i + 1]) : nullptr;
    return merge == nullptr ? kNone : *merge;
  };
  for (size_t i = 0; i < symbols.size(); ++i) next[i] = merge_at(i);
  while (symbols.size() > 1) {
    const auto best = std::min_element(next.begin(), next.begin() + static_cast<std::ptrdiff_t>(symbols.size()),
                                       [](const Merge& a, const Merge& b) { return a.rank < b.rank; });
    if (best->merged == Vocabulary::kNone) return;
    const auto i = static_cast<size_t>(best - next.begin());
    symbols[i] = best->merged;
    symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(i) + 1);
    std::copy(next.begin() + static_cast<std::ptrdiff_t>(i) + 2, next.end(),
              next.begin() + static_cast<std::ptrdiff_t>(i) + 1);
    next[i] = merge_at(i);
    if (i > 0) next[i - 1] = merge_at(i - 1);
  }
}

void merge_by_queue(const MergeTable& merges, std::vector<Token>& symbols) {
  struct Candidate {
    int32_t rank;
    size_t left;
    Token merged;
    bool operator>(const Candidate& other) const { return rank != other.rank ? rank > other.rank : left > other.left; }
  };
  constexpr size_t kEnd = SIZE_MAX;
  struct Link {
    size_t before, after;
  };
  std::vector<Link> links(symbols.size());
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue;
  const auto offer = [&](size_t left) {
    if (left == kEnd || links[left].after == kEnd) return;
    const Merge* const merge = merges.find(symbols[left], symbols[links[left].after]);
    if (merge != nullptr) queue.push({merge->rank, left, merge->merged});
  };
  for (size_t i = 0; i < links.size(); ++i) links[i] = {i == 0 ? kEnd : i - 1, i + 1 == links.size() ? kEnd : i + 1};
  for (size_t i = 0; i < links.size(); ++i) offer(i);
  while (!queue.empty()) {
    const Candidate top = queue.top();
    queue.pop();
    const size_t right = links[top.left].after;
    if (symbols[top.left] == Vocabulary::kNone || right == kEnd) continue;
    const Merge* const merge = merges.find(symbols[top.left], symbols[right]);
    if (merge == nullptr || merge->merged != top.merged) continue;  // another merge came first
    symbols[top.left] = top.merged;
    symbols[right] = Vocabulary::kNone;
    links[top.left].after = links[right].after;
    if (links[right].after != kEnd) links[links[right].after].before = top.left;
    offer(links[top.left].before);
    offer(top.left);
  }
  std::erase(symbols, Vocabulary::kNone);
}

// Pieces seen before and their ids; emptied when it is full.
class PieceCache {
 public:
  static constexpr size_t kMaxPieceBytes = 64;

  const std::vector<Token>* find(std::string_view piece) const {
    const auto at = entries_.find(piece);
    return at == entries_.end() ? nullptr : &at->second;
  }
  void insert(std::string_view piece, std::span<const Token> ids) {
    constexpr size_t kMaxPieces = 1 << 16;
    if (entries_.size() >= kMaxPieces) entries_.clear();
    entries_.emplace(std::string(piece), std::vector<Token>(ids.begin(), ids.end()));
  }

 private:
  TextMap<std::vector<Token>> entries_;
};

class Bpe : public Model {
 public:
  explicit Bpe(const JsonNode& node)
      : Model(node.at("vocab")),
        prefix_(node.text_or_empty("continuing_subword_prefix")),
        suffix_(node.text_or_empty("end_of_word_suffix")),
        unknown_text_(node.text_or_empty("unk_token")),
        has_unknown_(node.find("unk_token").has_value()),
        fuse_unknown_(node.boolean_or("fuse_unk", false)),
        byte_fallback_(node.boolean_or("byte_fallback", false)),
        ignore_merges_(node.boolean_or("ignore_merges", false)),
        merges_(read_merges(node.at("merges"))) {
    if (const auto dropout = node.find("dropout")) {
      if (!dropout->json().is_number() || dropout->json().get<double>() != 0) {
        dropout->refuse("is not supported: an encoding must be the same every time; write null");
      }
    }
    characters_.fill(Vocabulary::kNone);
    for (char32_t c = 0; c < characters_.size(); ++c) {
      std::string text;
      unicode::append(text, c);
      characters_[c] = vocabulary().find(text);
    }
    for (unsigned byte = 0; byte < bytes_.size(); ++byte) {
      bytes_[byte] = vocabulary().find(fmt::format("<0x{:02X}>", byte));
    }
  }

  void encode(const Pieces& pieces, std::vector<Token>& ids) const override {
    // One thread at a time has the cache; another that comes meanwhile does without.
    const std::unique_lock lock(cache_mutex_, std::try_to_lock);
    std::vector<Token> symbols;
    for (const Pieces::Range& range : pieces.ranges) {
      const std::string_view piece = pieces.text(range);
      const bool cached = lock.owns_lock() && piece.size() <= PieceCache::kMaxPieceBytes;
      if (const std::vector<Token>* const known = cached ? cache_.find(piece) : nullptr) {
        ids.insert(ids.end(), known->begin(), known->end());
        continue;
      }
      encode_piece(piece, symbols);
      if (cached) cache_.insert(piece, symbols);
      ids.insert(ids.end(), symbols.begin(), symbols.end());
    }
  }

 private:
  void encode_piece(std::string_view piece, std::vector<Token>& symbols) const {
    symbols.clear();
    if (ignore_merges_) {
      if (const Token id = vocabulary().find(piece); id != Vocabulary::kNone) {
        symbols.push_back(id);
        return;
      }
    }
    split_to_symbols(piece, symbols);
    if (symbols.size() <= kScanLimit) {
      merge_by_scan(merges_, symbols);
    } else {
      merge_by_queue(merges_, symbols);
    }
  }

  // The id of one character of a piece, with the prefix and suffix that its place asks for.
  Token symbol(std::string_view character, char32_t c, bool first, bool last, std::string& spelled) const {
    const bool plain = (first || prefix_.empty()) && (!last || suffix_.empty());
    spelled = plain ? "" : (first ? "" : prefix_) + std::string(character) + (last ? suffix_ : "");
    if (!plain) return vocabulary().find(spelled);
    spelled = character;
    return c < characters_.size() ? characters_[c] : vocabulary().find(character);
  }

  void split_to_symbols(std::string_view piece, std::vector<Token>& symbols) const {
    Token unknown = Vocabulary::kNone;  // one that is not written yet: fuse_unk lets it grow
    const auto write_unknown = [&] {
      if (unknown != Vocabulary::kNone) symbols.push_back(unknown);
      unknown = Vocabulary::kNone;
    };
    std::string spelled;
    unicode::for_each_character(piece, [&](char32_t c, size_t begin, size_t end) {
      const Token id = symbol(piece.substr(begin, end - begin), c, begin == 0, end == piece.size(), spelled);
      if (id != Vocabulary::kNone) {
        write_unknown();
        symbols.push_back(id);
      } else if (!(byte_fallback_ && fall_back_to_bytes(spelled, symbols)) && has_unknown_) {
        // Without an unknown token the character is dropped. Bytes do not end a run of unknown characters, and are
        // written before it: so `tokenizers` has it.
        if (!fuse_unknown_) write_unknown();
        unknown = unknown_token();
      }
    });
    write_unknown();
  }

  bool fall_back_to_bytes(std::string_view text, std::vector<Token>& symbols) const {
    const auto id_of = [&](char byte) { return bytes_[static_cast<unsigned char>(byte)]; };
    if (std::any_of(text.begin(), text.end(), [&](char byte) { return id_of(byte) == Vocabulary::kNone; })) {
      return false;
    }
    for (const char byte : text) symbols.push_back(id_of(byte));
    return true;
  }

  Token unknown_token() const {
    const Token id = vocabulary().find(unknown_text_);
    if (id == Vocabulary::kNone) {
      bad_input("the text has a character outside the vocabulary, and so is the unknown token {}",
                nlohmann::json(unknown_text_).dump());
    }
    return id;
  }

  MergeTable read_merges(const JsonNode& list) const {
    const size_t n = list.size();
    constexpr size_t kMaxMerges = size_t{1} << 25;
    if (n > kMaxMerges) list.refuse("{} merges; at most {} are taken", n, kMaxMerges);
    MergeTable table(n);
    int32_t rank = 0;
    for (size_t i = 0; i < n; ++i) {
      const nlohmann::json& value = list.json()[i];
      std::string_view left, right;
      if (!read_merge(value, left, right)) {
        list.item(i).refuse("a merge is two tokens: \"left right\" or [\"left\", \"right\"]");
      }
      if (value.is_string() && left == "#version" && i == 0) continue;
      const Token left_id = token_of_merge(list, i, left);
      const Token right_id = token_of_merge(list, i, right);
      if (!right.starts_with(prefix_)) list.item(i).refuse("the second token does not start with \"{}\"", prefix_);
      const std::string merged = std::string(left) + std::string(right.substr(prefix_.size()));
      table.insert(left_id, right_id, {rank++, token_of_merge(list, i, merged)});
    }
    return table;
  }

  static bool read_merge(const nlohmann::json& value, std::string_view& left, std::string_view& right) {
    if (value.is_array()) {
      if (value.size() != 2 || !value[0].is_string() || !value[1].is_string()) return false;
      left = value[0].get_ref<const std::string&>();
      right = value[1].get_ref<const std::string&>();
      return true;
    }
    if (!value.is_string()) return false;
    const std::string_view text = value.get_ref<const std::string&>();
    const size_t space = text.find(' ');
    if (space == std::string_view::npos || text.find(' ', space + 1) != std::string_view::npos) return false;
    left = text.substr(0, space);
    right = text.substr(space + 1);
    return true;
  }

  Token token_of_merge(const JsonNode& list, size_t index, std::string_view text) const {
    const Token id = vocabulary().find(text);
    if (id == Vocabulary::kNone) list.item(index).refuse("{} is not in the vocabulary", nlohmann::json(text).dump());
    return id;
  }

  std::string prefix_, suffix_, unknown_text_;
  bool has_unknown_, fuse_unknown_, byte_fallback_, ignore_merges_;
  MergeTable merges_;
  std::array<Token, 0x180> characters_{};  // one-character tokens up to the end of the byte alphabet
  std::array<Token, 256> bytes_{};         // <0x00> to <0xFF>
  mutable std::mutex cache_mutex_;
  mutable PieceCache cache_;
};

}  // namespace

std::unique_ptr<Model> make_bpe(const JsonNode& node) {
  return std::make_unique<Bpe>(node);
}

}  // namespace deepsearch
