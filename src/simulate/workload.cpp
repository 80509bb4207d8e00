#include "simulate/workload.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/rng.h"

namespace deepsearch {

Workload::Workload(const ClusterParams& params)
    : params_(params.workload),
      seed_(static_cast<uint64_t>(params.cluster.seed)),
      scale_(static_cast<double>(params.workload.token_scale)) {}

Problem Workload::problem(int64_t index) const {
  Problem problem;
  problem.id = std::to_string(index);
  problem.source = "simulated";
  problem.key = mix_all(seed_, index);
  const auto tokens = std::max<int64_t>(1, std::llround(static_cast<double>(params_.prompt_tokens) / scale_));
  problem.prompt_tokens.assign(static_cast<size_t>(tokens), 0);
  problem.prompt_tokens.front() = static_cast<Token>(index);
  return problem;
}

double Workload::median_tokens(int64_t index) const {
  RandomStream random(seed_, RngPurpose::kProblems, static_cast<uint64_t>(index));
  return params_.median_tokens * std::exp(params_.problem_spread * random.normal());
}

double Workload::survival(double log_median, double tokens) const {
  if (tokens <= 0) return 1;
  return 0.5 * std::erfc((std::log(tokens) - log_median) / (params_.response_spread * std::sqrt(2.0)));
}

int32_t Workload::tokens_left(double log_median, int64_t before, int32_t max, double uniform) const {
  const auto still = [&](int32_t more) { return survival(log_median, static_cast<double>(before + more) * scale_); };
  const double limit = uniform * still(0);  // the response ends with the first token whose survival is not above it
  if (still(max) > limit) return max + 1;
  int32_t low = 0;  // goes on after it
  int32_t high = max;
  while (high - low > 1) {
    const int32_t middle = low + (high - low) / 2;
    (still(middle) > limit ? low : high) = middle;
  }
  return high;
}

ExpansionScript Workload::script() const {
  return [this](const ExpansionRequest& request) { return expand(request); };
}

Expansion Workload::expand(const ExpansionRequest& request) const {
  if (request.path.empty() || request.prefix.empty()) failure("a request without a prompt");
  const auto before = static_cast<int64_t>(request.prefix.size()) - request.path.front().n_tokens;
  const double log_median = std::log(median_tokens(request.prefix.front()));
  Expansion expansion{.tree = request.tree, .node = request.node, .children = {}};
  for (int32_t child = 0; child < request.n_children; ++child) {
    RandomStream random(seed_, RngPurpose::kSampling, mix_all(request.sampling_key, child));
    const int32_t left = tokens_left(log_median, before, request.max_tokens, random.uniform());
    Step step;
    if (left <= request.max_tokens) step.finish = Finish::kEos;
    const auto n = static_cast<size_t>(std::min(left, request.max_tokens));
    // The first token tells siblings apart: the verifier goes by it.
    step.tokens.assign(n, 0);
    step.tokens.front() = static_cast<Token>(random.below(1U << 31U));
    const auto entropy = static_cast<float>(random.uniform());
    step.logprobs.assign(n, -entropy);
    step.entropies.assign(n, entropy);
    expansion.tokens_generated += static_cast<int64_t>(n);
    expansion.children.push_back(std::move(step));
  }
  return expansion;
}

Verdict Workload::verify(const Problem& problem, TokenSpan response, bool ended) const {
  if (!ended) return {.outcome = Outcome::kIncomplete, .extracted = {}, .why = {}};
  uint64_t hash = problem.key;
  for (const Token token : response) hash = mix(hash, static_cast<uint64_t>(token));
  const bool correct = uniform_at(seed_, RngPurpose::kSampling, hash, 0) < params_.correct;
  return {.outcome = correct ? Outcome::kCorrect : Outcome::kWrong, .extracted = {}, .why = {}};
}

}  // namespace deepsearch
