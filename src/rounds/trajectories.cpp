#include "rounds/trajectories.h"

#include <utility>

#include "core/bytes.h"
#include "rounds/filter.h"

namespace deepsearch {

void RoundTrajectories::add(const TreeRecord& record) {
  if (record.kind == RecordKind::kBranch) return;  // how often these succeed says nothing about the whole problem
  for (const RecordedLeaf& leaf : record.recorded) {
    if (leaf.cached) continue;
    add(record.problem.key, trajectory_tokens(record, leaf.leaf), leaf.outcome == Outcome::kCorrect);
  }
}

void RoundTrajectories::add(uint64_t problem, std::vector<Token> tokens, bool correct) {
  Seen& seen = by_problem_[problem];
  const uint64_t hash = digest_of({reinterpret_cast<const char*>(tokens.data()), tokens.size() * sizeof(Token)});
  if (tokens.empty() || !seen.hashes.insert(hash).second) return;
  if (!correct) return;
  ++seen.correct;
  if (static_cast<int64_t>(seen.solutions.size()) < keep_) seen.solutions.push_back(std::move(tokens));
}

int64_t RoundTrajectories::move_to(ReplayCache& cache, double max_pass_rate) {
  int64_t added = 0;
  for (auto& [problem, seen] : by_problem_) {
    if (seen.correct == 0 || !is_hard(seen.correct, static_cast<int64_t>(seen.hashes.size()), max_pass_rate)) continue;
    for (std::vector<Token>& solution : seen.solutions) added += cache.add(problem, std::move(solution)) ? 1 : 0;
  }
  by_problem_.clear();
  return added;
}

void RoundTrajectories::write(ByteWriter& out) const {
  out.value(problems());
  for (const auto& [problem, seen] : by_problem_) {
    out.value(problem);
    out.list(std::vector<uint64_t>(seen.hashes.begin(), seen.hashes.end()));
    out.value(seen.correct);
    out.value(static_cast<int64_t>(seen.solutions.size()));
    for (const std::vector<Token>& solution : seen.solutions) out.list(solution);
  }
}

void RoundTrajectories::read(ByteReader& in) {
  for (int64_t problems = in.count(); problems > 0; --problems) {
    Seen& seen = by_problem_[in.value<uint64_t>()];
    for (const uint64_t hash : in.list<uint64_t>()) seen.hashes.insert(hash);
    seen.correct = in.count();
    for (int64_t left = in.count(); left > 0; --left) seen.solutions.push_back(in.list<Token>());
    if (seen.correct > static_cast<int64_t>(seen.hashes.size())) in.damaged();
  }
}

}  // namespace deepsearch
