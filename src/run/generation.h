// Plain sampling from prompts over any StepGenerator: n continuations a prompt, in short steps, so that text can be
// shown as it comes and long continuations share the batch fairly. Continuations of one prompt share its KV.
//
// A continuation is a function of (weights, prompt, key, sample): not of what else is generated beside it.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

#include "search/step_generator.h"

namespace deepsearch {

struct GenerationRequest {
  std::vector<Token> prompt;
  int32_t samples = 1;
  int32_t max_tokens = 1;  // of each continuation
  float temperature = 1.0F;
  float top_p = 1.0F;
  uint64_t key = 0;  // names the random numbers
};

struct Generated {
  std::vector<Step> samples;  // in order; a Step that holds the whole continuation
  int64_t tokens_prefilled = 0;
};

class Generation {
 public:
  // step_tokens: tokens asked for at a time. `generator` outlives this.
  Generation(StepGenerator& generator, int32_t step_tokens = 64);
  ~Generation();
  Generation(const Generation&) = delete;
  Generation& operator=(const Generation&) = delete;

  // Returns the request's number: 0, 1, ….
  int64_t add(GenerationRequest request);
  // Called with what came since the last call, for each continuation that grew.
  using Listener = std::function<void(int64_t request, int32_t sample, const Step& piece)>;
  void listen(Listener listener) { listener_ = std::move(listener); }
  // One poll of the generator.
  void pump();
  int64_t in_flight() const { return static_cast<int64_t>(running_.size()); }
  uint64_t added() const { return added_; }
  int64_t tokens() const { return tokens_; }  // made so far, of all
  // Finished requests, in the order they were added: none is given before those added earlier.
  bool take_next(Generated& generated);

 private:
  struct Running {
    GenerationRequest request;
    Generated result;
    std::vector<std::vector<PathSegment>> paths;  // of each sample
    struct Open {
      int32_t sample = 0;
      int32_t child = 0;  // the node that its next piece becomes
    };
    std::unordered_map<int32_t, Open> open;  // by the node that is being expanded
    int32_t unfinished = 0;
    int32_t next_node = 1;
  };
  void submit_first(uint64_t tree, Running& running);
  void submit_next(uint64_t tree, Running& running, int32_t sample);
  void take(uint64_t tree, Running& running, int32_t sample, int32_t node, Step&& piece);
  void apply(Expansion&& expansion);

  StepGenerator& generator_;
  int32_t step_tokens_;
  Listener listener_;
  std::unordered_map<uint64_t, Running> running_;
  std::unordered_map<uint64_t, Generated> finished_;
  std::vector<Expansion> came_;
  uint64_t added_ = 0;
  uint64_t given_ = 0;
  int64_t tokens_ = 0;
};

}  // namespace deepsearch
