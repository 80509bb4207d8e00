// Which node is expanded next: algorithm.md section 2, step 7. Free functions over the live nodes; they change nothing.
//
// Candidates are always listed in depth-first pre-order (children in order of creation), so "the first of equals" is
// the published tie rule. A listing costs O(nodes with a frontier node below them).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "search/node.h"
#include "search/params.h"

namespace deepsearch {

struct Scored {
  int32_t node = -1;
  double score = 0;
};

// D(d), [search].depth_bonus.
double depth_bonus(DepthBonus kind, int32_t depth, int64_t max_depth);

// Q(s) + c·sqrt(ln N(parent) / N(s)); the exploration term is 0 while either count is 0.
double uct_score(double mean, int32_t visits, int32_t parent_visits, double uct_c);

// F(s) = λ1·tanh(Q(parent)) + λ2·H(s) + λ3·D(d(s)) [+ λ4·tanh(Q(s)) when λ4 > 0].
double frontier_score(const SearchParams& params, double parent_mean, double entropy, int32_t depth, double mean);

// Local rule: the children of `parent` that can be gone into (no terminals, none in flight), with their UCT.
void list_children(std::span<const Node> nodes, int32_t parent, double uct_c, std::vector<Scored>& out);

// Global rule: the tree's frontier with F; with frontier_only = false every inner node but the root as well.
void list_frontier(std::span<const Node> nodes, const SearchParams& params, bool frontier_only,
                   std::vector<Scored>& out);

// order = "deepest": the frontier with its depth as score.
void list_depths(std::span<const Node> nodes, std::vector<Scored>& out);

// One level of the UCT walk: the children of `parent` that have a frontier node in their subtree, with their UCT.
void list_open_children(std::span<const Node> nodes, int32_t parent, double uct_c, std::vector<Scored>& out);

// The first of the largest scores; −1 when empty.
int32_t first_best(std::span<const Scored> candidates);
// Whether the largest score occurs more than once.
bool best_is_tied(std::span<const Scored> candidates);
// [search].local_tie among the exact ties of the largest score; `uniform` in [0, 1) serves "random". −1 when empty.
int32_t best_by_local_tie(std::span<const Node> nodes, std::span<const Scored> candidates, LocalTie tie,
                          double uniform);

}  // namespace deepsearch
