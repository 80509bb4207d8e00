// Unicode normal forms: utf8proc decomposes and composes; what came after Unicode 9 is inert here, that is, neither
// decomposes nor composes nor is reordered, because it is so in `tokenizers`.
#include <algorithm>
#include <utf8proc.h>
#include <vector>

#include "core/error.h"
#include "tokenizer/unicode.h"
#include "tokenizer/unicode_tables.h"

namespace deepsearch::unicode {

namespace {

bool lies_in(std::span<const Range> ranges, char32_t c) {
  return std::any_of(ranges.begin(), ranges.end(), [&](const Range& r) { return r.first <= c && c <= r.last; });
}

bool is_inert(char32_t c) {
  constexpr char32_t kFirst = 0x7FD;  // the first mark that came after Unicode 9
  if (c < kFirst) return false;
  const utf8proc_property_t* const property = utf8proc_get_property(static_cast<utf8proc_int32_t>(c));
  const bool changes = property->combining_class != 0 || property->decomp_seqindex != UINT16_MAX;
  const bool composes = property->comb_index != UINT16_MAX;
  if (!changes && !composes) return false;
  const auto recent = recent_characters();
  return lies_in(late_marks(), c) || lies_in(late_decompositions(), c) ||
         std::any_of(recent.begin(), recent.end(), [&](const auto& r) { return r.first <= c && c <= r.last; });
}

int combining_class(int32_t c) {
  return utf8proc_get_property(c)->combining_class;
}

void reorder_marks(std::vector<int32_t>& run) {
  for (auto begin = run.begin(); begin != run.end();) {
    const auto is_starter = [](int32_t c) { return combining_class(c) == 0; };
    begin = std::find_if_not(begin, run.end(), is_starter);
    const auto end = std::find_if(begin, run.end(), is_starter);
    std::stable_sort(begin, end, [](int32_t a, int32_t b) { return combining_class(a) < combining_class(b); });
    begin = end;
  }
}

class Normalizer {
 public:
  explicit Normalizer(NormalForm form)
      : compose_(form == NormalForm::kNfc || form == NormalForm::kNfkc),
        compatible_(form == NormalForm::kNfkc || form == NormalForm::kNfkd) {}

  void add(char32_t c) {
    if (is_inert(c)) {  // nothing reaches over a starter that does not compose
      flush();
      append(text_, c);
      return;
    }
    constexpr size_t kMostParts = 32;  // the longest decomposition is 18 characters
    int32_t parts[kMostParts];
    int boundary = 0;
    const auto options =
        static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | (compatible_ ? UTF8PROC_COMPAT : 0));
    const auto n = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), parts, kMostParts, options, &boundary);
    if (n < 0 || static_cast<size_t>(n) > kMostParts) failure("utf8proc: U+{:04X} does not decompose", uint32_t{c});
    run_.insert(run_.end(), parts, parts + n);
  }

  std::string take() {
    flush();
    return std::move(text_);
  }

 private:
  void flush() {
    reorder_marks(run_);
    if (compose_ && !run_.empty()) {
      const auto n = utf8proc_normalize_utf32(run_.data(), static_cast<utf8proc_ssize_t>(run_.size()),
                                              static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
      if (n < 0) failure("utf8proc: {}", utf8proc_errmsg(n));
      run_.resize(static_cast<size_t>(n));
    }
    for (const int32_t c : run_) append(text_, static_cast<char32_t>(c));
    run_.clear();
  }

  bool compose_, compatible_;
  std::vector<int32_t> run_;
  std::string text_;
};

// Below these every character is its own normal form and takes no part in another's.
char32_t first_that_changes(NormalForm form) {
  switch (form) {
    case NormalForm::kNfc:
      return 0x300;
    case NormalForm::kNfd:
      return 0xC0;
    default:
      return 0xA0;
  }
}

}  // namespace

std::string normalize(std::string_view text, NormalForm form) {
  const char32_t first = first_that_changes(form);
  bool changes = false;
  for_each_character(text, [&](char32_t c, size_t, size_t) { changes = changes || c >= first; });
  if (!changes) return std::string(text);
  Normalizer normalizer(form);
  for_each_character(text, [&](char32_t c, size_t, size_t) { normalizer.add(c); });
  return normalizer.take();
}

}  // namespace deepsearch::unicode
