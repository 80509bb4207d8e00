#include "tokenizer/pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <array>
#include <pcre2.h>

#include "core/error.h"
#include "tokenizer/unicode.h"

namespace deepsearch {

namespace {

template <auto Free>
struct Freeing {
  template <class T>
  void operator()(T* object) const {
    Free(object);
  }
};
template <class T, auto Free>
using Owned = std::unique_ptr<T, Freeing<Free>>;

std::string error_text(int code) {
  std::array<PCRE2_UCHAR, 256> text{};
  pcre2_get_error_message(code, text.data(), text.size());
  return reinterpret_cast<const char*>(text.data());
}

PCRE2_SPTR bytes_of(std::string_view text) {
  // PCRE2 takes no null pointer, not even for a text of length 0.
  return reinterpret_cast<PCRE2_SPTR>(text.data() == nullptr ? "" : text.data());
}

pcre2_match_data* scratch() {
  thread_local const Owned<pcre2_match_data, pcre2_match_data_free> kData(pcre2_match_data_create(1, nullptr));
  return kData.get();
}

size_t next_character(std::string_view text, size_t at) {
  return at + unicode::decode(text, at).bytes;
}

}  // namespace

struct Pattern::Code {
  explicit Code(const std::string& translated) {
    const Owned<pcre2_compile_context, pcre2_compile_context_free> options(pcre2_compile_context_create(nullptr));
    pcre2_set_newline(options.get(), PCRE2_NEWLINE_LF);
    pcre2_set_bsr(options.get(), PCRE2_BSR_UNICODE);
    int error = 0;
    PCRE2_SIZE offset = 0;
    // ^ and $ are those of lines in Ruby's syntax.
    constexpr uint32_t kOptions = PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C;
    code.reset(pcre2_compile(bytes_of(translated), translated.size(), kOptions, &error, &offset, options.get()));
    if (!code) bad_input("regular expression does not compile: {}", error_text(error));
    pcre2_jit_compile(code.get(), PCRE2_JIT_COMPLETE);  // without it the interpreter serves
    limits.reset(pcre2_match_context_create(nullptr));
    pcre2_set_match_limit(limits.get(), kMaxMatchSteps);
    pcre2_set_heap_limit(limits.get(), kMaxMatchKilobytes);
  }

  // The first match at or after `from`, or none.
  bool find(std::string_view text, size_t from, Match& match) const {
    const auto run = [&](uint32_t options) {
      return pcre2_match(code.get(), bytes_of(text), text.size(), from, options | PCRE2_NO_UTF_CHECK, scratch(),
                         limits.get());
    };
    int result = run(0);
    if (result == PCRE2_ERROR_JIT_STACKLIMIT) result = run(PCRE2_NO_JIT);  // which keeps its stack on the heap
    if (result == PCRE2_ERROR_NOMATCH) return false;
    if (result < 0) bad_input("regular expression on a text of {} bytes: {}", text.size(), error_text(result));
    const PCRE2_SIZE* const ends = pcre2_get_ovector_pointer(scratch());
    match = {ends[0], ends[1]};
    // \K inside a lookahead can put the start behind the end.
    if (match.begin > match.end || match.begin < from) bad_input("regular expression: a match ends before it begins");
    return true;
  }

  Owned<pcre2_code, pcre2_code_free> code;
  Owned<pcre2_match_context, pcre2_match_context_free> limits;
};

Pattern Pattern::literal(std::string text) {
  Pattern pattern;
  pattern.literal_ = std::move(text);
  return pattern;
}

Pattern Pattern::regex(std::string_view text) {
  if (text.size() > kMaxPatternBytes) {
    bad_input("regular expression of {} bytes; at most {} are taken", text.size(), kMaxPatternBytes);
  }
  const std::string plain = translate_regex(text, false);
  const std::string exact = translate_regex(text, true);
  Pattern pattern;
  pattern.plain_ = std::make_shared<const Code>(plain);
  pattern.exact_ = exact == plain ? pattern.plain_ : std::make_shared<const Code>(exact);
  return pattern;
}

Pattern Pattern::from_json(const JsonNode& node) {
  node.expect_object();
  const auto text = node.find("String");
  const auto regular = node.find("Regex");
  if (text.has_value() == regular.has_value()) node.refuse("must be {{\"String\": …}} or {{\"Regex\": …}}");
  if (text) return literal(text->text());
  try {
    return regex(regular->text());
  } catch (const Error& error) {
    throw error.within(regular->place());
  }
}

void Pattern::find_literal(std::string_view text, std::vector<Match>& matches) const {
  if (literal_.empty()) {
    for (size_t at = 0; at < text.size(); at = next_character(text, at)) matches.push_back({at, at});
    matches.push_back({text.size(), text.size()});
    return;
  }
  for (size_t at = text.find(literal_); at != std::string_view::npos; at = text.find(literal_, at + literal_.size())) {
    matches.push_back({at, at + literal_.size()});
  }
}

void Pattern::find_regex(std::string_view text, std::vector<Match>& matches) const {
  const Code& code = plain_ != exact_ && unicode::has_recent_characters(text) ? *exact_ : *plain_;
  size_t from = 0;
  Match match{};
  while (from <= text.size() && code.find(text, from, match)) {
    const bool empty = match.begin == match.end;
    if (!empty || matches.empty() || matches.back().end != match.begin) matches.push_back(match);
    if (!empty) {
      from = match.end;
    } else if (match.end < text.size()) {
      from = next_character(text, match.end);
    } else {
      return;
    }
  }
}

std::vector<Match> Pattern::find_all(std::string_view text) const {
  std::vector<Match> matches;
  if (plain_) {
    find_regex(text, matches);
  } else {
    find_literal(text, matches);
  }
  return matches;
}

std::string Pattern::replace_all(std::string_view text, std::string_view replacement) const {
  std::string replaced;
  size_t done = 0;
  for (const Match& match : find_all(text)) {
    replaced += text.substr(done, match.begin - done);
    replaced += replacement;
    done = match.end;
  }
  replaced += text.substr(done);
  return replaced;
}

}  // namespace deepsearch
