// libFuzzer target over `deepsearch check`: whatever a run's HDF5 file holds, its check ends, with lines that name the
// file. The first byte of an input says which file it is (0: run.h5, else a part), the rest is the file.
//
// libhdf5 1.10 crashes on some damaged files, so check_file() looks at each in a child, and what the child dies of is a
// line of its report. (Its leaks on such files are not looked for.) Inputs that the child survives are
// checked once more in this process, for the sake of coverage.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <unistd.h>
#include <vector>

#include "core/error.h"
#include "core/files.h"
#include "fuzz/seeds.h"
#include "store/check.h"
#include "store/check_file.h"
#include "store/part_writer.h"
#include "store/run_writer.h"

namespace deepsearch {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxSeed = 1 << 20;

struct Folder {
  Folder() : root(fs::temp_directory_path() / ("deepsearch-fuzz-store-" + std::to_string(getpid()))) {
    fs::create_directories(root);
  }
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(root, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  fs::path root;
};

const Folder& folder() {
  static const Folder kFolder;
  return kFolder;
}

TreeRecord small_tree() {
  TreeRecord tree;
  tree.problem.id = "p";
  tree.problem.prompt = "1 2 + >";
  tree.problem.prompt_tokens = {1, 2, 3};
  for (int32_t id = 0; id < 5; ++id) {
    NodeRecord node;
    node.parent = id == 0 ? -1 : (id - 1) / 2;
    node.depth = id == 0 ? 0 : tree.nodes[static_cast<size_t>(node.parent)].depth + 1;
    node.first_token = static_cast<int32_t>(tree.tokens.size());
    node.n_tokens = id == 0 ? 0 : 2;
    node.terminal = id > 2;
    tree.nodes.push_back(node);
    for (int32_t i = 0; i < node.n_tokens; ++i) {
      tree.tokens.push_back(i);
      tree.logprobs.push_back(-0.5F);
      tree.entropies.push_back(0.25F);
      tree.token_versions.push_back(0);
    }
  }
  tree.recorded.push_back({4, 1.0, 0.25, Outcome::kCorrect, false});
  tree.events.push_back({0, EventKind::kExpand, 0, 2.0});
  return tree;
}

// Files as the writers leave them: closed ones, and one that was killed.
std::vector<std::string> seeds() {
  const fs::path root = folder().root / "seeds";
  fs::remove_all(root);
  fs::create_directories(root);
  RunInfo info;
  info.hosts = {"a"};
  info.roles = {"both"};
  std::vector<std::string> found;
  {
    PartWriter part(root / "part.h5", info, 0, {.mantissa_bits = 12});
    part.append(small_tree());
    part.flush();
    found.push_back("p" + read_file(root / "part.h5", kMaxSeed));
    part.close();
    found.push_back("p" + read_file(root / "part.h5", kMaxSeed));
  }
  RunWriter writer(root, info, {{"learner", {"step", "loss"}}, {"search", {"step"}}, {"eval", {"step"}}});
  writer.append("learner", {{"step", 1}, {"loss", 2}});
  writer.add_problem(small_tree().problem, "train");
  writer.finish("finished", 1, {});
  found.push_back(std::string(1, '\0') + read_file(root / "run.h5", kMaxSeed));
  return found;
}

void must_be_lines(const std::vector<std::string>& findings) {
  for (const std::string& line : findings) {
    if (line.empty() || line.find('\n') != std::string::npos || line.size() > 4000) std::abort();
  }
}

FileReport check_bytes(const uint8_t* data, size_t size) {
  const fs::path path = folder().root / (data[0] == 0 ? "run.h5" : "s0000-a01-0001.h5");
  std::ofstream(path, std::ios::binary | std::ios::trunc)
      .write(reinterpret_cast<const char*>(data) + 1, static_cast<std::streamsize>(size - 1));
  const FileReport report = check_file(path);
  must_be_lines(report.findings);
  if (report.state == FileState::kDamaged && report.clean()) std::abort();
  const bool survived = std::none_of(report.findings.begin(), report.findings.end(), [](const std::string& line) {
    return line.find("restore it from a copy") != std::string::npos || line.find("more memory") != std::string::npos;
  });
  if (survived) must_be_lines(check_file_here(path).report.findings);
  return report;
}

}  // namespace
}  // namespace deepsearch

// Right files must be found right (the killed one: but for that), or mutations would only meet the first check.
extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  const std::vector<std::string> seeds = deepsearch::seeds();
  for (const std::string& seed : seeds) {
    const deepsearch::FileReport report =
        deepsearch::check_bytes(reinterpret_cast<const uint8_t*>(seed.data()), seed.size());
    if (report.state == deepsearch::FileState::kDamaged || report.contents.empty()) {
      for (const std::string& line : report.findings) std::fprintf(stderr, "%s\n", line.c_str());
      std::abort();
    }
  }
  deepsearch::fuzz::write_seeds_if_asked(*argc, *argv, seeds);
  return 0;
}

extern "C" const char* __asan_default_options() {  // NOLINT: the sanitizer's name
  return "detect_leaks=0";
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > 0) deepsearch::check_bytes(data, size);
  return 0;
}
