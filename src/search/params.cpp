#include "search/params.h"

#include <algorithm>

#include "core/error.h"

namespace deepsearch {

namespace {

void describe_shape(ConfigVisitor& v, SearchParams& p) {
  v.field({.key = "max_depth",
           .unit = "steps",
           .meaning = "deepest node; a node there is terminal (paper: 64; 0: the embedded task's own)",
           .min = 0,
           .max = 65536},
          p.max_depth);
  v.field({.key = "step_tokens",
           .unit = "tokens",
           .meaning = "most tokens of one node (paper: 256; 0: the embedded task's own)",
           .min = 0,
           .max = 1048576},
          p.step_tokens);
  v.field({.key = "width", .unit = "children", .meaning = "children of an expanded node", .min = 1, .max = 1024},
          p.width);
  v.field({.key = "trajectories",
           .unit = "trajectories",
           .meaning = "recorded terminals a tree ends with",
           .min = 1,
           .max = 65536},
          p.trajectories);
  v.field({.key = "token_budget",
           .unit = "tokens",
           .meaning = "sampled tokens after which a tree ends, checked between expansions (0: no limit)",
           .min = 0},
          p.token_budget);
  v.field({.key = "frontier_batch",
           .unit = "expansions",
           .meaning = "expansions of one tree in flight at once (1: the published behaviour)",
           .min = 1,
           .max = 1024},
          p.frontier_batch);
  v.field({.key = "width_decay",
           .unit = "",
           .meaning = "narrow the tree with depth d: max(min_width, width - decay*floor(d/floor(max_depth/width)))"},
          p.width_decay);
  v.field({.key = "min_width", .unit = "children", .meaning = "least width under width_decay", .min = 1, .max = 1024},
          p.min_width);
  v.field({.key = "decay",
           .unit = "children",
           .meaning = "children lost per floor(max_depth/width) levels under width_decay",
           .min = 0,
           .max = 1024},
          p.decay);
}

void describe_selection(ConfigVisitor& v, SearchParams& p) {
  v.choice<Order>({.key = "order",
                   .unit = "",
                   .meaning = "next node: frontier = the paper's local and global rule, uct = a UCT walk from the root "
                              "(its vanilla ablation), deepest = deepest frontier node first"},
                  p.order, {{"frontier", Order::kFrontier}, {"deepest", Order::kDeepest}, {"uct", Order::kUct}});
  v.field({.key = "uct_c", .unit = "", .meaning = "exploration constant of UCT (paper: 2)", .min = 0, .max = 1e6},
          p.uct_c);
  v.field({.key = "lambda1", .unit = "", .meaning = "weight of tanh Q(parent) in F(s)", .min = -1e6, .max = 1e6},
          p.lambda1);
  v.field({.key = "lambda2",
           .unit = "1/nat",
           .meaning = "weight of the entropy H(s) in F(s) (paper's uncertainty bonus: 0.4; negative: prefer confident)",
           .min = -1e6,
           .max = 1e6},
          p.lambda2);
  v.field({.key = "lambda3", .unit = "", .meaning = "weight of the depth bonus D in F(s)", .min = -1e6, .max = 1e6},
          p.lambda3);
  v.field({.key = "lambda4",
           .unit = "",
           .meaning = "weight of tanh Q(s) in F(s), counts only when positive (reference's option)",
           .min = -1e6,
           .max = 1e6},
          p.lambda4);
  v.choice<DepthBonus>({.key = "depth_bonus",
                        .unit = "",
                        .meaning = "D(d): sqrt = sqrt(d/max_depth), linear = d (the reference's \"constant\"), log = "
                                   "ln(d+1), none = 0"},
                       p.depth_bonus,
                       {{"sqrt", DepthBonus::kSqrt},
                        {"linear", DepthBonus::kLinear},
                        {"log", DepthBonus::kLog},
                        {"none", DepthBonus::kNone}});
  v.field({.key = "frontier_only",
           .unit = "",
           .meaning = "false: the global rule may choose expanded nodes again (the reference's option); order = "
                      "\"frontier\" only"},
          p.frontier_only);
  v.choice<LocalTie>({.key = "local_tie",
                      .unit = "",
                      .meaning = "which of equal UCT scores wins; by entropy of the step, or at random"},
                     p.local_tie,
                     {{"first", LocalTie::kFirst},
                      {"entropy_low", LocalTie::kEntropyLow},
                      {"entropy_high", LocalTie::kEntropyHigh},
                      {"random", LocalTie::kRandom}});
}

void describe_values(ConfigVisitor& v, SearchParams& p) {
  v.choice<Backup>({.key = "backup",
                    .unit = "",
                    .meaning = "constrained = the paper's rule (a node on a correct path never turns negative), simple "
                               "= always q + w*r"},
                   p.backup, {{"constrained", Backup::kConstrained}, {"simple", Backup::kSimple}});
  v.field({.key = "gamma_min", .unit = "", .meaning = "least weight of a backup", .min = 0, .max = 1}, p.gamma_min);
  v.field({.key = "incomplete_reward",
           .unit = "",
           .meaning = "reward of a trajectory cut at max_depth in which no answer can be read",
           .min = -1,
           .max = 1},
          p.incomplete_reward);
  v.choice<NegativeSelection>({.key = "negative_selection",
                               .unit = "",
                               .meaning = "which terminal is recorded when an expansion has no correct one, by "
                                          "trajectory entropy"},
                              p.negative_selection,
                              {{"most_confident", NegativeSelection::kMostConfident},
                               {"random", NegativeSelection::kRandom},
                               {"least_confident", NegativeSelection::kLeastConfident}});
  v.choice<Classes>({.key = "classes",
                     .unit = "",
                     .meaning = "classes of terminals by verdict (outcome) or by the reward's value (the reference: "
                                "wrong and incomplete are one class when both are -1)"},
                    p.classes, {{"outcome", Classes::kOutcome}, {"reward", Classes::kReward}});
  v.choice<EntropyKind>({.key = "entropy",
                         .unit = "",
                         .meaning = "H(s): exact = entropy of the full softmax (paper), sampled = minus the mean "
                                    "log-probability (reference)"},
                        p.entropy, {{"exact", EntropyKind::kExact}, {"sampled", EntropyKind::kSampled}});
  v.field({.key = "count_final_eos",
           .unit = "",
           .meaning = "whether the end-of-sequence token counts in mean entropies (false: the reference where pad = "
                      "eos)"},
          p.count_final_eos);
}

void describe_beyond_paper(ConfigVisitor& v, SearchParams& p) {
  v.choice<Illegal>({.key = "illegal",
                     .unit = "",
                     .meaning = "a child the task's step check calls dead: record = a terminal like any other, prune = "
                                "recorded only when no child of its expansion is alive or correct"},
                    p.illegal, {{"record", Illegal::kRecord}, {"prune", Illegal::kPrune}});
  v.field({.key = "distinct_children", .unit = "", .meaning = "sample the children of a node without replacement"},
          p.distinct_children);
  v.field({.key = "stop_when_solved", .unit = "", .meaning = "a tree ends with its first correct trajectory"},
          p.stop_when_solved);
  v.choice<When>({.key = "when",
                  .unit = "",
                  .meaning = "always = a tree for each problem, group_failed = a tree only after all direct rollouts "
                             "failed, never = direct rollouts only"},
                 p.when, {{"always", When::kAlways}, {"group_failed", When::kGroupFailed}, {"never", When::kNever}});
  v.field({.key = "group",
           .unit = "rollouts",
           .meaning = "direct rollouts of a problem (when = \"group_failed\" or \"never\")",
           .min = 1,
           .max = 65536},
          p.group);
  v.field({.key = "hand_over_gain",
           .unit = "",
           .meaning = "when = group_failed: a tree only where one that is solved takes so many times fewer generated "
                      "tokens than a mixed group of rollouts, measured as the run goes on; 0: always",
           .min = 0,
           .max = 1e6},
          p.hand_over_gain);
  v.field({.key = "branch_rollouts",
           .unit = "rollouts",
           .meaning = "after a tree that found a solution: so many from a place on its way where some succeed and some "
                      "fail, found by bisection; training takes these instead of the tree; 0: none",
           .min = 0,
           .max = 65536},
          p.branch_rollouts);
  v.field({.key = "temperature",
           .unit = "",
           .meaning = "sampling temperature (paper: 1 while training)",
           .min = 0,
           .max = 100},
          p.temperature);
  v.field({.key = "top_p",
           .unit = "",
           .meaning = "nucleus sampling's probability mass (paper: 1 while training)",
           .min = 0.001,
           .max = 1},
          p.top_p);
}

}  // namespace

void SearchParams::describe(ConfigVisitor& v) {
  describe_shape(v, *this);
  describe_selection(v, *this);
  describe_values(v, *this);
  describe_beyond_paper(v, *this);
}

int64_t width_at(const SearchParams& params, int64_t depth) {
  if (!params.width_decay) return params.width;
  const int64_t levels = std::max<int64_t>(1, params.max_depth / params.width);
  return std::max(params.min_width, params.width - params.decay * (depth / levels));
}

void check(const SearchParams& params) {
  const auto positive = [](const char* key, int64_t value) {
    if (value < 1) bad_input("[search].{} is {}; a tree needs at least 1", key, value);
  };
  positive("max_depth", params.max_depth);
  positive("step_tokens", params.step_tokens);
  positive("width", params.width);
  positive("trajectories", params.trajectories);
  positive("frontier_batch", params.frontier_batch);
  positive("min_width", params.min_width);
  if (params.width_decay && params.min_width > params.width) {
    bad_input("[search].min_width is {}, more than [search].width = {}", params.min_width, params.width);
  }
}

}  // namespace deepsearch
