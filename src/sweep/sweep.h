// A sweep: a base configuration and axes, expanded into points. A point is what one ordinary run is made of. Pure but
// for read_sweep, which reads one file; whether the keys exist and fit is for who reads the points' configurations.
//
//   base = "quickstart.toml"                 a file beside this one; an axis may be called "base" too
//   name = "{width}-{lambda}-s{seed}"        {KEY}: a key or its last part; {seed}; {index}. Default: all axes
//   seeds = [1, 2]                           every point once for each: run.seed
//   set.learn.steps = 40                     for all points
//   [grid]    search.lambda = [0.1, 0.4]     all combinations
//   [zipped]  model.hidden_size = [64, 128]  arrays of one length, that go together
//             model.intermediate_size = [160, 320]
//   [[list]]  search.width = 2               points written out
//   [random]  points = 8                     drawn independently; seed = 1 unless given
//             learn.optimizer.lr = {low = 1e-5, high = 1e-3, scale = "log"}
//             search.width = {choices = [2, 4, 8]}
//   [halving] rungs = [10, 20], keep = 0.5   poor points end early (sweep/halving.h)
//
// Several kinds multiply, in the order above, seeds last; the last varies fastest.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace deepsearch {

struct SweepPoint {
  std::string name;                                         // of its run's folder; no two alike
  std::string config;                                       // path of its base configuration
  std::vector<std::string> overrides;                       // "search.lambda=0.1", as for --set
  std::vector<std::pair<std::string, std::string>> values;  // axis → what it is here, for tables; seed last
};

struct Halving {
  std::vector<int64_t> rungs;  // steps, ascending; empty: none
  double keep = 0.5;           // of the points that came to a rung
};

struct Sweep {
  std::string name;  // the file's, without .toml
  std::vector<SweepPoint> points;
  Halving halving;
};

constexpr int64_t kMostPoints = 10000;

// bad_input with file and line for what is no sweep, has no point or more than kMostPoints, or two points of a name.
Sweep read_sweep(const std::filesystem::path& path);
Sweep read_sweep_text(const std::string& text, const std::filesystem::path& path);

}  // namespace deepsearch
