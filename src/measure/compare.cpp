#include "measure/compare.h"

#include <algorithm>
#include <cmath>
#include <memory>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/rng.h"
#include "data/json_lines.h"
#include "learn/network/learner_network.h"
#include "run/generation.h"
#include "run/policy.h"

namespace deepsearch {
namespace {

constexpr int64_t kPromptTokens = 8;

std::vector<std::vector<Token>> sample_texts(Engine& engine, int64_t n, int64_t length, uint64_t seed) {
  const ModelConfig& config = engine.model_config();
  length = std::min(length, config.max_positions);
  const int64_t prompt = std::min(kPromptTokens, length - 1);
  if (prompt < 1) bad_input("compare: texts of {} tokens; at least 2 are needed", length);
  Generation generation(engine);
  std::vector<std::vector<Token>> texts(static_cast<size_t>(n));
  RandomStream random(seed, RngPurpose::kTests, hash_text("compare"));
  for (std::vector<Token>& text : texts) {
    for (int64_t i = 0; i < prompt; ++i) {
      text.push_back(static_cast<Token>(random.below(static_cast<uint64_t>(config.vocab_size))));
    }
    generation.add({.prompt = text, .max_tokens = static_cast<int32_t>(length - prompt), .key = generation.added()});
  }
  for (std::vector<Token>& text : texts) {
    Generated generated;
    while (!generation.take_next(generated)) generation.pump();
    const std::vector<Token>& made = generated.samples[0].tokens;
    text.insert(text.end(), made.begin(), made.end());
  }
  return texts;
}

}  // namespace

std::vector<std::vector<Token>> read_texts(const std::filesystem::path& path) {
  JsonLinesReader in(path);
  std::vector<std::vector<Token>> texts;
  for (nlohmann::json line; in.next(line);) texts.push_back(json_tokens(line, "tokens", in.place()));
  if (texts.empty()) bad_input("{}: no texts", path.string());
  return texts;
}

Comparison compare_with_learner(const std::filesystem::path& model, const EngineParams& params,
                                const std::vector<std::vector<Token>>& texts, int64_t n_texts, int64_t length,
                                uint64_t seed) {
  const Policy policy = open_policy(model, params, seed);
  const std::vector<std::vector<Token>> used =
      texts.empty() ? sample_texts(*policy.engine, n_texts, length, seed) : texts;
  const std::vector<Scores> ours = policy.engine->score(used);
  const LearnerNetwork network(load_model(model));
  Comparison result{.engine = policy.engine->description()};
  double absolute = 0;
  double sum = 0;
  for (size_t t = 0; t < used.size(); ++t) {
    const std::vector<float> theirs = network.logprobs(used[t]);
    for (size_t i = 0; i < theirs.size(); ++i) {
      const double difference = static_cast<double>(ours[t].logprobs[i]) - static_cast<double>(theirs[i]);
      result.largest = std::max(result.largest, std::abs(difference));
      absolute += std::abs(difference);
      sum += difference;
      ++result.tokens;
    }
  }
  if (result.tokens > 0) {
    result.mean = absolute / static_cast<double>(result.tokens);
    result.bias = sum / static_cast<double>(result.tokens);
  }
  return result;
}

}  // namespace deepsearch
