#include "run/resume_config.h"

#include <algorithm>
#include <utility>

#include "core/error.h"

namespace deepsearch {

namespace {

// "search.width" → "8" for every key.
class Listing final : public ConfigVisitor {
 public:
  void field(const FieldDoc& doc, bool& value) override { add(doc, value ? "true" : "false"); }
  void field(const FieldDoc& doc, int64_t& value) override { add(doc, fmt::format("{}", value)); }
  void field(const FieldDoc& doc, double& value) override { add(doc, fmt::format("{}", value)); }
  void field(const FieldDoc& doc, std::string& value) override { add(doc, '"' + value + '"'); }
  void field(const FieldDoc& doc, std::vector<int64_t>& value) override { add_list(doc, value); }
  void field(const FieldDoc& doc, std::vector<double>& value) override { add_list(doc, value); }
  void field(const FieldDoc& doc, std::vector<std::string>& value) override { add_list(doc, value); }
  void table(const std::string& key, const std::string& /*meaning*/,
             const std::function<void(ConfigVisitor&)>& describe) override {
    const std::string outer = std::exchange(prefix_, prefix_ + key + ".");
    describe(*this);
    prefix_ = outer;
  }

  std::vector<std::pair<std::string, std::string>> values;

 private:
  void add(const FieldDoc& doc, std::string value) { values.emplace_back(prefix_ + doc.key, std::move(value)); }
  template <class Value>
  void add_list(const FieldDoc& doc, const std::vector<Value>& list) {
    std::string text;
    for (const Value& value : list) text += fmt::format("{}{}", text.empty() ? "" : ", ", value);
    add(doc, "[" + text + "]");
  }

  std::string prefix_;
};

}  // namespace

bool is_harmless(const std::string& key) {
  constexpr const char* kTables[] = {"ranks.", "store.", "sft."};
  constexpr const char* kKeys[] = {"run.log_level",
                                   "eval.stop_at",
                                   "run.checkpoint_minutes",
                                   "run.keep_checkpoints",
                                   "run.keep_every",
                                   "run.time_limit",
                                   "run.hold_state",
                                   "learn.threads",
                                   "learn.checkpoint_every",
                                   "learn.max_bad_steps",
                                   "engine.threads",
                                   "engine.kv_memory_mb",
                                   "run.on_checkpoint_failure",
                                   "run.stop_after"};
  return std::any_of(std::begin(kTables), std::end(kTables),
                     [&](const char* table) { return key.starts_with(table); }) ||
         std::find(std::begin(kKeys), std::end(kKeys), key) != std::end(kKeys);
}

std::vector<ChangedKey> changed_keys(Config before, Config after) {
  Listing old_keys;
  Listing new_keys;
  before.describe(old_keys);
  after.describe(new_keys);
  std::vector<ChangedKey> changed;
  for (size_t i = 0; i < old_keys.values.size(); ++i) {
    const auto& [key, value] = old_keys.values[i];
    if (value != new_keys.values[i].second) changed.push_back({key, value, new_keys.values[i].second});
  }
  return changed;
}

std::vector<ChangedKey> check_resumable(const Config& before, const Config& after, int64_t steps_done) {
  const std::vector<ChangedKey> changed = changed_keys(before, after);
  for (const ChangedKey& change : changed) {
    if (change.key == "learn.steps" && after.learn.optimizer.schedule == Schedule::kConstant && !after.rounds.on()) {
      if (after.learn.steps >= steps_done) continue;
      bad_input("--resume: learn.steps = {}, but {} steps are done", after.learn.steps, steps_done);
    }
    if (change.key == "learn.budget_amount" && after.learn.optimizer.schedule == Schedule::kConstant) continue;
    if (is_harmless(change.key)) continue;
    bad_input("--resume: {} was {} and is now {}, which would make it another run: set it back, or start a new one",
              change.key, change.before, change.after);
  }
  return changed;
}

}  // namespace deepsearch
