#include "tokenizer/tokenizer.h"
#include "tokenizer/tokenizer_parts.h"

namespace deepsearch {

namespace {

// The end of the chain: texts one after another, or with a space between tokens where the file has no decoder.
class TextSink : public TokenSink {
 public:
  explicit TextSink(bool spaces) : spaces_(spaces) {}

  void push(std::string_view text, bool ends_token) override {
    if (spaces_ && starts_token_ && !first_) text_ += ' ';
    text_ += text;
    starts_token_ = ends_token;
    first_ = false;
  }
  void finish() override {}
  std::string take() { return std::exchange(text_, {}); }

 private:
  bool spaces_;
  bool first_ = true;
  bool starts_token_ = true;
  std::string text_;
};

}  // namespace

struct StreamDecoder::State {
  State(Tokenizer the_tokenizer, bool skip) : tokenizer(std::move(the_tokenizer)), skip_special(skip) { restart(); }

  void restart() {
    sinks.clear();
    const Tokenizer::Parts& parts = tokenizer.parts();
    end = std::make_unique<TextSink>(!parts.has_decoder);
    first = end.get();
    for (size_t i = parts.decoder.size(); i-- > 0;) {
      sinks.push_back(parts.decoder[i]->start(*first));
      first = sinks.back().get();
    }
  }

  Tokenizer tokenizer;
  bool skip_special;
  std::unique_ptr<TextSink> end;
  std::vector<std::unique_ptr<TokenSink>> sinks;  // the last stage first
  TokenSink* first = nullptr;
};

StreamDecoder::StreamDecoder(Tokenizer tokenizer, bool skip_special_tokens)
    : state_(std::make_unique<State>(std::move(tokenizer), skip_special_tokens)) {}
StreamDecoder::StreamDecoder(StreamDecoder&&) noexcept = default;
StreamDecoder& StreamDecoder::operator=(StreamDecoder&&) noexcept = default;
StreamDecoder::~StreamDecoder() = default;

std::string StreamDecoder::append(Token id) {
  const Tokenizer::Parts& parts = state_->tokenizer.parts();
  const std::string* const text = parts.token_text(id);
  if (text != nullptr && !(state_->skip_special && parts.is_skipped(id))) state_->first->push(*text, true);
  return state_->end->take();
}

std::string StreamDecoder::flush() {
  state_->first->finish();
  std::string text = state_->end->take();
  state_->restart();
  return text;
}

}  // namespace deepsearch
