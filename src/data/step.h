// One sampled continuation. A plain value; travels by message.
#pragma once

#include <cstdint>
#include <vector>

#include "data/tokens.h"

namespace deepsearch {

enum class Finish : uint8_t {
  kEos = 0,     // the last token is an end-of-sequence token
  kLength = 1,  // the token limit came first
  kStop = 2,    // a stop string was completed by the last token
};

struct Step {
  std::vector<Token> tokens;  // end-of-sequence token included
  // Nats, of each token, and of the whole distribution at its position: the full softmax at the temperature it was
  // sampled with (at 1 when that was greedy), before top-p and top-k.
  std::vector<float> logprobs;
  std::vector<float> entropies;
  Finish finish = Finish::kLength;
  int64_t policy_version = 0;  // that made the last token
  // That made each token; empty when all are policy_version's.
  std::vector<int32_t> token_versions;

  int64_t first_version() const { return token_versions.empty() ? policy_version : token_versions.front(); }
  bool ended() const { return finish != Finish::kLength; }  // the response is over, not only the step

  template <class Archive>
  void serialize(Archive& archive) {
    archive(tokens, logprobs, entropies, finish, policy_version, token_versions);
  }
};

}  // namespace deepsearch
