#include "tokenizer/pre_tokenizer.h"

#include <algorithm>
#include <optional>

#include "tokenizer/byte_alphabet.h"
#include "tokenizer/pattern.h"
#include "tokenizer/unicode.h"

namespace deepsearch {

namespace {

using Range = Pieces::Range;

enum class Behavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };

Behavior behavior_of(const JsonNode& node) {
  return static_cast<Behavior>(
      node.one_of({"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"}));
}

struct Part {
  Range range;
  bool is_match;
};

// Joins parts to pieces as `behavior` says what becomes of the matches.
class Joiner {
 public:
  explicit Joiner(Behavior behavior) : behavior_(behavior) {}

  void join(const std::vector<Part>& parts, size_t base, std::vector<Range>& pieces) const {
    std::vector<Range> joined;
    if (behavior_ == Behavior::kMergedWithNext) {
      for (size_t i = parts.size(); i-- > 0;) {
        const bool follower_is_match = i + 1 < parts.size() && parts[i + 1].is_match;
        if (parts[i].is_match && !follower_is_match && !joined.empty()) {
          joined.back().begin = parts[i].range.begin;
        } else {
          joined.push_back(parts[i].range);
        }
      }
      std::reverse(joined.begin(), joined.end());
    } else {
      for (size_t i = 0; i < parts.size(); ++i) add(parts[i], i > 0 && parts[i - 1].is_match, joined);
    }
    for (const Range& range : joined) {
      if (range.begin < range.end) pieces.push_back({base + range.begin, base + range.end});
    }
  }

 private:
  void add(const Part& part, bool after_match, std::vector<Range>& joined) const {
    if (behavior_ == Behavior::kRemoved && part.is_match) return;
    const bool merge = (behavior_ == Behavior::kMergedWithPrevious && part.is_match && !after_match) ||
                       (behavior_ == Behavior::kContiguous && part.is_match == after_match);
    if (merge && !joined.empty()) {
      joined.back().end = part.range.end;
    } else {
      joined.push_back(part.range);
    }
  }

  Behavior behavior_;
};

// Splits each piece on its own: f(text of the piece, offset of it, pieces to add to).
template <class F>
void split_each(Pieces& pieces, F&& f) {
  std::vector<Range> ranges;
  ranges.reserve(pieces.ranges.size() * 2);
  for (const Range& range : pieces.ranges) f(pieces.text(range), range.begin, ranges);
  pieces.ranges = std::move(ranges);
}

void split_by_pattern(Pieces& pieces, const Pattern& pattern, bool invert, const Joiner& joiner) {
  std::vector<Part> parts;
  split_each(pieces, [&](std::string_view text, size_t base, std::vector<Range>& ranges) {
    parts.clear();
    size_t done = 0;
    for (const Match& match : pattern.find_all(text)) {
      if (match.begin > done) parts.push_back({{done, match.begin}, invert});
      parts.push_back({{match.begin, match.end}, !invert});
      done = match.end;
    }
    if (done < text.size()) parts.push_back({{done, text.size()}, invert});
    joiner.join(parts, base, ranges);
  });
}

// Each character for which `is_match` holds is a match of its own.
template <class F>
void split_by_character(Pieces& pieces, F&& is_match, const Joiner& joiner) {
  std::vector<Part> parts;
  split_each(pieces, [&](std::string_view text, size_t base, std::vector<Range>& ranges) {
    parts.clear();
    unicode::for_each_character(text, [&](char32_t c, size_t begin, size_t end) {
      const bool match = is_match(c);
      if (!match && !parts.empty() && !parts.back().is_match) {
        parts.back().range.end = end;
      } else {
        parts.push_back({{begin, end}, match});
      }
    });
    joiner.join(parts, base, ranges);
  });
}

// Rewrites each piece: f(text of the piece, whether it begins at the given text's start, output, byte of the piece →
// void to tell which byte the output so far stems from).
template <class F>
void rewrite_each(Pieces& pieces, F&& f) {
  Pieces result;
  result.source.text.reserve(pieces.source.text.size() * 2);
  result.ranges.reserve(pieces.ranges.size());
  std::string& out = result.source.text;
  for (const Range& range : pieces.ranges) {
    const size_t begin = out.size();
    const auto stems_from = [&](size_t byte) {
      if (range.begin + byte < pieces.source.origin_bytes) result.source.origin_bytes = out.size();
    };
    f(pieces.text(range), range.begin < pieces.source.origin_bytes, out, stems_from);
    if (out.size() > begin) result.ranges.push_back({begin, out.size()});
  }
  pieces = std::move(result);
}

class SequencePreTokenizer : public PreTokenizer {
 public:
  explicit SequencePreTokenizer(const JsonNode& node) {
    for (const JsonNode& item : node.at("pretokenizers").items()) parts_.push_back(make_pre_tokenizer(item));
  }
  void apply(Pieces& pieces) const override {
    for (const auto& part : parts_) part->apply(pieces);
  }

 private:
  std::vector<std::unique_ptr<PreTokenizer>> parts_;
};

class ByteLevelPreTokenizer : public PreTokenizer {
 public:
  explicit ByteLevelPreTokenizer(const JsonNode& node) : add_prefix_space_(node.at("add_prefix_space").boolean()) {
    if (!node.boolean_or("use_regex", true)) return;
    words_ = Pattern::regex(R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)");
  }

  void apply(Pieces& pieces) const override {
    if (add_prefix_space_) {
      rewrite_each(pieces, [](std::string_view text, bool, std::string& out, const auto& stems_from) {
        if (!text.starts_with(' ')) out += ' ';
        for (size_t i = 0; i < text.size(); ++i) {
          out += text[i];
          stems_from(i);
        }
      });
    }
    if (words_) split_by_pattern(pieces, *words_, false, Joiner(Behavior::kIsolated));
    rewrite_each(pieces, [](std::string_view text, bool, std::string& out, const auto& stems_from) {
      for (size_t i = 0; i < text.size(); ++i) {
        append_byte_character(out, text[i]);
        stems_from(i);
      }
    });
  }

 private:
  bool add_prefix_space_;
  std::optional<Pattern> words_;
};

class SplitPreTokenizer : public PreTokenizer {
 public:
  explicit SplitPreTokenizer(const JsonNode& node)
      : pattern_(Pattern::from_json(node.at("pattern"))),
        joiner_(behavior_of(node.at("behavior"))),
        invert_(node.at("invert").boolean()) {}
  void apply(Pieces& pieces) const override { split_by_pattern(pieces, pattern_, invert_, joiner_); }

 private:
  Pattern pattern_;
  Joiner joiner_;
  bool invert_;
};

class MetaspacePreTokenizer : public PreTokenizer {
 public:
  explicit MetaspacePreTokenizer(const JsonNode& node) : split_(node.boolean_or("split", true)) {
    mark_ = node.at("replacement").character();
    unicode::append(mark_text_, mark_);
    if (const auto scheme = node.find("prepend_scheme")) {
      scheme_ = static_cast<Scheme>(scheme->one_of({"always", "first", "never"}));
    } else if (!node.boolean_or("add_prefix_space", true)) {
      scheme_ = Scheme::kNever;
    }
  }

  void apply(Pieces& pieces) const override {
    rewrite_each(pieces, [this](std::string_view text, bool at_origin, std::string& out, const auto& stems_from) {
      const bool wanted = scheme_ == Scheme::kAlways || (scheme_ == Scheme::kFirst && at_origin);
      if (wanted && !text.starts_with(' ') && !text.starts_with(mark_text_)) out += mark_text_;
      for (size_t i = 0; i < text.size(); ++i) {
        if (text[i] == ' ') {
          out += mark_text_;
        } else {
          out += text[i];
        }
        stems_from(i);
      }
    });
    if (split_) {
      split_by_character(
          pieces, [this](char32_t c) { return c == mark_; }, Joiner(Behavior::kMergedWithNext));
    }
  }

 private:
  enum class Scheme { kAlways, kFirst, kNever };
  char32_t mark_ = 0;
  std::string mark_text_;
  Scheme scheme_ = Scheme::kAlways;
  bool split_;
};

// Words and what lies between them, without the white space.
class WhitespacePreTokenizer : public PreTokenizer {
 public:
  void apply(Pieces& pieces) const override {
    split_each(pieces, [](std::string_view text, size_t base, std::vector<Range>& ranges) {
      enum Kind { kSpace, kWord, kOther } before = kSpace;
      unicode::for_each_character(text, [&](char32_t c, size_t begin, size_t end) {
        const Kind kind = unicode::is_word(c) ? kWord : unicode::is_white_space(c) ? kSpace : kOther;
        if (kind != kSpace && kind == before) {
          ranges.back().end = base + end;
        } else if (kind != kSpace) {
          ranges.push_back({base + begin, base + end});
        }
        before = kind;
      });
    });
  }
};

class WhitespaceSplitPreTokenizer : public PreTokenizer {
 public:
  void apply(Pieces& pieces) const override {
    split_by_character(pieces, unicode::is_white_space, Joiner(Behavior::kRemoved));
  }
};

class BertPreTokenizer : public PreTokenizer {
 public:
  void apply(Pieces& pieces) const override {
    split_by_character(pieces, unicode::is_white_space, Joiner(Behavior::kRemoved));
    split_by_character(pieces, unicode::is_punctuation, Joiner(Behavior::kIsolated));
  }
};

class DigitsPreTokenizer : public PreTokenizer {
 public:
  explicit DigitsPreTokenizer(const JsonNode& node)
      : joiner_(node.at("individual_digits").boolean() ? Behavior::kIsolated : Behavior::kContiguous) {}
  void apply(Pieces& pieces) const override { split_by_character(pieces, unicode::is_numeric, joiner_); }

 private:
  Joiner joiner_;
};

class PunctuationPreTokenizer : public PreTokenizer {
 public:
  explicit PunctuationPreTokenizer(const JsonNode& node)
      : joiner_(node.find("behavior") ? behavior_of(node.at("behavior")) : Behavior::kIsolated) {}
  void apply(Pieces& pieces) const override { split_by_character(pieces, unicode::is_punctuation, joiner_); }

 private:
  Joiner joiner_;
};

class DelimiterPreTokenizer : public PreTokenizer {
 public:
  explicit DelimiterPreTokenizer(const JsonNode& node) : delimiter_(node.at("delimiter").character()) {}
  void apply(Pieces& pieces) const override {
    split_by_character(
        pieces, [this](char32_t c) { return c == delimiter_; }, Joiner(Behavior::kRemoved));
  }

 private:
  char32_t delimiter_;
};

}  // namespace

std::unique_ptr<PreTokenizer> make_pre_tokenizer(const JsonNode& node) {
  const size_t kind =
      node.at("type").one_of({"Sequence", "ByteLevel", "Split", "Metaspace", "Whitespace", "WhitespaceSplit", "Digits",
                              "Punctuation", "BertPreTokenizer", "CharDelimiterSplit"});
  switch (kind) {
    case 0:
      return std::make_unique<SequencePreTokenizer>(node);
    case 1:
      return std::make_unique<ByteLevelPreTokenizer>(node);
    case 2:
      return std::make_unique<SplitPreTokenizer>(node);
    case 3:
      return std::make_unique<MetaspacePreTokenizer>(node);
    case 4:
      return std::make_unique<WhitespacePreTokenizer>();
    case 5:
      return std::make_unique<WhitespaceSplitPreTokenizer>();
    case 6:
      return std::make_unique<DigitsPreTokenizer>(node);
    case 7:
      return std::make_unique<PunctuationPreTokenizer>(node);
    case 8:
      return std::make_unique<BertPreTokenizer>();
    default:
      return std::make_unique<DelimiterPreTokenizer>(node);
  }
}

}  // namespace deepsearch
