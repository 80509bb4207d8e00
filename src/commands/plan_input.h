// From a configuration and the ranks of a job to what a plan is made of: shared by the commands that check one.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "measure/plan.h"
#include "run/config.h"

namespace deepsearch {

struct PlanRequest {
  int64_t ranks = 1;
  int64_t devices = 0;  // 0: a GPU a rank, or one host
  std::string hardware = "cpu";
  std::vector<std::string> hardware_keys;
  std::string shape;  // a known model's, in place of [model]
  std::optional<double> prompt_tokens;
  std::optional<double> response_tokens;
  std::optional<double> generated_tokens;
  double new_share = 0.5;
};

// bad_input for ranks or devices that do not go together.
PlanInput plan_input(const PlanRequest& request, const Config& config);

}  // namespace deepsearch
