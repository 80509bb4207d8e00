#include "rounds/replay_cache.h"

#include <algorithm>
#include <utility>

#include "core/bytes.h"
#include "core/error.h"

namespace deepsearch {

namespace {

constexpr std::string_view kMagic = "deepsearch replay cache 1\n";
constexpr int64_t kBesideTokens = 64;  // bytes that a solution takes beside its tokens, about

}  // namespace

int64_t ReplayCache::bytes_of(const std::vector<Token>& tokens) {
  return kBesideTokens + static_cast<int64_t>(tokens.size() * sizeof(Token));
}

ReplayCache::Order ReplayCache::order_of(uint64_t problem, const std::deque<Solution>& solutions) {
  return {-static_cast<int64_t>(solutions.size()), solutions.front().serial, problem};
}

bool ReplayCache::add(uint64_t problem, std::vector<Token> tokens) {
  if (tokens.empty()) failure("an empty solution of problem {:016x} for the replay cache", problem);
  if (bytes_of(tokens) > max_bytes_) return false;
  const auto found = solutions_.find(problem);
  if (found != solutions_.end() && std::any_of(found->second.begin(), found->second.end(),
                                               [&](const Solution& solution) { return solution.tokens == tokens; })) {
    return false;
  }
  insert(problem, {.serial = next_serial_++, .tokens = std::move(tokens)});
  evict_surplus();
  return true;
}

void ReplayCache::insert(uint64_t problem, Solution solution) {
  std::deque<Solution>& own = solutions_[problem];
  if (!own.empty()) fullest_.erase(order_of(problem, own));
  bytes_ += bytes_of(solution.tokens);
  ++count_;
  own.push_back(std::move(solution));
  fullest_.insert(order_of(problem, own));
}

void ReplayCache::evict_surplus() {
  while (bytes_ > max_bytes_) {
    const uint64_t problem = std::get<2>(*fullest_.begin());
    fullest_.erase(fullest_.begin());
    const auto own = solutions_.find(problem);
    bytes_ -= bytes_of(own->second.front().tokens);
    --count_;
    ++evicted_;
    own->second.pop_front();
    if (own->second.empty()) {
      solutions_.erase(own);
    } else {
      fullest_.insert(order_of(problem, own->second));
    }
  }
}

std::vector<std::vector<Token>> ReplayCache::first(uint64_t problem, int64_t most, int64_t longest) const {
  std::vector<std::vector<Token>> chosen;
  const auto found = solutions_.find(problem);
  if (found == solutions_.end()) return chosen;
  for (const Solution& solution : found->second) {
    if (static_cast<int64_t>(chosen.size()) >= most) break;
    if (static_cast<int64_t>(solution.tokens.size()) <= longest) chosen.push_back(solution.tokens);
  }
  return chosen;
}

void ReplayCache::write(ByteWriter& out) const {
  out.value(next_serial_);
  out.value(evicted_);
  out.value(problems());
  for (const auto& [problem, solutions] : solutions_) {
    out.value(problem);
    out.value(static_cast<int64_t>(solutions.size()));
    for (const Solution& solution : solutions) {
      out.value(solution.serial);
      out.list(solution.tokens);
    }
  }
}

void ReplayCache::read(ByteReader& in) {
  next_serial_ = in.count();
  evicted_ = in.count();
  for (int64_t problems = in.count(); problems > 0; --problems) {
    const auto problem = in.value<uint64_t>();
    for (int64_t left = in.count(1); left > 0; --left) {
      Solution solution;
      solution.serial = in.count();
      solution.tokens = in.list<Token>();
      if (solution.tokens.empty() || solution.serial >= next_serial_) in.damaged();
      insert(problem, std::move(solution));
    }
  }
  evict_surplus();
}

std::string cache_to_bytes(const ReplayCache& cache, const CacheIdentity& identity) {
  ByteWriter out(kMagic);
  out.value(identity.vocabulary);
  out.value(identity.model);
  cache.write(out);
  return std::move(out).finish();
}

ReplayCache cache_from_bytes(std::string_view bytes, const std::string& where, const CacheIdentity& identity,
                             int64_t max_bytes) {
  ByteReader in(bytes, kMagic, where);
  if (in.value<uint64_t>() != identity.vocabulary) {
    bad_input("{}: a cache from another tokenizer: its token ids mean nothing here; give the one of this run's model",
              where);
  }
  if (in.value<uint64_t>() != identity.model) {
    bad_input("{}: a cache from another model (shape or family): give one of a run that began with this run's", where);
  }
  ReplayCache cache(max_bytes);
  cache.read(in);
  in.end();
  return cache;
}

}  // namespace deepsearch
