#include "store/part_writer.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <optional>
#include <unordered_map>
#include <vector>

#include <fmt/format.h>

#include "core/error.h"
#include "core/rng.h"
#include "core/timer.h"
#include "data/tree_check.h"
#include "store/column_table.h"
#include "store/file_header.h"
#include "store/problem_tables.h"
#include "store/writer_guard.h"
#include "store/writer_lock.h"

namespace deepsearch {
namespace {

uint64_t fingerprint(const Problem& problem) {
  uint64_t hash = mix_all(problem.key, hash_text(problem.id), hash_text(problem.source), hash_text(problem.prompt),
                          hash_text(problem.answer), problem.prompt_tokens.size());
  for (const Token token : problem.prompt_tokens) hash = mix(hash, static_cast<uint64_t>(token));
  return hash;
}

// To nearest, ties to even; what is not finite stays.
void round_mantissas(std::span<float> values, int bits) {
  if (bits >= 23) return;
  const uint32_t dropped = 23 - static_cast<uint32_t>(bits);
  const uint32_t half = (uint32_t{1} << (dropped - 1)) - 1;
  const uint32_t kept = ~((uint32_t{1} << dropped) - 1);
  for (float& value : values) {
    const auto pattern = std::bit_cast<uint32_t>(value);
    const uint32_t near = (pattern + half + ((pattern >> dropped) & 1)) & kept;
    const float rounded = std::bit_cast<float>(near);
    if (std::isfinite(value) && std::isfinite(rounded)) value = rounded;
  }
}

double mean_reward(const TreeRecord& tree) {
  if (tree.recorded.empty()) return std::numeric_limits<double>::quiet_NaN();
  double sum = 0;
  for (const RecordedLeaf& leaf : tree.recorded) sum += leaf.reward;
  return sum / static_cast<double>(tree.recorded.size());
}

}  // namespace

std::string check_tree_record(const TreeRecord& tree) {
  if (tree.nodes.empty()) return "no nodes, not even a root";
  return contradiction(tree, Columns::kAll);
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
  PartParams params;
  std::vector<float> rounded;
  size_t most_bytes = 0;
  Stopwatch since_flush;
  WriterLock lock;
  WriterGuard guard;

  void create(const RunInfo& info, int rank);
  int64_t problem_row(const Problem& problem);
  void buffer(const TreeRecord& tree);
  void append_rounded(size_t column, const std::vector<float>& values);
  std::vector<TableWriter*> tables();
  void count_memory();
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
  write_attribute(file.id(), "level", std::string(params.recorded_only ? "recorded" : "all"), place);
  write_attribute(file.id(), "mantissa_bits", static_cast<int64_t>(params.mantissa_bits), place);
  const std::vector<TableSchema> schemas = part_tables_with(params.deflate, params.mantissa_bits);
  trees.emplace(file.id(), place, table_schema(schemas, "/trees"));
  nodes.emplace(file.id(), place, table_schema(schemas, "/nodes"));
  tokens.emplace(file.id(), place, table_schema(schemas, "/tokens"));
  recorded.emplace(file.id(), place, table_schema(schemas, "/recorded"));
  events.emplace(file.id(), place, table_schema(schemas, "/events"));
  problems.emplace(file.id(), place, schemas);
  start_swmr(file, place);
  lock.take(temporary);
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
  append_rounded(1, tree.logprobs);
  append_rounded(2, tree.entropies);
  tokens->append_column(3, tree.token_versions.data(), tree.token_versions.size() * sizeof(int32_t));
  tokens->commit_columns(line.n_tokens);
  trees->append(line);
}

void PartWriter::Impl::append_rounded(size_t column, const std::vector<float>& values) {
  rounded = values;
  round_mantissas(rounded, params.mantissa_bits);
  tokens->append_column(column, rounded.data(), rounded.size() * sizeof(float));
}

std::vector<TableWriter*> PartWriter::Impl::tables() {
  return {&*trees, &*tokens, &*nodes, &*recorded, &*events};
}

void PartWriter::Impl::count_memory() {
  size_t bytes = problems->memory_bytes();
  for (const TableWriter* table : tables()) bytes += table->memory_bytes();
  most_bytes = std::max(most_bytes, bytes);
}

// A table is written when a chunk's worth has gathered. /trees waits for publish(): its rows must not reach the file
// before what they refer to.
void PartWriter::Impl::write_full_blocks() {
  for (TableWriter* table : {&*tokens, &*nodes, &*recorded, &*events}) {
    if (table->held_lines() >= table->schema().chunk_rows) table->write();
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

PartWriter::PartWriter(const std::filesystem::path& path, const RunInfo& info, int rank, const PartParams& params)
    : impl_(std::make_unique<Impl>()) {
  impl_->path = path;
  impl_->temporary = path;
  impl_->temporary += ".tmp";
  impl_->place.file = path.string();
  impl_->params = params;
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
  if (impl_->guard.broken()) abandon(std::move(impl_));
}

void PartWriter::append(const TreeRecord& tree) {
  if (const std::string wrong = check_tree_record(tree); !wrong.empty()) {
    failure("{}: a tree of problem '{}' contradicts itself: {}", impl_->path.string(), tree.problem.id, wrong);
  }
  impl_->guard.run([&] {
    if (impl_->file.id() < 0) failure("{}: append after close", impl_->path.string());
    impl_->buffer(impl_->params.recorded_only ? recorded_paths(tree) : tree);
    impl_->count_memory();
    impl_->write_full_blocks();
    if (impl_->since_flush.seconds() >= impl_->params.flush_seconds) impl_->publish();
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
    update_attribute(impl_->file.id(), "state", kStateClosed, impl_->place);
    check_hdf5(H5Fflush(impl_->file.id(), H5F_SCOPE_LOCAL), "flush",
               impl_->place);  // closing has nothing left to write
    for (TableWriter* table : impl_->tables()) table->close();
    impl_->problems->close();
    impl_->file.close(impl_->place);
    impl_->lock.release();
  });
}

int64_t PartWriter::n_trees() const {
  return impl_->trees->lines();
}

size_t PartWriter::memory_bytes() const {
  return impl_->most_bytes;
}

double PartWriter::seconds_spent() const {
  return impl_->guard.seconds();
}

}  // namespace deepsearch
