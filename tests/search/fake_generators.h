// Generators and verifiers without a model, for tests of the search.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "core/rng.h"
#include "search/step_generator.h"
#include "verify/verifier.h"

namespace deepsearch::testing {

constexpr Token kEosToken = 2;

// Answers requests from a table: for each node its expansions in the order of use. A request the table does not hold is
// kept in `unanswered` and never answered.
class ScriptedGenerator : public StepGenerator {
 public:
  void script(int32_t node, std::vector<Step> children) { table_[node].push_back(std::move(children)); }

  void submit(ExpansionRequest request) override {
    auto& expansions = table_[request.node];
    if (expansions.empty() || static_cast<int32_t>(expansions.front().size()) != request.n_children) {
      unanswered.push_back(std::move(request));
      return;
    }
    Expansion expansion;
    expansion.tree = request.tree;
    expansion.node = request.node;
    expansion.children = std::move(expansions.front());
    expansions.pop_front();
    for (const Step& step : expansion.children) {
      expansion.tokens_generated += static_cast<int64_t>(step.tokens.size());
    }
    ready_.push_back(std::move(expansion));
    requests.push_back(std::move(request));
  }
  void poll(std::vector<Expansion>& finished) override {
    std::move(ready_.begin(), ready_.end(), std::back_inserter(finished));
    ready_.clear();
  }
  int64_t in_flight() const override { return static_cast<int64_t>(ready_.size() + unanswered.size()); }
  void release(uint64_t) override { ready_.clear(); }

  std::vector<ExpansionRequest> unanswered;
  std::vector<ExpansionRequest> requests;

 private:
  std::map<int32_t, std::deque<std::vector<Step>>> table_;
  std::vector<Expansion> ready_;
};

struct RandomGeneratorOptions {
  double eos_probability = 0.06;  // of a token
  int32_t vocabulary = 40;        // tokens 3 … 3 + vocabulary − 1
  uint64_t order_seed = 0;        // changes only the order in which expansions come back
  int64_t per_poll = 1;
};

// Random tokens, a pure function of sampling key, child, try and position; what has been submitted comes back in an
// order drawn from order_seed, some of it late.
class RandomGenerator : public StepGenerator {
 public:
  explicit RandomGenerator(const RandomGeneratorOptions& options = {})
      : options_(options), order_(options.order_seed, RngPurpose::kTests, 1) {}

  static Step sample(const ExpansionRequest& request, int32_t child, int32_t attempt,
                     const RandomGeneratorOptions& options) {
    const uint64_t key = mix_all(request.sampling_key, static_cast<uint64_t>(child), static_cast<uint64_t>(attempt));
    const auto draw = [&](uint64_t position, uint64_t lane) {
      return uniform_at(11, RngPurpose::kSampling, key, position * 4 + lane);
    };
    Step step;
    for (int32_t t = 0; t < request.max_tokens; ++t) {
      const auto position = static_cast<uint64_t>(t);
      const bool eos = draw(position, 0) < options.eos_probability;
      const auto word = static_cast<Token>(draw(position, 1) * options.vocabulary);
      step.tokens.push_back(eos ? kEosToken : 3 + word);
      // Few distinct values, so that exact ties of entropies and scores occur.
      step.logprobs.push_back(static_cast<float>(-std::floor(1 + 8 * draw(position, 2)) / 8));
      step.entropies.push_back(static_cast<float>(std::floor(1 + 8 * draw(position, 3)) / 8));
      if (eos) {
        step.finish = Finish::kEos;
        break;
      }
    }
    return step;
  }

  void submit(ExpansionRequest request) override { waiting_.push_back(std::move(request)); }

  void poll(std::vector<Expansion>& finished) override {
    for (int64_t i = 0; i < options_.per_poll && !waiting_.empty(); ++i) {
      const auto place = waiting_.begin() + static_cast<std::ptrdiff_t>(order_.below(waiting_.size()));
      finished.push_back(expand(*place));
      waiting_.erase(place);
    }
  }
  int64_t in_flight() const override { return static_cast<int64_t>(waiting_.size()); }
  void release(uint64_t tree) override {
    std::erase_if(waiting_, [&](const ExpansionRequest& request) { return request.tree == tree; });
    released.push_back(tree);
  }

  std::vector<uint64_t> released;

 private:
  Expansion expand(const ExpansionRequest& request) const {
    Expansion expansion;
    expansion.tree = request.tree;
    expansion.node = request.node;
    for (int32_t i = 0; i < request.n_children; ++i) {
      for (int32_t attempt = 0; attempt < (request.distinct ? 4 : 1); ++attempt) {
        Step step = sample(request, i, attempt, options_);
        expansion.tokens_generated += static_cast<int64_t>(step.tokens.size());
        const bool duplicate =
            request.distinct && std::any_of(expansion.children.begin(), expansion.children.end(),
                                            [&](const Step& other) { return other.tokens == step.tokens; });
        if (duplicate) continue;
        expansion.children.push_back(std::move(step));
        break;
      }
    }
    return expansion;
  }

  RandomGeneratorOptions options_;
  RandomStream order_;
  std::deque<ExpansionRequest> waiting_;
};

// Judges by two functions, so that a test states its own rule.
class RuleVerifier : public Verifier {
 public:
  using Rule = std::function<Outcome(TokenSpan, bool)>;
  using StepRule = std::function<StepState(TokenSpan)>;
  explicit RuleVerifier(Rule rule, StepRule step_rule = {})
      : rule_(std::move(rule)), step_rule_(std::move(step_rule)) {}

  Verdict verify(const Problem&, TokenSpan response, bool ended) const override {
    return {.outcome = rule_(response, ended), .extracted = {}, .why = {}};
  }
  StepState check_step(const Problem&, TokenSpan response) const override {
    return step_rule_ ? step_rule_(response) : StepState::kAlive;
  }

 private:
  Rule rule_;
  StepRule step_rule_;
};

// A fair share of every outcome, by hash of the tokens.
inline Outcome hashed_outcome(TokenSpan response, bool ended) {
  uint64_t hash = 17;
  for (const Token token : response) hash = mix(hash, static_cast<uint64_t>(token));
  if (!ended && hash % 3 == 0) return Outcome::kIncomplete;
  return hash % 10 < 3 ? Outcome::kCorrect : Outcome::kWrong;
}

}  // namespace deepsearch::testing
