#include "commands/sweep_folder.h"

#include <cmath>
#include <fstream>
#include <set>

#include "cluster/slurm.h"
#include "core/error.h"
#include "core/files.h"
#include "sweep/halving.h"

namespace deepsearch {

namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

Json to_json(const Sweep& sweep, const Json& how) {
  Json points = Json::array();
  for (const SweepPoint& point : sweep.points) {
    Json values = Json::array();
    for (const auto& [key, value] : point.values) values.push_back({key, value});
    points.push_back({{"name", point.name}, {"values", values}});
  }
  return {{"schema", "deepsearch-sweep"},
          {"version", 1},
          {"name", sweep.name},
          {"halving", {{"rungs", sweep.halving.rungs}, {"keep", sweep.halving.keep}}},
          {"how", how},
          {"points", points}};
}

Sweep from_json(const Json& json) {
  Sweep sweep{.name = json.at("name"), .points = {}, .halving = {}};
  sweep.halving.rungs = json.at("halving").at("rungs").get<std::vector<int64_t>>();
  sweep.halving.keep = json.at("halving").at("keep");
  for (const Json& entry : json.at("points")) {
    SweepPoint point;
    point.name = entry.at("name");
    for (const Json& value : entry.at("values")) point.values.emplace_back(value.at(0), value.at(1));
    sweep.points.push_back(std::move(point));
  }
  return sweep;
}

std::vector<std::string> lines_of(const fs::path& path) {
  std::vector<std::string> lines;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (!line.empty()) lines.push_back(line);
  }
  return lines;
}

Alive life_of(const std::string& state) {
  return state == "PENDING" || state == "REQUEUED" || state == "REQUEUE_HOLD" ? Alive::kQueued : Alive::kRunning;
}

}  // namespace

SweepFolder SweepFolder::create(const fs::path& out, const Sweep& sweep, const std::vector<std::string>& configs,
                                const Json& how) {
  if (fs::exists(out / "sweep.json")) {
    const SweepFolder there(out);
    bad_input("{}: a sweep is there ({}): `sweep resume {}` goes on with it, `sweep retry {}` runs what failed",
              out.string(), summary(there.status()), out.string(), out.string());
  }
  if (fs::exists(out) && !fs::is_empty(out)) {
    bad_input("{}: not empty, and no sweep is there; choose another folder", out.string());
  }
  create_folders(out / "points");
  create_folders(out / "log");
  std::string names;
  for (size_t i = 0; i < sweep.points.size(); ++i) {
    names += sweep.points[i].name + "\n";
    write_file_atomically(out / "points" / (sweep.points[i].name + ".toml"), configs[i]);
  }
  write_file_atomically(out / "points.txt", names);
  write_file_atomically(out / "sweep.json", to_json(sweep, how).dump(1) + "\n");
  return SweepFolder(out);
}

SweepFolder::SweepFolder(const fs::path& out) : out_(out) {
  const fs::path path = out / "sweep.json";
  if (!fs::exists(path)) bad_input("{}: no sweep is there (sweep.json is missing)", out.string());
  try {
    const Json json = Json::parse(read_file(path, 64 << 20));
    if (json.at("schema") != "deepsearch-sweep" || json.at("version") != 1)
      bad_input("{}: of another version", path.string());
    sweep_ = from_json(json);
    how_ = json.at("how");
  } catch (const Json::exception& error) {
    bad_input("{}: damaged: {}", path.string(), error.what());
  }
}

fs::path SweepFolder::config_of(size_t point) const {
  return out_ / "points" / (sweep_.points[point].name + ".toml");
}

void SweepFolder::add_job(const std::string& id) const {
  std::string all;
  for (const std::string& line : lines_of(out_ / "log" / "jobs")) all += line + "\n";
  write_file_atomically(out_ / "log" / "jobs", all + id + "\n");
}

std::vector<RunStatus> SweepFolder::status() const {
  const std::vector<std::string> arrays = lines_of(out_ / "log" / "jobs");
  const std::map<std::string, std::string> jobs = arrays.empty() ? std::map<std::string, std::string>{} : live_jobs();
  std::vector<RunStatus> all;
  for (size_t i = 0; i < sweep_.points.size(); ++i) {
    const auto alive = [&](const AttemptStart& start) {
      for (const std::string& array : arrays) {
        if (const auto job = jobs.find(fmt::format("{}_{}", array, i)); job != jobs.end()) return life_of(job->second);
      }
      return alive_here(start);
    };
    all.push_back(run_status(run_of(i), alive));
  }
  return all;
}

int64_t SweepFolder::settle() const {
  const std::vector<RunStatus> all = status();
  std::set<size_t> dropped;
  for (size_t i = 0; i < all.size(); ++i) {
    if (all[i].state == PointState::kDropped) dropped.insert(i);
  }
  for (const int64_t rung : sweep_.halving.rungs) {
    std::vector<size_t> here;
    for (size_t i = 0; i < all.size(); ++i) {
      // Who was dropped at this rung or later took part in it.
      if (dropped.count(i) != 0 && all[i].step < rung) continue;
      const bool ended = all[i].state == PointState::kDone || all[i].state == PointState::kFailed ||
                         all[i].state == PointState::kDropped;
      const bool come = ended || all[i].step >= rung;
      if (!come || (all[i].step < rung && all[i].state == PointState::kRunning)) return rung;
      here.push_back(i);
    }
    std::vector<double> scores;
    for (const size_t i : here) {
      scores.push_back(all[i].step >= rung ? score_at(run_of(i), rung) : std::nan(""));
    }
    const std::vector<size_t> best = survivors(scores, sweep_.halving.keep);
    const std::set<size_t> kept(best.begin(), best.end());
    for (size_t place = 0; place < here.size(); ++place) {
      const size_t i = here[place];
      if (kept.count(place) != 0 || std::isnan(scores[place]) || dropped.count(i) != 0) continue;
      if (all[i].state == PointState::kDone) continue;
      write_file_atomically(run_of(i) / "log" / "dropped",
                            fmt::format("step {}: Pass@1 {:.3f} is not among the best {} of {}\n", rung, scores[place],
                                        best.size(), here.size()));
      dropped.insert(i);
    }
  }
  return 0;
}

std::vector<size_t> SweepFolder::open_points(int64_t target, bool failed) const {
  std::vector<size_t> open;
  const std::vector<RunStatus> all = status();
  for (size_t i = 0; i < all.size(); ++i) {
    const bool stopped = all[i].state == PointState::kStopped && (target == 0 || all[i].step < target);
    if (failed ? all[i].state == PointState::kFailed : all[i].state == PointState::kWaiting || stopped)
      open.push_back(i);
  }
  return open;
}

std::string summary(const std::vector<RunStatus>& points) {
  std::map<PointState, int64_t> counts;
  for (const RunStatus& point : points) ++counts[point.state];
  std::string text;
  for (const PointState state : {PointState::kDone, PointState::kRunning, PointState::kQueued, PointState::kStopped,
                                 PointState::kFailed, PointState::kDropped, PointState::kWaiting}) {
    if (counts[state] > 0) text += fmt::format("{}{} {}", text.empty() ? "" : ", ", counts[state], to_string(state));
  }
  return text;
}

}  // namespace deepsearch
