#include "run/resume_config.h"

#include "core/config_schema.h"
#include "core/error.h"

namespace deepsearch {

namespace {

struct KeyValue {
  std::string key;  // "search.width"
  std::string value;
  Results decides;
};

void list(const ConfigTable& table, std::vector<KeyValue>& into) {
  for (const ConfigField& field : table.fields) {
    into.push_back({dotted_path(table, field.doc.key), value_to_toml(field.value),
                    static_cast<Results>(table.decides & field.doc.decides)});
  }
  for (const ConfigTable& inner : table.tables) list(inner, into);
}

// Every key in the order in which they are described, so that two lists agree in it.
std::vector<KeyValue> keys_of(Config config) {
  std::vector<KeyValue> keys;
  list(collect_schema([&](ConfigVisitor& v) { config.describe(v); }), keys);
  return keys;
}

}  // namespace

std::vector<ChangedKey> changed_keys(const Config& before, const Config& after) {
  const std::vector<KeyValue> old_keys = keys_of(before);
  const std::vector<KeyValue> new_keys = keys_of(after);
  std::vector<ChangedKey> changed;
  for (size_t i = 0; i < old_keys.size(); ++i) {
    const auto& [key, value, decides] = old_keys[i];
    if (value != new_keys[i].value) changed.push_back({key, value, new_keys[i].value, decides});
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
    if (!change.decides_any(kTrainingResult)) continue;
    bad_input("--resume: {} was {} and is now {}, which would make it another run: set it back, or start a new one",
              change.key, change.before, change.after);
  }
  return changed;
}

}  // namespace deepsearch
