// Whether a new node is terminal, and what it is worth: algorithm.md section 2, step 2. Trees and rollouts use it
// alike.
#pragma once

#include <cstdint>

#include "data/problem.h"
#include "data/step.h"
#include "data/tokens.h"
#include "data/verdict.h"
#include "search/node_store.h"
#include "search/params.h"
#include "verify/verifier.h"

namespace deepsearch {

struct Judgement {
  bool terminal = false;
  bool dead = false;  // the step check says that nothing right can follow
  Outcome outcome = Outcome::kNone;
  double reward = 0;
};

// `response`: all tokens from the root's first step to the end of the new node, which lies at `depth` and ended by
// `finish`. Terminal when it ended with an end-of-sequence token or lies at max_depth (judged by verify), or when the
// step check calls it solved (correct) or dead (wrong). A response that ended itself without an answer is wrong, not
// incomplete. Under illegal = "prune" a wrong end is shown to the step check too, so that an illegal step is known as
// one even when it carries the end-of-sequence token.
Judgement judge(const Verifier& verifier, const Problem& problem, const SearchParams& params, TokenSpan response,
                Finish finish, int32_t depth);

// The same of a node that is in place, written into it.
void judge_node(NodeStore& nodes, int32_t id, const Verifier& verifier, const Problem& problem,
                const SearchParams& params);

// +1 correct, incomplete_reward incomplete, −1 anything else.
double reward_of(Outcome outcome, const SearchParams& params);

}  // namespace deepsearch
