#include "mpi/optimizer_checks.h"

#include <cstdio>
#include <functional>
#include <string>

#include <ATen/Parallel.h>

#include "core/error.h"
#include "learn/solo.h"
#include "learn/toy_parameters.h"

namespace deepsearch {
namespace {

using namespace testing;  // NOLINT(google-build-using-namespace)

constexpr int kUpdates = 5;
constexpr int kMicrobatches = 6;
constexpr double kTolerance = 1e-6;

int failures = 0;

void check(bool fine, const std::string& what, const Collectives& group) {
  if (fine) return;
  ++failures;
  std::fprintf(stderr, "learner %d of %d: %s\n", group.rank(), group.size(), what.c_str());
}

// Who computes which micro-batch.
struct Share {
  const char* name;
  std::function<int(int microbatch, int ranks)> owner;
};
const std::vector<Share> kShares = {
    {"in turn", [](int m, int ranks) { return m % ranks; }},
    {"all on the last rank", [](int, int ranks) { return ranks - 1; }},
    {"uneven", [](int m, int ranks) { return m < 4 ? 0 : ranks / 2; }},
};

std::vector<int> mine(const Share& share, const Collectives& group) {
  std::vector<int> result;
  for (int m = 0; m < kMicrobatches; ++m) {
    if (share.owner(m, group.size()) == group.rank()) result.push_back(m);
  }
  return result;
}

std::vector<at::Tensor> train(Collectives& group, const Share& share, bool shard, at::ScalarType type) {
  std::vector<at::Tensor> parameters = toy_parameters(type);
  AdamW optimizer(parameters, kToyGroups, toy_learn_params(shard), group, 20);
  for (int update = 0; update < kUpdates; ++update) {
    toy_update(optimizer, parameters, update, mine(share, group), [&] { group.progress(); });
  }
  return copy_of(parameters);
}

// All ranks hold the same bits.
void check_agreement(Collectives& group, const std::vector<at::Tensor>& parameters, const std::string& where) {
  for (const at::Tensor& p : parameters) {
    const at::Tensor own = p.detach().to(at::kFloat).contiguous();
    at::Tensor first = group.rank() == 0 ? own.clone() : at::zeros_like(own);
    group.start_all_reduce_sum({first.data_ptr<float>(), static_cast<size_t>(first.numel())}).wait();
    check(at::equal(first, own), where + ": ranks hold other parameters", group);
  }
}

void check_against_one_rank(Collectives& group) {
  SoloCollectives solo;
  const std::vector<at::Tensor> alone = train(solo, kShares[0], false, at::kFloat);
  const OptimizerParams params = toy_learn_params(false).optimizer;
  PlainAdamW plain(params);
  std::vector<at::Tensor> unused = toy_parameters();
  const AdamW schedule(unused, kToyGroups, toy_learn_params(false), solo, 20);
  for (int update = 0; update < kUpdates; ++update) plain.update(update, kMicrobatches, schedule.rate(update));
  double worst = 0;
  for (const Share& share : kShares) {
    for (const bool shard : {false, true}) {
      const std::string where = std::string(share.name) + (shard ? ", sharded" : ", whole");
      const std::vector<at::Tensor> together = train(group, share, shard, at::kFloat);
      const double from_one = relative_difference(together, alone);
      const double from_plain = relative_difference(together, plain.weights());
      worst = std::max({worst, from_one, from_plain});
      check(from_one <= kTolerance, where + ": differs from one rank by " + std::to_string(from_one * 1e6) + "e-6",
            group);
      check(from_plain <= kTolerance, where + ": differs from float64 by " + std::to_string(from_plain * 1e6) + "e-6",
            group);
      check_agreement(group, together, where);
      check(same_bits(train(group, share, shard, at::kFloat), together), where + ": does not repeat", group);
    }
  }
  if (group.rank() == 0) {
    std::printf("%s: largest relative difference from one rank and from float64 AdamW %.1e (limit %.0e)\n",
                group.description().c_str(), worst, kTolerance);
  }
}

void check_bf16(Collectives& group) {
  SoloCollectives solo;
  const std::vector<at::Tensor> alone = train(solo, kShares[0], false, at::kBFloat16);
  for (const bool shard : {false, true}) {
    const std::vector<at::Tensor> together = train(group, kShares[0], shard, at::kBFloat16);
    // Masters agree to fp32 rounding; a value that lies between two bf16 values may round to either.
    check(relative_difference(together, alone) <= 1.0 / 256, "bf16: differs from one rank", group);
    check_agreement(group, together, "bf16");
  }
}

void check_not_finite(Collectives& group) {
  for (const bool shard : {false, true}) {
    std::vector<at::Tensor> parameters = toy_parameters();
    AdamW optimizer(parameters, kToyGroups, toy_learn_params(shard), group, 20);
    const auto update = [&](int number, bool spoil) {
      return toy_update(
          optimizer, parameters, number, mine(kShares[0], group), [&] { group.progress(); }, spoil);
    };
    update(0, false);
    const std::vector<at::Tensor> before = copy_of(parameters);
    const AdamW::Update bad = update(1, /*spoil=*/group.rank() == group.size() - 1);
    check(bad.skipped && !std::isfinite(bad.grad_norm), "a NaN on one rank was not seen", group);
    check(same_bits(parameters, before), "a skipped update changed parameters", group);
    check(optimizer.skipped() == 1 && optimizer.skipped_in_a_row() == 1 && optimizer.updates() == 1, "wrong counts",
          group);
    const AdamW::Update good = update(2, false);
    check(!good.skipped && optimizer.skipped_in_a_row() == 0 && optimizer.updates() == 2, "it does not go on", group);
    check(!same_bits(parameters, before), "the update after a skipped one changed nothing", group);
    check_agreement(group, parameters, "after a skipped update");
  }
}

// Saved after two updates and continued by a new optimiser: the bits of one that went on.
void check_state(Collectives& group) {
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    for (const bool shard : {false, true}) {
      const LearnParams params = toy_learn_params(shard);
      std::vector<at::Tensor> parameters = toy_parameters(type);
      AdamW optimizer(parameters, kToyGroups, params, group, 20);
      const std::vector<int> work = mine(kShares[0], group);
      for (int i = 0; i < 2; ++i) toy_update(optimizer, parameters, i, work, {});
      const OptimizerState state = optimizer.state();
      check(state.ranks == (shard ? group.size() : 1) && state.rank == (shard ? group.rank() : 0), "state of whom?",
            group);
      std::vector<at::Tensor> others = toy_parameters(type);
      for (at::Tensor& p : others) p.detach().zero_();
      AdamW again(others, kToyGroups, params, group, 20);
      again.restore(state);
      check(same_bits(others, parameters), "restored parameters differ", group);
      for (int i = 2; i < 4; ++i) toy_update(optimizer, parameters, i, work, {});
      for (int i = 2; i < 4; ++i) toy_update(again, others, i, work, {});
      check(same_bits(others, parameters) && again.updates() == 4, "a restored optimiser goes on differently", group);
    }
  }
}

void check_memory(Collectives& group) {
  std::vector<at::Tensor> parameters = toy_parameters();
  const AdamW optimizer(parameters, kToyGroups, toy_learn_params(true), group, 20);
  const AdamW::Bytes bytes = optimizer.bytes();
  check(bytes.weights == 4 * optimizer.buckets().total() && bytes.gradients == bytes.weights && bytes.master == 0,
        "bytes of weights and gradients", group);
  check(bytes.moments == 2 * bytes.weights / group.size(), "sharded moments take a share of the whole", group);
}

}  // namespace

int check_optimizer(Collectives& group) {
  at::set_num_threads(1);
  check_against_one_rank(group);
  check_bf16(group);
  check_not_finite(group);
  check_state(group);
  check_memory(group);
  return failures;
}

}  // namespace deepsearch
