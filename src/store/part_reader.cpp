#include <algorithm>
#include <utility>

#include "core/error.h"
#include "store/column_table.h"
#include "store/file_header.h"
#include "store/part_rows.h"
#include "store/part_writer.h"
#include "store/problem_tables.h"
#include "store/readers.h"

namespace deepsearch {

// Members are opened in this order: /trees before what its rows refer to, so that in a growing file every row that is
// seen is whole.
struct PartReader::Impl {
  Hdf5Place place;
  uint64_t file_bytes = 0;  // this and the state are set by open()
  std::string state;
  Hdf5Handle file;
  RunInfo info;
  int rank = -1;
  TableReader trees, nodes, tokens, recorded, events;
  ProblemReader problems;
  std::vector<TreeLine> lines;  // the whole ones

  explicit Impl(const std::filesystem::path& path)
      : place{path.string(), "", true},
        file(open(path)),
        trees(table("/trees")),
        nodes(table("/nodes")),
        tokens(table("/tokens")),
        recorded(table("/recorded")),
        events(table("/events")),
        problems(file.id(), place, part_tables(), file_bytes),
        lines(trees.read<TreeLine>(0, trees.lines())) {
    info = read_header(file.id(), place);
    rank = static_cast<int>(read_int_attribute(file.id(), "rank", place));
    keep_whole_lines();
  }

  Hdf5Handle open(const std::filesystem::path& path) {
    Hdf5Handle opened = open_hdf5(path, place);
    check_header(opened.id(), kPartSchema, place);
    state = read_text_attribute(opened.id(), "state", place);
    file_bytes = std::filesystem::file_size(path);
    return opened;
  }
  TableReader table(const char* path) const {
    return TableReader(file.id(), place, table_schema(part_tables(), path), file_bytes);
  }
  void keep_whole_lines();
};

// What a kill (or a crash of the machine) left of the last rows is cut off; in a file that was closed there is no such
// excuse.
void PartReader::Impl::keep_whole_lines() {
  const WholeTrees whole = whole_trees(lines, {nodes.lines(), tokens.lines(), recorded.lines(), events.lines()});
  if (!whole.why.empty() && state != kStateRunning) bad_input("{}: {}", place.at("/trees").text(), whole.why);
  lines.resize(whole.rows);
}

PartReader::PartReader(const std::filesystem::path& path) : impl_(std::make_unique<Impl>(path)) {}
PartReader::~PartReader() = default;
PartReader::PartReader(PartReader&&) noexcept = default;
PartReader& PartReader::operator=(PartReader&&) noexcept = default;

int64_t PartReader::n_trees() const {
  return static_cast<int64_t>(impl_->lines.size());
}

const RunInfo& PartReader::info() const {
  return impl_->info;
}

int PartReader::rank() const {
  return impl_->rank;
}

std::string PartReader::state() const {
  return impl_->state;
}

namespace {

TreeKey key_of(const TreeLine& line) {
  return TreeKey{line.round, line.step, line.problem_index, line.problem_key, line.attempt};
}

}  // namespace

TreeRecord PartReader::tree(int64_t row) const {
  const Impl& impl = *impl_;
  const Hdf5Place& place = impl.place;
  if (row < 0 || row >= n_trees())
    bad_input("{}: row {} is asked for, there are {}", place.at("/trees").text(), row, n_trees());
  const TreeLine& line = impl.lines[static_cast<size_t>(row)];
  TreeRecord tree;
  tree.kind = line.kind;
  tree.key = key_of(line);
  ProblemLine unused;
  tree.problem = impl.problems.read(line.problem, unused);
  tree.policy_version = line.policy_version;
  tree.stop_reason = line.stop_reason;
  tree.iterations = line.iterations;
  tree.tokens_generated = line.tokens_generated;
  tree.tokens_prefilled = line.tokens_prefilled;
  tree.seconds = line.seconds;
  tree.seconds_generating = line.seconds_generating;
  tree.made_by_rank = line.made_by_rank;

  for (NodeLine& node : impl.nodes.read<NodeLine>(line.first_node, line.n_nodes)) {
    const int64_t first = node.token_row - line.first_token;
    if (first < 0 || first > line.n_tokens) {
      bad_input("{}: tree {} has a token row {} outside its own", place.at("/nodes/first_token").text(), row,
                node.token_row);
    }
    node.first_token = static_cast<int32_t>(first);
    tree.nodes.push_back(node);
  }
  const auto n_tokens = static_cast<size_t>(line.n_tokens);
  tree.tokens.resize(n_tokens);
  tree.logprobs.resize(n_tokens);
  tree.entropies.resize(n_tokens);
  tree.token_versions.resize(n_tokens);
  impl.tokens.read_column(0, line.first_token, line.n_tokens, tree.tokens.data());
  impl.tokens.read_column(1, line.first_token, line.n_tokens, tree.logprobs.data());
  impl.tokens.read_column(2, line.first_token, line.n_tokens, tree.entropies.data());
  impl.tokens.read_column(3, line.first_token, line.n_tokens, tree.token_versions.data());
  if (!impl.tokens.has_column(3)) {  // a file of before it was told for each token
    std::fill(tree.token_versions.begin(), tree.token_versions.end(), static_cast<int32_t>(line.policy_version));
  }
  for (const RecordedLine& leaf : impl.recorded.read<RecordedLine>(line.first_recorded, line.n_recorded)) {
    tree.recorded.push_back(leaf);
  }
  for (const EventLine& event : impl.events.read<EventLine>(line.first_event, line.n_events))
    tree.events.push_back(event);
  if (const std::string wrong = check_tree_record(tree); !wrong.empty()) {
    bad_input("{}: the tree of row {} contradicts itself: {}", place.at("/trees").text(), row, wrong);
  }
  return tree;
}

std::vector<PartReader::TreeRow> PartReader::rows() const {
  std::vector<TreeRow> rows;
  rows.reserve(impl_->lines.size());
  for (const TreeLine& line : impl_->lines) {
    TreeRow row;
    row.row = static_cast<int64_t>(rows.size());
    row.key = key_of(line);
    row.kind = line.kind;
    ProblemLine problem;
    row.problem_id = impl_->problems.read(line.problem, problem).id;
    row.n_nodes = line.n_nodes;
    row.n_recorded = line.n_recorded;
    row.n_correct = line.n_correct;
    row.stop_reason = line.stop_reason;
    row.tokens_generated = line.tokens_generated;
    row.seconds = line.seconds;
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace deepsearch
