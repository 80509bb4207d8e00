#include "rounds/state.h"

#include "core/bytes.h"

namespace deepsearch {

namespace {

constexpr std::string_view kMagic = "deepsearch rounds 1\n";

}  // namespace

std::string state_to_bytes(const RoundsState& state) {
  ByteWriter out(kMagic);
  out.value(state.round);
  out.value(static_cast<int64_t>(state.filtered));
  out.list(state.filter.candidates);
  out.list(state.filter.correct);
  out.list(state.hard);
  out.value(state.first_problem);
  out.value(state.pool_digest);
  state.trajectories.write(out);
  out.value(state.replayed_groups);
  out.value(state.replayed_tokens);
  out.value(state.saved_tokens);
  return std::move(out).finish();
}

void state_from_bytes(std::string_view bytes, const std::string& where, RoundsState& state) {
  ByteReader in(bytes, kMagic, where);
  state.round = in.count();
  state.filtered = in.count() != 0;
  state.filter.candidates = in.list<int64_t>();
  state.filter.correct = in.list<int32_t>();
  state.hard = in.list<int64_t>();
  if (state.filter.correct.size() > state.filter.candidates.size()) in.damaged();
  state.first_problem = in.count();
  state.pool_digest = in.value<uint64_t>();
  state.trajectories.read(in);
  state.replayed_groups = in.count();
  state.replayed_tokens = in.count();
  state.saved_tokens = in.value<int64_t>();
  in.end();
}

}  // namespace deepsearch
