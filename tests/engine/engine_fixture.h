// Requests and engines over small models (engine/reference_decoder.h), for the scheduler's tests.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "engine/reference_decoder.h"
#include "model/weights.h"
#include "search/step_generator.h"

namespace deepsearch::testing {

inline ExpansionRequest root_request(uint64_t tree, const std::vector<Token>& prompt, int32_t n_children,
                                     int32_t max_tokens) {
  ExpansionRequest request;
  request.tree = tree;
  request.node = 0;
  request.path = {{.node = 0, .n_tokens = static_cast<int32_t>(prompt.size())}};
  request.prefix = prompt;
  request.n_children = n_children;
  request.first_child = 1;
  request.max_tokens = max_tokens;
  request.sampling_key = 1000 + tree;
  return request;
}

// The request for the child with number `index` of `expansion`, itself made by `parent`.
inline ExpansionRequest child_request(const ExpansionRequest& parent, const Expansion& expansion, int32_t index,
                                      int32_t first_child) {
  ExpansionRequest request = parent;
  const std::vector<Token>& tokens = expansion.children.at(static_cast<size_t>(index)).tokens;
  request.node = parent.first_child + index;
  request.path.push_back({.node = request.node, .n_tokens = static_cast<int32_t>(tokens.size())});
  request.prefix.insert(request.prefix.end(), tokens.begin(), tokens.end());
  request.first_child = first_child;
  request.sampling_key = parent.sampling_key * 31 + static_cast<uint64_t>(index) + 1;
  return request;
}

inline std::vector<Expansion> drain(StepGenerator& generator) {
  std::vector<Expansion> finished;
  while (generator.in_flight() > 0) generator.poll(finished);
  return finished;
}

inline Expansion expand(StepGenerator& generator, const ExpansionRequest& request) {
  generator.submit(request);
  std::vector<Expansion> finished = drain(generator);
  return finished.at(0);
}

inline std::unique_ptr<Engine> native_engine(const ModelWeights& weights, int64_t max_batch = 256, int64_t threads = 1,
                                             uint64_t seed = 5) {
  EngineParams params;
  params.device = "cpu";
  params.max_batch = max_batch;
  params.threads = threads;
  auto engine = make_engine(params, weights.config, seed, 0);
  engine->set_weights(weights, 1);
  return engine;
}

inline bool same_children(const Expansion& a, const Expansion& b) {
  if (a.children.size() != b.children.size()) return false;
  for (size_t i = 0; i < a.children.size(); ++i) {
    const Step& x = a.children[i];
    const Step& y = b.children[i];
    if (x.tokens != y.tokens || x.logprobs != y.logprobs || x.entropies != y.entropies || x.finish != y.finish)
      return false;
  }
  return true;
}

inline std::map<uint64_t, Expansion> by_tree(std::vector<Expansion> expansions) {
  std::map<uint64_t, Expansion> map;
  for (Expansion& expansion : expansions) map[expansion.tree] = std::move(expansion);
  return map;
}

}  // namespace deepsearch::testing
