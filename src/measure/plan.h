// What a run will take: memory by kind of rank, and seconds by part of a step. Pure formulas over the configuration, a
// model's shape and a machine; docs/plan.md explains every term and what is assumed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/params.h"
#include "learn/params.h"
#include "measure/hardware.h"
#include "model/model_config.h"
#include "search/params.h"

namespace deepsearch {

// Of the mean problem. A trajectory is a row that is trained on.
struct Workload {
  double prompt_tokens = 0;
  double response_tokens = 0;
  double longest_row = 0;  // prompt and response at most: what a micro-batch must be able to hold
  double trajectories = 1;
  double new_share = 1;         // of its response that each further trajectory does not share with earlier ones
  double generated_tokens = 0;  // all that is sampled, recorded or not
  double read_together = 1;     // sequences that read a common prefix's KV at once (a tree's siblings)
  double sequences = 1;         // that a problem has decoding at a time

  double response_tokens_unique() const { return response_tokens * (1 + (trajectories - 1) * new_share); }
  double row_tokens() const { return trajectories * (prompt_tokens + response_tokens); }
  double unique_tokens() const { return prompt_tokens + response_tokens_unique(); }
};

// By [search]: `width` children an expansion, each step_tokens; the first recorded trajectory takes as many expansions
// as it has steps, each further one new_share of that. Rollouts (when = "never") generate what they record.
Workload workload_of(const SearchParams& search, double prompt_tokens, double response_tokens, double new_share);

struct PlanInput {
  ModelConfig model;
  LearnParams learn;
  EngineParams engine;
  Hardware hardware;
  Workload work;
  int64_t search_ranks = 1;
  int64_t learners = 1;
  bool one_rank = false;            // a single rank that searches and learns
  bool hold_state = true;           // [run].hold_state
  int64_t devices = 1;              // GPUs, or hosts without
  int64_t problems_in_flight = 64;  // a search rank's

  int64_t ranks() const { return one_rank ? 1 : search_ranks + learners; }
  int64_t search_per_device() const { return (search_ranks + devices - 1) / devices; }
  int64_t learners_per_device() const { return (learners + devices - 1) / devices; }
};

struct MemoryTerm {
  std::string name;
  double bytes = 0;
  std::string from;  // what decides it
};

struct RankMemory {
  std::vector<MemoryTerm> terms;
  double bytes() const;
};

// On the device. A learner's last term is the larger of a micro-batch and, on hosts, publishing.
RankMemory learner_memory(const PlanInput& input);
// `kv_room`: bytes for the KV cache where kv_memory_mb = 0.
RankMemory search_memory(const PlanInput& input, double kv_room);
// What the fullest device has left for one search rank's KV cache, its ranks' other terms taken off; may be negative.
double kv_room(const PlanInput& input);
double kv_bytes_per_token(const PlanInput& input);
// Sequences a search rank decodes together at most.
int64_t batch_of(const PlanInput& input);

struct DeviceMemory {
  RankMemory learner, search;  // of one rank; empty where the fullest device has none
  int64_t learner_ranks = 0, search_ranks = 0;
  double used = 0;
  double available = 0;
  double left() const { return available - used; }
};
// The fullest device: where there are fewer devices than ranks, ranks share them as evenly as can be. Where there are
// as many, a learner's and a search rank's devices differ, and both are listed.
std::vector<DeviceMemory> device_memory(const PlanInput& input);

// "" where everything fits; else one line that says what does not and which key to change to what: the first single
// change found that helps.
std::string what_does_not_fit(const PlanInput& input);

struct StepTime {
  double generation = 0;
  double learning = 0;
  double optimizer = 0;
  double gradient_sync = 0;  // beyond what backward hides
  double broadcast = 0;
  double seconds() const { return generation + learning + optimizer + gradient_sync + broadcast; }

  // How it comes about:
  double batch = 0;             // sequences a search rank decodes together
  double pass_seconds = 0;      // of a decode pass
  double generated_tokens = 0;  // a step
  double generated_per_second = 0;
  double computed_tokens = 0;  // by the learners' network, a step
  double row_tokens = 0;       // the same without sharing
  double learn_flops = 0;      // forward and backward, recomputation aside
  int64_t updates = 0;         // a step
};
StepTime step_time(const PlanInput& input);

}  // namespace deepsearch
