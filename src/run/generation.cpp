#include "run/generation.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "core/rng.h"

namespace deepsearch {
namespace {

void append(Step& whole, Step&& piece) {
  const bool mixed = !whole.tokens.empty() && (whole.policy_version != piece.policy_version ||
                                               !whole.token_versions.empty() || !piece.token_versions.empty());
  if (mixed) {
    if (whole.token_versions.empty()) {
      whole.token_versions.assign(whole.tokens.size(), static_cast<int32_t>(whole.policy_version));
    }
    if (piece.token_versions.empty()) {
      piece.token_versions.assign(piece.tokens.size(), static_cast<int32_t>(piece.policy_version));
    }
  }
  const auto add = [](auto& to, const auto& from) { to.insert(to.end(), from.begin(), from.end()); };
  add(whole.tokens, piece.tokens);
  add(whole.logprobs, piece.logprobs);
  add(whole.entropies, piece.entropies);
  add(whole.token_versions, piece.token_versions);
  whole.finish = piece.finish;
  whole.policy_version = piece.policy_version;
}

}  // namespace

Generation::Generation(StepGenerator& generator, int32_t step_tokens)
    : generator_(generator), step_tokens_(step_tokens) {
  if (step_tokens < 1) failure("generation: steps of {} tokens", step_tokens);
}

Generation::~Generation() {
  for (const auto& [tree, running] : running_) generator_.release(tree);
}

int64_t Generation::add(GenerationRequest request) {
  const uint64_t tree = added_++;
  Running& running = running_[tree];
  running.unfinished = request.samples;
  running.result.samples.resize(static_cast<size_t>(request.samples));
  running.paths.resize(static_cast<size_t>(request.samples));
  running.request = std::move(request);
  submit_first(tree, running);
  return static_cast<int64_t>(tree);
}

void Generation::submit_first(uint64_t tree, Running& running) {
  const GenerationRequest& wanted = running.request;
  ExpansionRequest request;
  request.tree = tree;
  request.path = {{.node = 0, .n_tokens = static_cast<int32_t>(wanted.prompt.size())}};
  request.prefix = wanted.prompt;
  request.n_children = wanted.samples;
  request.first_child = running.next_node;
  request.max_tokens = std::min(step_tokens_, wanted.max_tokens);
  request.temperature = wanted.temperature;
  request.top_p = wanted.top_p;
  request.sampling_key = wanted.key;
  for (auto& path : running.paths) path = request.path;
  running.next_node += wanted.samples;
  generator_.submit(std::move(request));
}

void Generation::submit_next(uint64_t tree, Running& running, int32_t sample) {
  const GenerationRequest& wanted = running.request;
  const Step& so_far = running.result.samples[static_cast<size_t>(sample)];
  ExpansionRequest request;
  request.tree = tree;
  request.path = running.paths[static_cast<size_t>(sample)];
  request.node = request.path.back().node;
  request.prefix = wanted.prompt;
  request.prefix.insert(request.prefix.end(), so_far.tokens.begin(), so_far.tokens.end());
  request.first_child = running.next_node++;
  request.max_tokens = std::min(step_tokens_, wanted.max_tokens - static_cast<int32_t>(so_far.tokens.size()));
  request.temperature = wanted.temperature;
  request.top_p = wanted.top_p;
  request.sampling_key = mix_all(wanted.key, sample, so_far.tokens.size());
  running.open[request.node] = {.sample = sample, .child = request.first_child};
  generator_.submit(std::move(request));
}

void Generation::pump() {
  came_.clear();
  generator_.poll(came_);
  for (Expansion& expansion : came_) apply(std::move(expansion));
}

void Generation::apply(Expansion&& expansion) {
  const auto place = running_.find(expansion.tree);
  if (place == running_.end()) failure("generation: an expansion of tree {} that was not asked for", expansion.tree);
  Running& running = place->second;
  running.result.tokens_prefilled += expansion.tokens_prefilled;
  const uint64_t tree = expansion.tree;
  if (expansion.node == 0) {
    for (size_t i = 0; i < expansion.children.size(); ++i) {
      const auto sample = static_cast<int32_t>(i);
      take(tree, running, sample, 1 + sample, std::move(expansion.children[i]));
    }
  } else {
    const Running::Open open = running.open.at(expansion.node);
    running.open.erase(expansion.node);
    take(tree, running, open.sample, open.child, std::move(expansion.children.at(0)));
  }
  if (running.unfinished > 0) return;
  generator_.release(tree);
  finished_[tree] = std::move(running.result);
  running_.erase(place);
}

void Generation::take(uint64_t tree, Running& running, int32_t sample, int32_t node, Step&& piece) {
  Step& whole = running.result.samples[static_cast<size_t>(sample)];
  const auto n = static_cast<int32_t>(piece.tokens.size());
  tokens_ += n;
  if (listener_) listener_(static_cast<int64_t>(tree), sample, piece);
  append(whole, std::move(piece));
  running.paths[static_cast<size_t>(sample)].push_back({.node = node, .n_tokens = n});
  if (whole.ended() || static_cast<int32_t>(whole.tokens.size()) >= running.request.max_tokens) {
    --running.unfinished;
  } else {
    submit_next(tree, running, sample);
  }
}

bool Generation::take_next(Generated& generated) {
  const auto place = finished_.find(given_);
  if (place == finished_.end()) return false;
  generated = std::move(place->second);
  finished_.erase(place);
  ++given_;
  return true;
}

}  // namespace deepsearch
