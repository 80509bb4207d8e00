#include "tokenizer/normalizer.h"

#include <algorithm>

#include "tokenizer/byte_alphabet.h"
#include "tokenizer/pattern.h"
#include "tokenizer/unicode.h"

namespace deepsearch {

namespace {

// Rewrites character by character: f(character, output).
template <class F>
void rewrite(NormalText& text, F&& f) {
  NormalText result;
  result.text.reserve(text.text.size());
  unicode::for_each_character(text.text, [&](char32_t c, size_t begin, size_t) {
    f(c, result.text);
    if (begin < text.origin_bytes) result.origin_bytes = result.text.size();
  });
  text = std::move(result);
}

class SequenceNormalizer : public Normalizer {
 public:
  explicit SequenceNormalizer(const JsonNode& node) {
    for (const JsonNode& item : node.at("normalizers").items()) parts_.push_back(make_normalizer(item));
  }
  void apply(NormalText& text) const override {
    for (const auto& part : parts_) part->apply(text);
  }

 private:
  std::vector<std::unique_ptr<Normalizer>> parts_;
};

class FormNormalizer : public Normalizer {
 public:
  explicit FormNormalizer(unicode::NormalForm form) : form_(form) {}
  void apply(NormalText& text) const override {
    const std::string origin = unicode::normalize(std::string_view(text.text).substr(0, text.origin_bytes), form_);
    text.text = unicode::normalize(text.text, form_);
    text.origin_bytes = std::min(origin.size(), text.text.size());
  }

 private:
  unicode::NormalForm form_;
};

class LowercaseNormalizer : public Normalizer {
 public:
  void apply(NormalText& text) const override {
    rewrite(text, [](char32_t c, std::string& out) { unicode::append_lower_case(out, c); });
  }
};

class StripAccentsNormalizer : public Normalizer {
 public:
  void apply(NormalText& text) const override {
    rewrite(text, [](char32_t c, std::string& out) {
      if (!unicode::is_old_mark(c)) unicode::append(out, c);
    });
  }
};

class ByteLevelNormalizer : public Normalizer {
 public:
  void apply(NormalText& text) const override {
    NormalText result;
    for (size_t i = 0; i < text.text.size(); ++i) {
      append_byte_character(result.text, text.text[i]);
      if (i < text.origin_bytes) result.origin_bytes = result.text.size();
    }
    text = std::move(result);
  }
};

class StripNormalizer : public Normalizer {
 public:
  explicit StripNormalizer(const JsonNode& node)
      : left_(node.at("strip_left").boolean()), right_(node.at("strip_right").boolean()) {}

  void apply(NormalText& text) const override {
    size_t begin = std::string::npos;
    size_t end = 0;
    unicode::for_each_character(text.text, [&](char32_t c, size_t from, size_t to) {
      if (unicode::is_white_space(c)) return;
      begin = std::min(begin, from);
      end = to;
    });
    if (!left_) begin = 0;
    if (!right_) end = text.text.size();
    begin = std::min(begin, text.text.size());
    text.text = begin < end ? text.text.substr(begin, end - begin) : std::string();
    text.origin_bytes -= std::min(begin, text.origin_bytes);
    text.origin_bytes = std::min(text.origin_bytes, text.text.size());
  }

 private:
  bool left_, right_;
};

class PrependNormalizer : public Normalizer {
 public:
  explicit PrependNormalizer(const JsonNode& node) : front_(node.at("prepend").text()) {}
  void apply(NormalText& text) const override {
    if (text.text.empty()) return;
    text.text.insert(0, front_);
    if (text.origin_bytes > 0) text.origin_bytes += front_.size();
  }

 private:
  std::string front_;
};

class ReplaceNormalizer : public Normalizer {
 public:
  explicit ReplaceNormalizer(const JsonNode& node)
      : pattern_(Pattern::from_json(node.at("pattern"))), content_(node.at("content").text()) {}

  void apply(NormalText& text) const override {
    NormalText result;
    const std::string_view old = text.text;
    size_t done = 0;
    const auto keep = [&](size_t end) {
      result.text += old.substr(done, end - done);
      if (done < text.origin_bytes) result.origin_bytes = result.text.size() - (end - std::min(end, text.origin_bytes));
    };
    for (const Match& match : pattern_.find_all(old)) {
      keep(match.begin);
      result.text += content_;
      // What is inserted belongs to the last character that it replaces.
      if (match.end <= text.origin_bytes && text.origin_bytes > 0) result.origin_bytes = result.text.size();
      done = match.end;
    }
    keep(old.size());
    text = std::move(result);
  }

 private:
  Pattern pattern_;
  std::string content_;
};

}  // namespace

std::unique_ptr<Normalizer> make_normalizer(const JsonNode& node) {
  using unicode::NormalForm;
  const size_t kind = node.at("type").one_of({"Sequence", "NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents",
                                              "Strip", "Prepend", "Replace", "ByteLevel"});
  switch (kind) {
    case 0:
      return std::make_unique<SequenceNormalizer>(node);
    case 1:
      return std::make_unique<FormNormalizer>(NormalForm::kNfc);
    case 2:
      return std::make_unique<FormNormalizer>(NormalForm::kNfd);
    case 3:
      return std::make_unique<FormNormalizer>(NormalForm::kNfkc);
    case 4:
      return std::make_unique<FormNormalizer>(NormalForm::kNfkd);
    case 5:
      return std::make_unique<LowercaseNormalizer>();
    case 6:
      return std::make_unique<StripAccentsNormalizer>();
    case 7:
      return std::make_unique<StripNormalizer>(node);
    case 8:
      return std::make_unique<PrependNormalizer>(node);
    case 9:
      return std::make_unique<ReplaceNormalizer>(node);
    default:
      return std::make_unique<ByteLevelNormalizer>();
  }
}

}  // namespace deepsearch
