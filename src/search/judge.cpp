#include "search/judge.h"

namespace deepsearch {

double reward_of(Outcome outcome, const SearchParams& params) {
  if (outcome == Outcome::kCorrect) return 1.0;
  return outcome == Outcome::kIncomplete ? params.incomplete_reward : -1.0;
}

Judgement judge(const Verifier& verifier, const Problem& problem, const SearchParams& params, TokenSpan response,
                Finish finish, int32_t depth) {
  const bool ended = finish != Finish::kLength;
  Judgement judgement;
  if (ended || depth >= params.max_depth) {
    judgement.terminal = true;
    const Outcome outcome = verifier.verify(problem, response, ended).outcome;
    const bool cut_without_answer = outcome == Outcome::kIncomplete && !ended;
    judgement.outcome = outcome == Outcome::kCorrect || cut_without_answer ? outcome : Outcome::kWrong;
    judgement.dead = params.illegal == Illegal::kPrune && judgement.outcome == Outcome::kWrong &&
                     verifier.check_step(problem, response) == StepState::kDead;
  } else {
    const StepState state = verifier.check_step(problem, response);
    judgement.terminal = state != StepState::kAlive;
    judgement.dead = state == StepState::kDead;
    if (judgement.terminal) judgement.outcome = judgement.dead ? Outcome::kWrong : Outcome::kCorrect;
  }
  if (judgement.terminal) judgement.reward = reward_of(judgement.outcome, params);
  return judgement;
}

void judge_node(NodeStore& nodes, int32_t id, const Verifier& verifier, const Problem& problem,
                const SearchParams& params) {
  Node& node = nodes[id];
  const std::vector<Token> response = nodes.response(id);
  const Judgement judgement = judge(verifier, problem, params, response, node.step.finish, node.depth);
  node.terminal = judgement.terminal;
  node.dead = judgement.dead;
  node.outcome = judgement.outcome;
  node.reward = judgement.reward;
}

}  // namespace deepsearch
