// The learner's network, asked for log-probs only: what the engine is compared with. Hides LibTorch.
#pragma once

#include <memory>
#include <vector>

#include "data/tokens.h"
#include "model/weights.h"

namespace deepsearch {

class LearnerNetwork {
 public:
  explicit LearnerNetwork(const ModelWeights& weights);  // fp32, CPU
  ~LearnerNetwork();
  LearnerNetwork(const LearnerNetwork&) = delete;
  LearnerNetwork& operator=(const LearnerNetwork&) = delete;

  // Of tokens 1 … n−1 given those before them, at temperature 1.
  std::vector<float> logprobs(const std::vector<Token>& text) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace deepsearch
