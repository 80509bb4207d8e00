// One sampled continuation. A plain value; travels by message.
#pragma once

#include <cstdint>
#include <vector>

#include "data/tokens.h"

namespace deepsearch {

enum class Finish : uint8_t {
  kEos = 0,     // the last token is an end-of-sequence token
  kLength = 1,  // the token limit came first
};

struct Step {
  std::vector<Token> tokens;     // end-of-sequence token included
  std::vector<float> logprobs;   // nats, of each token under the policy that sampled it, at temperature 1 and top-p 1
  std::vector<float> entropies;  // nats, of the full softmax at each position
  Finish finish = Finish::kLength;
  int64_t policy_version = 0;

  template <class Archive>
  void serialize(Archive& archive) {
    archive(tokens, logprobs, entropies, finish, policy_version);
  }
};

}  // namespace deepsearch
