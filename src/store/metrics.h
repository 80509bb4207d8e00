// The columns a metrics table may have. docs/hdf5.md lists them.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

namespace deepsearch {

// One row of a metrics table: column → value, in any order.
using MetricsRow = std::vector<std::pair<std::string, double>>;

struct MetricDoc {
  std::string units;
  std::string description;
};
// Units and description of every known metric column, whichever table uses it.
const std::map<std::string, MetricDoc>& metric_docs();

// Usual columns of "learner", "search", "eval" and "rounds", in order; another table is failure().
const std::vector<std::string>& metric_columns(const std::string& table);
const std::vector<std::string>& metric_tables();

}  // namespace deepsearch
