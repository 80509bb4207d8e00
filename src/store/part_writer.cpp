#include "store/part_writer.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <unordered_map>
#include <vector>

#include <fmt/format.h>

#include "core/error.h"
#include "core/rng.h"
#include "core/timer.h"
#include "store/column_table.h"
#include "store/file_header.h"
#include "store/problem_tables.h"
#include "store/writer_guard.h"

namespace deepsearch {
namespace {

uint64_t fingerprint(const Problem& problem) {
  uint64_t hash = mix_all(problem.key, hash_text(problem.id), hash_text(problem.source), hash_text(problem.prompt),
                          hash_text(problem.answer), problem.prompt_tokens.size());
  for (const Token token : problem.prompt_tokens) hash = mix(hash, static_cast<uint64_t>(token));
  return hash;
}

double mean_reward(const TreeRecord& tree) {
  if (tree.recorded.empty()) return std::numeric_limits<double>::quiet_NaN();
  double sum = 0;
  for (const RecordedLeaf& leaf : tree.recorded) sum += leaf.reward;
  return sum / static_cast<double>(tree.recorded.size());
}

}  // namespace

std::string check_tree_record(const TreeRecord& tree) {
  const auto n_nodes = static_cast<int64_t>(tree.nodes.size());
  const auto n_tokens = static_cast<int64_t>(tree.tokens.size());
  if (n_nodes == 0) return "no nodes, not even a root";
  if (tree.logprobs.size() != tree.tokens.size() || tree.entropies.size() != tree.tokens.size()) {
    return fmt::format("{} tokens, {} log-probabilities and {} entropies", n_tokens, tree.logprobs.size(),
                       tree.entropies.size());
  }
  if (tree.token_versions.size() != tree.tokens.size()) {
    return fmt::format("{} tokens and {} policy versions of tokens", n_tokens, tree.token_versions.size());
  }
  for (int64_t id = 0; id < n_nodes; ++id) {
    const NodeRecord& node = tree.nodes[static_cast<size_t>(id)];
    const bool parent_fits = id == 0 ? node.parent == -1 : node.parent >= 0 && node.parent < id;
    if (!parent_fits) return fmt::format("node {} has the parent {}", id, node.parent);
    if (node.first_token < 0 || node.n_tokens < 0 || int64_t{node.first_token} + node.n_tokens > n_tokens) {
      return fmt::format("node {} has tokens {} + {}, the tree has {}", id, node.first_token, node.n_tokens, n_tokens);
    }
  }
  for (const RecordedLeaf& recorded : tree.recorded) {
    if (recorded.leaf < 0 || recorded.leaf >= n_nodes) {
      return fmt::format("the recorded leaf {} is no node of {}", recorded.leaf, n_nodes);
    }
  }
  for (const SearchEvent& event : tree.events) {
    if (event.node < -1 || event.node >= n_nodes)
      return fmt::format("an event's node {} is none of {}", event.node, n_nodes);
  }
  return "";
}

struct PartWriter::Impl {
  std::filesystem::path path;
  std::filesystem::path temporary;
  Hdf5Place place;
  Hdf5Handle file;  // before the tables: datasets are closed first
  std::optional<ProblemWriter> problems;
  std::optional<TableWriter> tokens, nodes, recorded, events, trees;
  std::unordered_map<uint64_t, int64_t> problem_rows;  // by fingerprint
  std::vector<NodeLine> node_lines;                    // scratch
  std::vector<RecordedLine> recorded_lines;
  std::vector<EventLine> event_lines;
  double flush_seconds = 0;
  Stopwatch since_flush;
  WriterGuard guard;

  void create(const RunInfo& info, int rank);
  int64_t problem_row(const Problem& problem);
  void buffer(const TreeRecord& tree);
  void write_full_blocks();
  void publish();
};

// Under a temporary name first: the file appears under its own once readers may open it.
void PartWriter::Impl::create(const RunInfo& info, int rank) {
  if (std::filesystem::exists(path)) bad_input("{}: exists already; a part is never written twice", path.string());
  std::error_code error;
  std::filesystem::remove(temporary, error);
  file = create_hdf5(temporary, place);
  const auto index = static_cast<size_t>(std::max(rank, 0));
  write_header(file.id(), kPartSchema, info, place);
  write_attribute(file.id(), "rank", static_cast<int64_t>(rank), place);
  write_attribute(file.id(), "host", index < info.hosts.size() ? info.hosts[index] : std::string(), place);
  write_attribute(file.id(), "role", index < info.roles.size() ? info.roles[index] : std::string(), place);
  write_attribute(file.id(), "state", std::string(kStateRunning), place, kStateBytes);
  trees.emplace(file.id(), place, table_schema(part_tables(), "/trees"));
  nodes.emplace(file.id(), place, table_schema(part_tables(), "/nodes"));
  tokens.emplace(file.id(), place, table_schema(part_tables(), "/tokens"));
  recorded.emplace(file.id(), place, table_schema(part_tables(), "/recorded"));
  events.emplace(file.id(), place, table_schema(part_tables(), "/events"));
  problems.emplace(file.id(), place, part_tables());
  start_swmr(file, place);
  std::filesystem::rename(temporary, path, error);
  if (error) failure("{}: cannot rename {} to it: {}", path.string(), temporary.string(), error.message());
}

int64_t PartWriter::Impl::problem_row(const Problem& problem) {
  const auto [found, is_new] = problem_rows.try_emplace(fingerprint(problem), 0);
  if (is_new) found->second = problems->add(problem, ProblemLine{});
  return found->second;
}

void PartWriter::Impl::buffer(const TreeRecord& tree) {
  const int64_t row = trees->lines();
  TreeLine line;
  line.kind = tree.kind;
  line.round = tree.key.round;
  line.step = tree.key.step;
  line.problem_index = tree.key.problem_index;
  line.attempt = tree.key.attempt;
  line.problem_key = tree.key.problem_key;
  line.problem = problem_row(tree.problem);
  line.policy_version = tree.policy_version;
  line.stop_reason = tree.stop_reason;
  line.iterations = tree.iterations;
  line.tokens_generated = tree.tokens_generated;
  line.tokens_prefilled = tree.tokens_prefilled;
  line.seconds = tree.seconds;
  line.seconds_generating = tree.seconds_generating;
  line.made_by_rank = tree.made_by_rank;
  for (const NodeRecord& node : tree.nodes) line.max_depth = std::max(line.max_depth, node.depth);
  line.n_correct = std::count_if(tree.recorded.begin(), tree.recorded.end(),
                                 [](const RecordedLeaf& leaf) { return leaf.outcome == Outcome::kCorrect; });
  line.mean_reward = mean_reward(tree);
  line.first_node = nodes->lines();
  line.n_nodes = static_cast<int64_t>(tree.nodes.size());
  line.first_token = tokens->lines();
  line.n_tokens = static_cast<int64_t>(tree.tokens.size());
  line.first_recorded = recorded->lines();
  line.n_recorded = static_cast<int64_t>(tree.recorded.size());
  line.first_event = events->lines();
  line.n_events = static_cast<int64_t>(tree.events.size());

  node_lines.clear();
  for (const NodeRecord& node : tree.nodes) node_lines.push_back({node, row, line.first_token + node.first_token});
  recorded_lines.clear();
  for (const RecordedLeaf& leaf : tree.recorded) recorded_lines.push_back({leaf, row});
  event_lines.clear();
  for (const SearchEvent& event : tree.events) event_lines.push_back({event, row});

  nodes->append(std::span<const NodeLine>(node_lines));
  recorded->append(std::span<const RecordedLine>(recorded_lines));
  events->append(std::span<const EventLine>(event_lines));
  tokens->append_column(0, tree.tokens.data(), tree.tokens.size() * sizeof(Token));
  tokens->append_column(1, tree.logprobs.data(), tree.logprobs.size() * sizeof(float));
  tokens->append_column(2, tree.entropies.data(), tree.entropies.size() * sizeof(float));
  tokens->append_column(3, tree.token_versions.data(), tree.token_versions.size() * sizeof(int32_t));
  tokens->commit_columns(line.n_tokens);
  trees->append(line);
}

// A table is written when a chunk's worth has gathered. /trees waits for publish(): its rows must not reach the file
// before what they refer to.
void PartWriter::Impl::write_full_blocks() {
  for (TableWriter* table : {&*tokens, &*nodes, &*recorded, &*events}) {
    if (table->pending_lines() >= table->schema().chunk_rows) table->write();
  }
}

void PartWriter::Impl::publish() {
  problems->publish();
  tokens->publish();
  nodes->publish();
  recorded->publish();
  events->publish();
  trees->publish();
  since_flush.restart();
}

PartWriter::PartWriter(const std::filesystem::path& path, const RunInfo& info, int rank, double flush_seconds)
    : impl_(std::make_unique<Impl>()) {
  impl_->path = path;
  impl_->temporary = path;
  impl_->temporary += ".tmp";
  impl_->place.file = path.string();
  impl_->flush_seconds = flush_seconds;
  try {
    impl_->guard.run([&] { impl_->create(info, rank); });
  } catch (const Error&) {
    std::error_code ignored;
    std::filesystem::remove(impl_->temporary, ignored);
    throw;
  }
}

PartWriter::~PartWriter() {
  try {
    if (!impl_->guard.broken()) close();
  } catch (const std::exception&) {
    // Nobody is left to tell; what was flushed is readable.
  }
  if (impl_->guard.broken()) static_cast<void>(impl_.release());  // on purpose: see store/writer_guard.h
}

void PartWriter::append(const TreeRecord& tree) {
  if (const std::string wrong = check_tree_record(tree); !wrong.empty()) {
    failure("{}: a tree of problem '{}' contradicts itself: {}", impl_->path.string(), tree.problem.id, wrong);
  }
  impl_->guard.run([&] {
    if (impl_->file.id() < 0) failure("{}: append after close", impl_->path.string());
    impl_->buffer(tree);
    impl_->write_full_blocks();
    if (impl_->since_flush.seconds() >= impl_->flush_seconds) impl_->publish();
  });
}

void PartWriter::flush() {
  impl_->guard.run([&] {
    if (impl_->file.id() >= 0) impl_->publish();
  });
}

void PartWriter::close() {
  impl_->guard.run([&] {
    if (impl_->file.id() < 0) return;
    impl_->publish();
    update_attribute(impl_->file.id(), "state", "closed", impl_->place);
    check_hdf5(H5Fflush(impl_->file.id(), H5F_SCOPE_LOCAL), "flush",
               impl_->place);  // closing has nothing left to write
    for (TableWriter* table : {&*impl_->trees, &*impl_->tokens, &*impl_->nodes, &*impl_->recorded, &*impl_->events}) {
      table->close();
    }
    impl_->problems->close();
    impl_->file.close(impl_->place);
  });
}

int64_t PartWriter::n_trees() const {
  return impl_->trees->lines();
}

double PartWriter::seconds_spent() const {
  return impl_->guard.seconds();
}

}  // namespace deepsearch
