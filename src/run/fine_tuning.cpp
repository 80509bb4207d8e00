#include "run/fine_tuning.h"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <optional>

#include <nlohmann/json.hpp>

#include "comm/collectives.h"
#include "comm/stuck_watch.h"
#include "core/activity.h"
#include "core/files.h"
#include "core/log.h"
#include "core/progress.h"
#include "core/timer.h"
#include "core/version.h"
#include "learn/sft.h"
#include "run/demonstration_file.h"
#include "run/model_files.h"
#include "run/setup.h"

namespace deepsearch {

namespace {

namespace fs = std::filesystem;

// The trained model beside what of the start model's folder is neither shape nor weights.
void save_beside(const fs::path& start, const fs::path& out, const ModelWeights& trained) {
  create_folders(out);
  const bool elsewhere = !fs::equivalent(start, out);
  const auto files = elsewhere ? read_model_files(start) : std::map<std::string, std::string>();
  save_model(out, trained, "");
  for (const auto& [name, bytes] : files) write_file_atomically(out / name, bytes);
}

struct Inputs {
  ModelWeights start;
  DemonstrationFile data;
  DemonstrationFile held_out;
  int64_t limit = 0;
  std::string ending;  // how a response ends, for people
};

std::string ending_text(Token end, const std::optional<Tokenizer>& tokenizer) {
  if (!tokenizer) return fmt::format("token {}", end);
  return fmt::format("token {} ({})", end, tokenizer->token_text(end).value_or("?"));
}

Inputs read_inputs(const Config& config, const FineTuneRequest& request) {
  Inputs inputs;
  const std::unique_ptr<WeightSource> folder = open_model(request.model);  // headers only: files may be wrong
  const ModelConfig& model = folder->model_config();
  std::optional<Tokenizer> tokenizer;
  if (fs::exists(request.model / "tokenizer.json")) {
    tokenizer = load_tokenizer(request.model / "tokenizer.json");
    check_tokenizer_fits(*tokenizer, model, request.model.string());
  }
  inputs.limit = config.sft.max_tokens > 0 ? config.sft.max_tokens : model.max_positions;
  if (inputs.limit > model.max_positions) {
    bad_input("[sft].max_tokens is {}, and the model's context is {}", inputs.limit, model.max_positions);
  }
  const PromptEncoder encoder(request.model, tokenizer, request.format);
  inputs.ending = ending_text(end_of_response(encoder, model), tokenizer);
  inputs.data = read_demonstrations(request.data, encoder, model, inputs.limit, config.sft.too_long);
  if (!request.validation.empty()) {
    inputs.held_out = read_demonstrations(request.validation, encoder, model, inputs.limit, config.sft.too_long);
  } else if (request.validation_share > 0) {
    inputs.held_out.rows =
        split_validation(inputs.data.rows, request.validation_share, static_cast<uint64_t>(config.run.seed));
  }
  inputs.start = load_model(request.model);
  return inputs;
}

std::string too_long_text(const DemonstrationFile& file, const fs::path& path, int64_t limit) {
  return fmt::format("{}: of {} demonstrations {} were left out and {} cut, being longer than {} tokens", path.string(),
                     file.lines, file.left_out, file.cut, limit);
}

// A line an update, readable while training goes on.
class MetricsFile {
 public:
  explicit MetricsFile(const fs::path& path) {
    if (path.empty()) return;
    file_.open(path, std::ios::trunc);
    if (!file_) bad_input("--metrics {}: cannot be written", path.string());
  }
  void write(const SftProgress& now) {
    if (!file_.is_open()) return;
    nlohmann::ordered_json line = {{"update", now.update}, {"epoch", now.epoch}};
    if (now.update == 0) line["program"] = program();
    if (now.update > 0) line["loss"] = now.loss;
    if (now.validation_loss) line["validation_loss"] = *now.validation_loss;
    file_ << line.dump() << std::endl;  // flushed: somebody may be watching
  }

 private:
  std::ofstream file_;
};

class Reporter {
 public:
  Reporter(bool speaks, MetricsFile* metrics, int64_t updates)
      : speaks_(speaks), metrics_(metrics), progress_("training", updates, speaks) {}

  void operator()(const SftProgress& now) {
    if (!speaks_) return;
    metrics_->write(now);
    if (now.validation_loss) {
      best_ = std::min(best_.value_or(*now.validation_loss), *now.validation_loss);
      log_info("update {} of {}: validation loss {:.4f}{}", now.update, now.updates, *now.validation_loss,
               now.update > 0 ? fmt::format(", training loss {:.4f}", now.mean_loss) : "");
    }
    progress_.update(now.update, fmt::format("epoch {}, loss {:.4f}", now.epoch, now.mean_loss));
    last_ = now;
  }

  void finish(double seconds) {
    progress_.finish();
    log_info("{} updates in {}, training loss {:.4f}{}", last_.update, format_duration(seconds), last_.mean_loss,
             last_.validation_loss
                 ? fmt::format(", validation loss {:.4f} (least seen {:.4f})", *last_.validation_loss, *best_)
                 : "");
  }

 private:
  bool speaks_;
  MetricsFile* metrics_;
  Progress progress_;
  SftProgress last_;
  std::optional<double> best_;
};

int64_t response_tokens(const std::vector<Demonstration>& rows) {
  int64_t tokens = 0;
  for (const Demonstration& row : rows) tokens += static_cast<int64_t>(row.tokens.size()) - row.n_prompt;
  return tokens;
}

void describe(const Inputs& inputs, const FineTuneRequest& request, const Config& config, const Collectives& ranks) {
  log_info("{}: {}", request.model.string(), describe_model(inputs.start));
  log_info("{}: {} demonstrations, {} response tokens, each ends with {}; {} for validation", request.data.string(),
           inputs.data.rows.size(), format_count(response_tokens(inputs.data.rows)), inputs.ending,
           inputs.held_out.rows.size());
  log_info("{} updates of {} demonstrations in {} epoch{}; {}",
           sft_updates(static_cast<int64_t>(inputs.data.rows.size()), config.sft), config.sft.batch, config.sft.epochs,
           config.sft.epochs == 1 ? "" : "s", ranks.description());
}

void say_what_was_too_long(const Inputs& inputs, const FineTuneRequest& request) {
  for (const auto& [file, path] : {std::pair{&inputs.data, &request.data}, {&inputs.held_out, &request.validation}}) {
    if (file->left_out + file->cut > 0) log_warning("{}", too_long_text(*file, *path, inputs.limit));
  }
}

}  // namespace

int save_unless_stopped(World& world, int stop_signal, const std::function<void()>& save) {
  const bool speaks = world.rank() == 0;
  if (stop_signal != 0) {
    if (speaks) log_warning("stopped by signal {}; nothing was written", stop_signal);
    return 128 + stop_signal;
  }
  enter_phase(kSavingPhase);
  agree(world, [&] {
    if (speaks) save();
  });
  return kExitOk;
}

int run_fine_tuning(World& world, const Config& config, const FineTuneRequest& request) {
  Inputs inputs;
  std::optional<MetricsFile> metrics;
  agree(world, [&] {
    inputs = read_inputs(config, request);
    if (world.rank() == 0) metrics.emplace(request.metrics);
  });
  const auto collectives = make_learner_collectives(world, transport_of(config.ranks));
  const bool speaks = world.rank() == 0;
  if (speaks) describe(inputs, request, config, *collectives);
  LearnParams learn = config.learn;
  learn.threads = learner_threads(config.learn, world);
  const Stopwatch watch;
  Reporter report(speaks, metrics ? &*metrics : nullptr,
                  sft_updates(static_cast<int64_t>(inputs.data.rows.size()), config.sft));
  const StuckWatch stuck_watch(world);
  enter_phase(kSetUpPhase);
  const SupervisedModel trained =
      fine_tune(inputs.start, inputs.data.rows, inputs.held_out.rows, config.sft, learn,
                static_cast<uint64_t>(config.run.seed), *collectives, [&](const SftProgress& now) {
                  enter_phase("training");
                  report(now);
                });
  if (speaks) report.finish(watch.seconds());
  return save_unless_stopped(world, trained.stop_signal, [&] {
    save_beside(request.model, request.out, trained.weights);
    say_what_was_too_long(inputs, request);
    log_info("saved {}", request.out.string());
  });
}

}  // namespace deepsearch
