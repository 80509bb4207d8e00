// Workload: simulated problems, the policy that answers them and the verifier that judges the answers.
//
// A response to problem i has log-normal length: ln L ~ N(ln m_i, response_spread²) with ln m_i ~ N(ln median,
// problem_spread²). Along a path of a tree lengths are kept consistent: a step that begins after t tokens ends the
// response within k of them with probability 1 − S(t + k) / S(t), S(t) = P(L > t). All of it is a pure function of
// (seed, request), so that a tree is the same whoever grows it.
//
// Lengths are in simulated tokens here, of [workload].token_scale real ones. Const methods may be called from any
// thread.
#pragma once

#include <cstdint>

#include "data/problem.h"
#include "simulate/latency_model.h"
#include "simulate/params.h"
#include "verify/verifier.h"

namespace deepsearch {

class Workload : public Verifier {
 public:
  explicit Workload(const ClusterParams& params);

  // Problem `index` ≥ 0. The prompt's first token names it.
  Problem problem(int64_t index) const;
  double median_tokens(int64_t index) const;  // m_i, real tokens

  // The policy. The Workload must outlive it.
  ExpansionScript script() const;
  Expansion expand(const ExpansionRequest& request) const;

  Verdict verify(const Problem& problem, TokenSpan response, bool ended) const override;

 private:
  // P(L > tokens) where ln L ~ N(log_median, response_spread²).
  double survival(double log_median, double tokens) const;
  // Simulated tokens until the response ends that has `before` of them; max + 1 when it goes on beyond `max`.
  int32_t tokens_left(double log_median, int64_t before, int32_t max, double uniform) const;

  const WorkloadParams params_;
  const uint64_t seed_;
  const double scale_;
};

}  // namespace deepsearch
