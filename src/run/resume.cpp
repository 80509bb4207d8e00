#include "run/resume.h"

#include <utility>

#include "comm/mailbox.h"
#include "core/digest.h"
#include "core/error.h"
#include "core/version.h"
#include "run/checkpoint_folder.h"
#include "run/checkpoint_optimizer.h"
#include "run/resume_config.h"
#include "store/check.h"
#include "store/readers.h"

namespace deepsearch {

namespace {

uint64_t digest_of_values(const ModelWeights& weights) {
  Digest digest;
  for (const HostTensor& tensor : weights.tensors) {
    digest.update(tensor.name);
    digest.update(tensor.values.data(), tensor.values.size() * sizeof(float));
  }
  return digest.value();
}

uint64_t digest_of_files(const ProblemParams& problems) {
  Digest digest;
  for (const std::string& file : {problems.train_file, problems.test_file}) {
    const uint64_t content = file.empty() ? 0 : digest_file(file).xxh64;
    digest.update(&content, sizeof content);
  }
  return digest.value();
}

void check_against(const RunState& state, const RunState& now, const Config& config, ResumePoint& point) {
  const Config before = read_config_text(state.config_text, "the checkpoint's configuration", {});
  for (const ChangedKey& change : check_resumable(before, config, state.step)) {
    point.remarks.push_back(fmt::format("{} was {} and is now {}", change.key, change.before, change.after));
  }
  if (state.start_digest != now.start_digest) {
    bad_input("--resume: the base policy{} is not the one the run began with",
              config.model.path.empty() ? "" : " in " + config.model.path);
  }
  if (state.problems_digest != now.problems_digest) {
    bad_input("--resume: the files of [problems] are not those the run began with");
  }
  if (state.learners != now.learners) {
    point.remarks.push_back(fmt::format(
        "{} learner ranks before, {} now: gradients are summed in another order, so that the run goes on, but not bit "
        "for bit as it would have",
        state.learners, now.learners));
  }
  if (state.revision != now.revision) {
    point.remarks.push_back(fmt::format(
        "the checkpoint was written by revision {}, this program is {}: the run goes on, perhaps not bit for bit",
        state.revision, now.revision));
  }
}

// Its rows are carried over, so it must be readable. libhdf5 may crash on a damaged one.
void check_run_file(const std::filesystem::path& run) {
  if (!std::filesystem::exists(run / "run.h5")) return;
  try {
    require_readable(run / "run.h5");
    RunReader{run};
  } catch (const Error& error) {
    throw Error(
        fmt::format("{}; moved away, the run goes on from its checkpoint without the metrics of before", error.what()),
        error.exit_code());
  }
}

}  // namespace

RunState first_state(const Config& config, const ModelWeights& start, int64_t learners) {
  RunState state;
  state.learners = learners;
  state.config_text = config_text(config);
  state.revision = revision();
  state.start_digest = digest_of_values(start);
  state.problems_digest = digest_of_files(config.problems);
  return state;
}

ResumePoint find_resume_point(const std::filesystem::path& run, const Config& config, const RunState& now) {
  ResumePoint point;
  clean_checkpoints(run);
  check_run_file(run);
  std::string why;
  point.step = newest_checkpoint(run, [&](const std::string& skipped) {
    why = skipped;
    point.remarks.push_back("a checkpoint is passed over: " + skipped);
  });
  if (!point.step && !why.empty()) {
    bad_input("{}: no checkpoint is whole ({}); restore one from a copy, or --force starts anew", run.string(), why);
  }
  point.state = now;
  if (!point.step) return point;
  const std::filesystem::path folder = checkpoint_path(run, *point.step);
  RunState state = read_run_state(folder);
  check_against(state, now, config, point);
  optimizer_parts(folder);
  const std::filesystem::path trees = folder / "resume" / "trees.bin";
  try {
    if (std::filesystem::exists(trees)) point.finished = read_trees(trees);
  } catch (const MessageVersionError& error) {
    point.remarks.push_back(fmt::format("{}: its trees are grown again", error.what()));
  }
  // What the next checkpoint says it was made with is this attempt's.
  state.config_text = now.config_text;
  state.revision = now.revision;
  state.learners = now.learners;
  point.state = std::move(state);
  return point;
}

}  // namespace deepsearch
