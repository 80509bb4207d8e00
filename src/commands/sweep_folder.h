// A sweep's folder, and where its points stand.
//
//   OUT/sweep.json     what the sweep is and how it was started; written once
//   OUT/points.txt     the points' names, a line each: line i + 1 is point i
//   OUT/points/NAME.toml   each point's configuration, resolved: later changes of the base do not reach it
//   OUT/log/           the jobs that were queued
//   OUT/NAME/          each point's run
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "sweep/status.h"
#include "sweep/sweep.h"

namespace deepsearch {

class SweepFolder {
 public:
  // Writes it. bad_input when a sweep is there already: says how far it is, and which command goes on with it.
  static SweepFolder create(const std::filesystem::path& out, const Sweep& sweep,
                            const std::vector<std::string>& configs, const nlohmann::ordered_json& how);
  explicit SweepFolder(const std::filesystem::path& out);  // bad_input when none is there

  const std::filesystem::path& path() const { return out_; }
  const Sweep& sweep() const { return sweep_; }
  const nlohmann::ordered_json& how() const { return how_; }
  std::filesystem::path run_of(size_t point) const { return out_ / sweep_.points[point].name; }
  std::filesystem::path config_of(size_t point) const;

  void add_job(const std::string& id) const;
  // Every point, asking this host's processes and Slurm.
  std::vector<RunStatus> status() const;

  // Ends points at the rungs that all others have come to, and returns the step to run to next; 0: to the end.
  int64_t settle() const;
  // Which points are to be run up to `target` (0: the end): those nobody works on, and with `failed` only those that
  // failed.
  std::vector<size_t> open_points(int64_t target, bool failed) const;

 private:
  std::filesystem::path out_;
  Sweep sweep_;
  nlohmann::ordered_json how_;
};

// "3 done, 1 failed, 8 waiting".
std::string summary(const std::vector<RunStatus>& points);

}  // namespace deepsearch
