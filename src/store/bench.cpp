#include "store/bench.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>

#include "core/error.h"
#include "core/rng.h"
#include "core/timer.h"
#include "store/file_header.h"
#include "store/handles.h"

namespace deepsearch {
namespace {

// Numbers as a search makes them: a policy is sure of most tokens, and frequent ones are most of a text (Zipf's law).
void add_tokens(TreeRecord& tree, RandomStream& rng, const StoreBenchParams& params) {
  const double size = std::log(static_cast<double>(params.vocabulary));
  for (int64_t i = 0; i < params.step_tokens; ++i) {
    const double surprise = -std::log(1 - rng.uniform());
    tree.tokens.push_back(static_cast<Token>(std::exp(size * rng.uniform()) - 1));
    tree.logprobs.push_back(static_cast<float>(-0.4 * surprise * surprise));
    tree.entropies.push_back(static_cast<float>(0.3 * surprise * rng.uniform()));
    tree.token_versions.push_back(7);
  }
}

TreeRecord typical_tree(RandomStream& rng, const StoreBenchParams& params, int64_t number) {
  TreeRecord tree;
  tree.problem.id = fmt::format("problem-{}", number);
  tree.problem.prompt = "What is the sum of the first hundred numbers?";
  tree.problem.key = static_cast<uint64_t>(number);
  tree.key.problem_key = tree.problem.key;
  for (int64_t id = 0; id < params.nodes; ++id) {
    NodeRecord node;
    node.parent = id == 0 ? -1 : static_cast<int32_t>(rng.below(static_cast<uint64_t>(id)));
    node.depth = id == 0 ? 0 : tree.nodes[static_cast<size_t>(node.parent)].depth + 1;
    node.first_token = static_cast<int32_t>(tree.tokens.size());
    if (id > 0) add_tokens(tree, rng, params);
    node.n_tokens = static_cast<int32_t>(tree.tokens.size()) - node.first_token;
    node.visits = static_cast<int32_t>(rng.below(9));
    node.value = rng.uniform();
    node.entropy = rng.uniform();
    node.logprob = -5 * rng.uniform();
    node.terminal = id % 4 == 3;
    node.created = static_cast<int32_t>(id / 8);
    tree.nodes.push_back(node);
    if (id % 8 == 0) tree.events.push_back({node.created, EventKind::kExpand, static_cast<int32_t>(id), 8.0});
  }
  for (int32_t i = 0; i < 8 && i < params.nodes; ++i) tree.recorded.push_back({i, 1.0, 0.5, Outcome::kWrong, false});
  return tree;
}

double stored_bytes(hid_t file, const char* column, const Hdf5Place& place) {
  const Hdf5Handle dataset(H5Dopen2(file, column, H5P_DEFAULT), H5Dclose, "open", place.at(column));
  return static_cast<double>(H5Dget_storage_size(dataset.id()));
}

void measure_columns(const std::filesystem::path& path, StoreBenchResult& result) {
  const Hdf5Place place{path.string(), "", true};
  const Hdf5Handle file = open_hdf5(path, place);
  const auto tokens = static_cast<double>(std::max<int64_t>(result.tokens, 1));
  for (const char* column : {"/tokens/id", "/tokens/logprob", "/tokens/entropy"}) {
    result.token_bytes += stored_bytes(file.id(), column, place) / tokens;
  }
  result.version_bytes = stored_bytes(file.id(), "/tokens/policy_version", place) / tokens;
  for (const char* table : {"/nodes", "/events"}) {
    for (const ColumnSchema& column : table_schema(part_tables(), table).columns) {
      result.node_bytes += stored_bytes(file.id(), fmt::format("{}/{}", table, column.name).c_str(), place) /
                           static_cast<double>(result.nodes);
    }
  }
}

double raw_write_gbs(const std::filesystem::path& path, size_t bytes) {
  const std::vector<char> block(size_t{1} << 20, 'x');
  const Stopwatch watch;
  const int descriptor = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (descriptor < 0) bad_input("{}: cannot write to it: {}", path.string(), std::strerror(errno));
  size_t done = 0;
  while (done < bytes) {
    const ssize_t n = write(descriptor, block.data(), std::min(block.size(), bytes - done));
    if (n <= 0) break;
    done += static_cast<size_t>(n);
  }
  fsync(descriptor);
  close(descriptor);
  return static_cast<double>(done) / watch.seconds() / 1e9;
}

double copy_gbs() {
  const std::vector<char> from(size_t{64} << 20, 'x');
  std::vector<char> to(from.size());
  std::memcpy(to.data(), from.data(), from.size());  // pages
  const Stopwatch watch;
  for (int i = 0; i < 8; ++i) {
    std::memcpy(to.data(), from.data(), from.size());
    asm volatile("" : : "r"(to.data()) : "memory");
  }
  return 8.0 * static_cast<double>(from.size()) / watch.seconds() / 1e9;
}

}  // namespace

StoreBenchResult bench_store(const StoreBenchParams& params) {
  RandomStream rng(1, RngPurpose::kTests, 0);
  std::vector<TreeRecord> trees;
  for (int64_t i = 0; i < std::min<int64_t>(params.trees, 32); ++i) trees.push_back(typical_tree(rng, params, i));
  StoreBenchResult result;
  const std::filesystem::path path = params.folder / fmt::format("store-bench-{}.h5", getpid());
  {
    RunInfo info;
    const double cpu_before = cpu_seconds();
    const Stopwatch watch;
    PartWriter writer(path, info, 0, params.part);
    for (int64_t i = 0; i < params.trees; ++i) writer.append(trees[static_cast<size_t>(i) % trees.size()]);
    writer.close();
    result.seconds = watch.seconds();
    result.cpu_seconds = cpu_seconds() - cpu_before;
    result.memory_bytes = static_cast<double>(writer.memory_bytes());
  }
  result.nodes = params.trees * params.nodes;
  result.tokens = params.trees * static_cast<int64_t>(trees.front().tokens.size());
  result.bytes = static_cast<double>(std::filesystem::file_size(path));
  measure_columns(path, result);
  std::filesystem::remove(path);
  std::filesystem::path raw = path;
  raw += ".raw";
  result.write_gbs = raw_write_gbs(raw, size_t{256} << 20);
  std::filesystem::remove(raw);
  result.memcpy_gbs = copy_gbs();
  return result;
}

}  // namespace deepsearch
