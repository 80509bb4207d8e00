// HandOver: where direct rollouts of a problem have failed, is a tree worth growing ([search].hand_over_gain)? What is
// compared is generated tokens for something to learn from: a group of rollouts that mixes right and wrong ones,
// against a tree that found a solution. Rollouts of another problem are the alternative, and where success is common
// they are the cheaper one. Pure counting over whole steps, so that it is the same on any number of ranks and after a
// resume.
#pragma once

#include <cstdint>
#include <vector>

#include "data/tree_record.h"

namespace deepsearch {

class HandOver {
 public:
  // Sums over the steps so far, each step counting kDecay times as much as the next.
  struct Tally {
    double rollout_tokens = 0;
    double mixed_groups = 0;
    double tree_tokens = 0;
    double solved_trees = 0;
    bool operator==(const Tally&) const = default;
  };
  static constexpr double kDecay = 0.8;
  // One problem of so many is handed over whatever the tally says, so that it goes on to be measured.
  static constexpr int64_t kProbe = 16;

  // `gain`: how many times fewer tokens a tree has to take; 0: every failed group is handed over.
  explicit HandOver(double gain) : gain_(gain) {}
  HandOver(double gain, const Tally& of_steps_before) : gain_(gain), tally_(of_steps_before) {}

  // For the problem at `place` of a step.
  bool wanted(int64_t place) const;
  // Tokens of a mixed group over those of a solved tree; −1 while there were no trees, or nothing of either.
  double ratio() const;
  // All records that were grown for a step.
  void step_done(const std::vector<TreeRecord>& grown);
  const Tally& tally() const { return tally_; }

 private:
  double gain_;
  Tally tally_;
};

}  // namespace deepsearch
