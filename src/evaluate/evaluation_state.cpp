#include "evaluate/evaluation_state.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "core/digest.h"
#include "core/error.h"
#include "core/files.h"
#include "run/resume_config.h"

namespace deepsearch {

namespace fs = std::filesystem;

namespace {

constexpr uint64_t kMostBytes = 64 << 20;
using Json = nlohmann::ordered_json;

// Shape, weights and tokenizer by their bytes.
Json model_digests(const std::string& folder) {
  Json files = Json::object();
  if (folder.empty()) return files;
  std::vector<fs::path> paths;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (entry.path().extension() == ".safetensors" || name == "config.json" || name == "generation_config.json" ||
        name == "tokenizer.json") {
      paths.push_back(entry.path());
    }
  }
  std::sort(paths.begin(), paths.end());
  for (const fs::path& path : paths) {
    files[path.filename().string()] = fmt::format("{:016x}", digest_file(path).xxh64);
  }
  return files;
}

}  // namespace

std::string evaluation_state(const Config& config, const std::vector<Benchmark>& benchmarks) {
  Json files = Json::array();
  for (const Benchmark& benchmark : benchmarks) {
    files.push_back({{"name", benchmark.name}, {"file", benchmark.path}, {"xxh64", benchmark.digest}});
  }
  const Json json = {{"format", "deepsearch evaluation"},
                     {"version", 1},
                     {"model", model_digests(config.model.path)},
                     {"benchmarks", files}};
  return json.dump(2) + "\n";
}

void check_same_evaluation(const fs::path& folder, const Config& config, const std::string& state) {
  const fs::path path = folder / "evaluation.json";
  if (!fs::exists(path)) bad_input("{}: a run that is no evaluation; use another folder", folder.string());
  const Config before = read_config_text(read_file(folder / "config.toml", kMostBytes),
                                         (folder / "config.toml").string(), {}, ReadFor::kSampling);
  for (const ChangedKey& change : changed_keys(before, config)) {
    if (!change.decides_any(kEvaluationResult)) continue;
    bad_input(
        "--resume: {} was {} and is now {}, which would make it another evaluation: set it back, or start a new one",
        change.key, change.before, change.after);
  }
  const Json old_state = Json::parse(read_file(path, kMostBytes), nullptr, /*allow_exceptions=*/false);
  const Json new_state = Json::parse(state);
  if (old_state.is_discarded() || !old_state.is_object() || !old_state.contains("model") ||
      !old_state.contains("benchmarks")) {
    bad_input("{}: not readable; start a new evaluation, or --force", path.string());
  }
  if (old_state["model"] != new_state["model"]) {
    bad_input("--resume: model.path {} holds another model than the one this evaluation began with", config.model.path);
  }
  const auto contents = [](const Json& list) {
    std::vector<std::string> digests;
    for (const Json& file : list) digests.push_back(file.is_object() ? file.value("xxh64", "") : "");
    return digests;
  };
  if (contents(old_state["benchmarks"]) != contents(new_state["benchmarks"])) {
    bad_input("--resume: evaluate.benchmarks are other files, or hold other problems, than when this evaluation began");
  }
}

}  // namespace deepsearch
