// TreeObserver: sees a tree grow event by event, in the order of algorithm.md section 2. For tests and studies; a tree
// without one pays nothing. Node numbers are the live ones.
#pragma once

#include <cstdint>
#include <span>

#include "search/backup.h"
#include "search/selection.h"
#include "search/terminal_choice.h"

namespace deepsearch {

enum class SelectRule { kLocal, kFrontier, kUct, kDeepest };

class TreeObserver {
 public:
  virtual ~TreeObserver() = default;

  // `width`: children a node of that depth may have; `children`: the new ones.
  virtual void on_expand(int32_t node, int32_t depth, int64_t width, std::span<const int32_t> children) = 0;
  // frontier_only = false: a node with all its children was chosen; they are handled again.
  virtual void on_revisit(int32_t node) = 0;
  // New (or, at a revisit, unrecorded) terminals and the one picked.
  virtual void on_terminals(std::span<const TerminalCandidate> candidates, int32_t picked) = 0;
  virtual void on_no_terminal() = 0;
  virtual void on_visit(int32_t node, int32_t visits, double q) = 0;
  // One row a node of the path, root first; values after the backup.
  virtual void on_backup_row(int32_t terminal, double reward, int32_t node, double weight, int32_t visits, double q,
                             BackupCase what) = 0;
  // `at`: whose children were compared (kLocal, and each level of kUct), else −1; `chosen` −1: none.
  virtual void on_select(SelectRule rule, int32_t at, std::span<const Scored> candidates, int32_t chosen) = 0;
  // The frontier ran dry and this terminal fills a place; its backup rows follow.
  virtual void on_leftover(int32_t terminal) = 0;
};

}  // namespace deepsearch
