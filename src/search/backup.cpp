#include "search/backup.h"

#include <algorithm>

namespace deepsearch {

double backup_weight(int32_t depth, int32_t terminal_depth, double gamma_min) {
  return std::max(static_cast<double>(depth + 1) / static_cast<double>(terminal_depth + 1), gamma_min);
}

BackedUp back_up(double q, double r, double w, Backup rule) {
  if (r == 0) return {q, BackupCase::kZeroReward};
  if (q == 0) return {w * r, BackupCase::kFromZero};
  if ((q > 0) == (r > 0)) return {q + w * r, BackupCase::kSameSign};
  if (rule == Backup::kSimple) return {q + w * r, BackupCase::kOppositeAdded};
  if (r > 0) return {w * r, BackupCase::kNegativeReplaced};
  return {q, BackupCase::kPositiveKept};
}

const char* to_string(BackupCase what) {
  switch (what) {
    case BackupCase::kFromZero:
      return "from_zero";
    case BackupCase::kSameSign:
      return "same_sign";
    case BackupCase::kNegativeReplaced:
      return "negative_replaced";
    case BackupCase::kPositiveKept:
      return "positive_kept";
    case BackupCase::kOppositeAdded:
      return "opposite_added";
    case BackupCase::kZeroReward:
      break;
  }
  return "zero_reward";
}

}  // namespace deepsearch
