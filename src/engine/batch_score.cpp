// Scoring given texts: the same passes as sampling, with every next token forced.
#include <algorithm>

#include "core/error.h"
#include "engine/batch_engine.h"

namespace deepsearch {

void BatchEngine::check_text(const std::vector<Token>& text) const {
  if (text.empty()) bad_input("a text to be scored holds no token");
  if (static_cast<int64_t>(text.size()) > config_.max_positions) {
    bad_input("a text of {} tokens; the model's context is {}", text.size(), config_.max_positions);
  }
  if (const int64_t room = cache_.pool().capacity() * kKvBlockTokens; static_cast<int64_t>(text.size()) > room) {
    bad_input("a text of {} tokens; the KV cache holds {}, raise [engine].kv_memory_mb", text.size(), room);
  }
  for (const Token token : text) {
    if (token < 0 || token >= config_.vocab_size) {
      bad_input("token {}; the model's vocabulary is 0 to {}", token, config_.vocab_size - 1);
    }
  }
}

std::vector<Scores> BatchEngine::score(const std::vector<std::vector<Token>>& texts) {
  if (!has_weights_) failure("engine: asked to score before any weights were set");
  if (!jobs_.empty()) failure("engine: asked to score while {} requests are under way", jobs_.size());
  for (const std::vector<Token>& text : texts) check_text(text);
  struct Running {
    size_t text;
    std::shared_ptr<KvNode> kv;
  };
  std::vector<Scores> scores(texts.size());
  std::vector<Running> running;
  std::vector<size_t> scored;  // the text of each draw
  for (size_t next = 0; next < texts.size() || !running.empty();) {
    pass_.clear();
    scored.clear();
    // Each row's logits are kept until the draws are made: few rows, but no fewer than fill the products' tiles.
    constexpr int64_t kLeastRows = 64;
    const int64_t room = params_.max_batch + params_.prefill_chunk;  // what backends are made for
    auto rows = static_cast<int32_t>(std::clamp(kLeastRows, params_.max_batch, room));
    const auto add = [&](Running& text) {
      KvNode& kv = *text.kv;
      const int32_t n = std::min(rows, kv.end() - kv.filled);
      cache_.grow(kv, kv.filled + n, pass_.copies);
      emit_span(kv, kv.filled, n);
      const auto first_row = static_cast<int32_t>(pass_.tokens.size()) - n;
      for (int32_t i = 0; i < n; ++i) {
        const auto target = static_cast<size_t>(kv.filled) + static_cast<size_t>(i) + 1;
        if (target == kv.tokens.size()) break;
        pass_.draws.push_back({.row = first_row + i, .forced = kv.tokens[target]});
        scored.push_back(text.text);
      }
      kv.filled += n;
      rows -= n;
    };
    for (Running& text : running) add(text);
    while (rows > 0 && next < texts.size()) {
      const auto n = static_cast<int32_t>(texts[next].size());
      if (!cache_.make_room((n + kKvBlockTokens - 1) / kKvBlockTokens)) {
        break;  // what runs gives its blocks back when it is done
      }
      Running text{.text = next, .kv = cache_.make_root(texts[next])};
      cache_.grow(*text.kv, n, pass_.copies);  // all of it at once: what is begun can be finished
      add(text);
      running.push_back(std::move(text));
      ++next;
    }
    backend_->run(pass_, drawn_);
    for (size_t i = 0; i < drawn_.size(); ++i) {
      scores[scored[i]].logprobs.push_back(drawn_[i].raw_logprob);
      scores[scored[i]].entropies.push_back(drawn_[i].raw_entropy);
    }
    std::erase_if(running, [](const Running& text) { return text.kv->complete(); });
  }
  return scores;
}

}  // namespace deepsearch
