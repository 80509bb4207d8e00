#include "tokenizer/decoder.h"

#include <optional>

#include "tokenizer/byte_alphabet.h"
#include "tokenizer/pattern.h"
#include "tokenizer/unicode.h"

namespace deepsearch {

namespace {

// Gathers the parts of each token and hands it on whole.
class WholeTokens : public TokenSink {
 public:
  explicit WholeTokens(TokenSink& next) : next_(next) {}

  void push(std::string_view text, bool ends_token) final {
    token_ += text;
    if (!ends_token) return;
    take(std::exchange(token_, {}));
  }
  void finish() final {
    end();
    next_.finish();
  }

 protected:
  virtual void take(std::string token) = 0;
  virtual void end() {}
  TokenSink& next() { return next_; }

 private:
  TokenSink& next_;
  std::string token_;
};

// ByteLevel: characters of the alphabet → bytes → text, over the limits of tokens. A token with another character is
// its own UTF-8.
class ByteLevelStage : public DecoderStage {
 public:
  std::unique_ptr<TokenSink> start(TokenSink& next) const override { return std::make_unique<Sink>(next); }
  std::string bytes(std::string token) const override {
    auto decoded = bytes_of_alphabet(token);
    return decoded ? std::move(*decoded) : std::move(token);
  }

 private:
  class Sink : public WholeTokens {
   public:
    using WholeTokens::WholeTokens;

   private:
    void take(std::string token) override {
      const auto decoded = bytes_of_alphabet(token);
      std::string text;
      lossy_.append(decoded ? *decoded : token, text);
      if (!text.empty()) next().push(text, false);
    }
    void end() override {
      std::string text;
      lossy_.finish(text);
      next().push(text, true);
    }
    unicode::LossyDecoder lossy_;
  };
};

class FuseStage : public DecoderStage {
 public:
  std::unique_ptr<TokenSink> start(TokenSink& next) const override { return std::make_unique<Sink>(next); }
  std::string bytes(std::string token) const override { return token; }

 private:
  class Sink : public TokenSink {
   public:
    explicit Sink(TokenSink& next) : next_(next) {}
    void push(std::string_view text, bool) override { next_.push(text, false); }
    void finish() override {
      next_.push("", true);
      next_.finish();
    }

   private:
    TokenSink& next_;
  };
};

// The byte that a token like <0x0A> stands for.
std::optional<char> fallback_byte(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || !token.ends_with('>')) return std::nullopt;
  int value = 0;
  for (size_t i = 3; i < 5; ++i) {
    const char c = token[i];
    if (c == '+' && i == 3) continue;  // Rust's integer parser takes a sign
    const bool letter = (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
    if (!letter && (c < '0' || c > '9')) return std::nullopt;
    value = value * 16 + (letter ? (c | 0x20) - 'a' + 10 : c - '0');
  }
  return static_cast<char>(value);
}

// ByteFallback: a run of byte tokens becomes text when all of it is UTF-8, else one U+FFFD a byte. Whether it is shows
// only at its end.
class ByteFallbackStage : public DecoderStage {
 public:
  std::unique_ptr<TokenSink> start(TokenSink& next) const override { return std::make_unique<Sink>(next); }
  std::string bytes(std::string token) const override {
    const auto byte = fallback_byte(token);
    return byte ? std::string(1, *byte) : std::move(token);
  }

 private:
  class Sink : public WholeTokens {
   public:
    using WholeTokens::WholeTokens;

   private:
    void take(std::string token) override {
      if (const auto byte = fallback_byte(token)) {
        run_ += *byte;
        return;
      }
      end();
      next().push(token, true);
    }
    void end() override {
      if (run_.empty()) return;
      if (unicode::find_invalid(run_) == std::string_view::npos) {
        next().push(run_, true);
      } else {
        for (size_t i = 0; i < run_.size(); ++i) next().push("\uFFFD", true);
      }
      run_.clear();
    }
    std::string run_;
  };
};

class ReplaceStage : public DecoderStage {
 public:
  explicit ReplaceStage(const JsonNode& node)
      : pattern_(Pattern::from_json(node.at("pattern"))), content_(node.at("content").text()) {
    const auto literal = node.at("pattern").find("String");
    one_character_ =
        literal && !literal->text().empty() && unicode::decode(literal->text(), 0).bytes == literal->text().size();
  }

  std::unique_ptr<TokenSink> start(TokenSink& next) const override {
    if (one_character_) return std::make_unique<CharacterSink>(next, *this);
    return std::make_unique<TokenSinkOfWholes>(next, *this);
  }
  std::string bytes(std::string token) const override {
    if (unicode::find_invalid(token) != std::string_view::npos) return token;
    return pattern_.replace_all(token, content_);
  }

 private:
  class TokenSinkOfWholes : public WholeTokens {
   public:
    TokenSinkOfWholes(TokenSink& next, const ReplaceStage& stage) : WholeTokens(next), stage_(stage) {}

   private:
    void take(std::string token) override { next().push(stage_.pattern_.replace_all(token, stage_.content_), true); }
    const ReplaceStage& stage_;
  };
  // No match spans two parts when it is one character.
  class CharacterSink : public TokenSink {
   public:
    CharacterSink(TokenSink& next, const ReplaceStage& stage) : next_(next), stage_(stage) {}
    void push(std::string_view text, bool ends_token) override {
      next_.push(stage_.pattern_.replace_all(text, stage_.content_), ends_token);
    }
    void finish() override { next_.finish(); }

   private:
    TokenSink& next_;
    const ReplaceStage& stage_;
  };

  Pattern pattern_;
  std::string content_;
  bool one_character_ = false;
};

// Strip: up to `start` of the character at the front of each token and up to `stop` at its end.
class StripStage : public DecoderStage {
 public:
  StripStage(const JsonNode& node, bool on_joined)
      : content_(node.at("content").character()),
        start_(node.at("start").number(kMost)),
        stop_(node.at("stop").number(kMost)),
        on_joined_(on_joined) {}

  std::unique_ptr<TokenSink> start(TokenSink& next) const override { return std::make_unique<Sink>(next, *this); }
  std::string bytes(std::string token) const override {
    // The ends of a joined token are those of the text: nothing happens in its middle.
    if (on_joined_ || unicode::find_invalid(token) != std::string_view::npos) return token;
    struct Text : TokenSink {
      void push(std::string_view part, bool) override { text += part; }
      void finish() override {}
      std::string text;
    } result;
    Sink(result, *this).push(token, true);
    return result.text;
  }

 private:
  static constexpr uint64_t kMost = 1 << 20;

  class Sink : public TokenSink {
   public:
    Sink(TokenSink& next, const StripStage& stage) : next_(next), stage_(stage) {}

    void push(std::string_view text, bool ends_token) override {
      std::string out;
      unicode::for_each_character(text, [&](char32_t c, size_t, size_t) { take(c, out); });
      if (ends_token) n_seen_ = n_held_ = 0;
      if (ends_token) at_front_ = true;
      next_.push(out, ends_token);
    }
    void finish() override { next_.finish(); }

   private:
    void take(char32_t c, std::string& out) {
      if (at_front_ && c == stage_.content_ && n_seen_ < stage_.start_) {
        ++n_seen_;
        return;
      }
      at_front_ = false;
      if (c == stage_.content_ && stage_.stop_ > 0) {
        if (n_held_ < stage_.stop_) {
          ++n_held_;
        } else {
          unicode::append(out, c);  // the one held longest, which is the same character
        }
        return;
      }
      for (; n_held_ > 0; --n_held_) unicode::append(out, stage_.content_);
      unicode::append(out, c);
    }

    TokenSink& next_;
    const StripStage& stage_;
    bool at_front_ = true;
    uint64_t n_seen_ = 0;  // characters cut off the front
    uint64_t n_held_ = 0;  // characters that end the token so far
  };

  char32_t content_;
  uint64_t start_, stop_;
  bool on_joined_;
};

// Metaspace: the mark becomes a space; in the first token it vanishes, unless none is ever prepended.
class MetaspaceStage : public DecoderStage {
 public:
  explicit MetaspaceStage(const JsonNode& node) : mark_(node.at("replacement").character()) {
    if (const auto scheme = node.find("prepend_scheme")) {
      drops_first_ = scheme->one_of({"always", "first", "never"}) != 2;
    } else {
      drops_first_ = node.boolean_or("add_prefix_space", true);
    }
  }

  std::unique_ptr<TokenSink> start(TokenSink& next) const override { return std::make_unique<Sink>(next, *this); }
  std::string bytes(std::string token) const override {
    if (unicode::find_invalid(token) != std::string_view::npos) return token;
    return convert(token, false);
  }

 private:
  std::string convert(std::string_view token, bool first) const {
    std::string out;
    unicode::for_each_character(token, [&](char32_t c, size_t, size_t) {
      if (c != mark_) {
        unicode::append(out, c);
      } else if (!first || !drops_first_) {
        out += ' ';
      }
    });
    return out;
  }

  class Sink : public TokenSink {
   public:
    Sink(TokenSink& next, const MetaspaceStage& stage) : next_(next), stage_(stage) {}
    void push(std::string_view text, bool ends_token) override {
      next_.push(stage_.convert(text, first_), ends_token);
      if (ends_token) first_ = false;
    }
    void finish() override { next_.finish(); }

   private:
    TokenSink& next_;
    const MetaspaceStage& stage_;
    bool first_ = true;
  };

  char32_t mark_;
  bool drops_first_;
};

// BPEDecoder: the suffix of a word's last token becomes a space, except at the end of the text.
class SuffixStage : public DecoderStage {
 public:
  explicit SuffixStage(const JsonNode& node) : suffix_(Pattern::literal(node.at("suffix").text())) {}

  std::unique_ptr<TokenSink> start(TokenSink& next) const override { return std::make_unique<Sink>(next, *this); }
  std::string bytes(std::string token) const override { return suffix_.replace_all(token, " "); }

 private:
  class Sink : public WholeTokens {
   public:
    Sink(TokenSink& next, const SuffixStage& stage) : WholeTokens(next), stage_(stage) {}

   private:
    void take(std::string token) override {
      if (held_) next().push(stage_.suffix_.replace_all(*held_, " "), true);
      held_ = std::move(token);
    }
    void end() override {
      if (held_) next().push(stage_.suffix_.replace_all(*held_, ""), true);
      held_.reset();
    }
    const SuffixStage& stage_;
    std::optional<std::string> held_;
  };

  Pattern suffix_;
};

}  // namespace

void read_decoder(const JsonNode& node, DecoderStages& stages) {
  const size_t kind = node.at("type").one_of(
      {"Sequence", "ByteLevel", "Replace", "ByteFallback", "Fuse", "Strip", "Metaspace", "BPEDecoder"});
  const auto is_joined = [&] {
    for (const auto& stage : stages) {
      if (dynamic_cast<const FuseStage*>(stage.get()) != nullptr) return true;
      if (dynamic_cast<const ByteLevelStage*>(stage.get()) != nullptr) return true;
    }
    return false;
  };
  switch (kind) {
    case 0:
      for (const JsonNode& item : node.at("decoders").items()) read_decoder(item, stages);
      return;
    case 1:
      stages.push_back(std::make_unique<ByteLevelStage>());
      return;
    case 2:
      stages.push_back(std::make_unique<ReplaceStage>(node));
      return;
    case 3:
      stages.push_back(std::make_unique<ByteFallbackStage>());
      return;
    case 4:
      stages.push_back(std::make_unique<FuseStage>());
      return;
    case 5:
      stages.push_back(std::make_unique<StripStage>(node, is_joined()));
      return;
    case 6:
      stages.push_back(std::make_unique<MetaspaceStage>(node));
      return;
    default:
      stages.push_back(std::make_unique<SuffixStage>(node));
  }
}

}  // namespace deepsearch
