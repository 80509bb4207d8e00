#include "verify/math_verifier.h"

#include <algorithm>
#include <cctype>
#include <exception>

#include "core/error.h"
#include "verify/compare.h"
#include "verify/parser.h"

namespace deepsearch {

namespace {

using math::Arena;
using math::Candidate;
using math::Expr;

enum class Match { kNo, kYes, kUnread };

std::string_view trim(std::string_view s) {
  const auto blank = [](char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; };
  while (!s.empty() && blank(s.front())) s.remove_prefix(1);
  while (!s.empty() && blank(s.back())) s.remove_suffix(1);
  return s;
}

bool all_digits(std::string_view s) {
  return !s.empty() && std::all_of(s.begin(), s.end(), [](char c) { return c >= '0' && c <= '9'; });
}

// Commands that change the look only, and others by the name they have here.
struct Look {
  std::string_view command;
  std::string_view instead;
};
constexpr Look kLooks[] = {{"left", ""},        {"right", ""},      {"displaystyle", ""}, {"quad", ""},
                           {"text", ""},        {"mathrm", ""},     {"textbf", ""},       {"mbox", ""},
                           {"dfrac", "\\frac"}, {"tfrac", "\\frac"}};

// The command at text[i], a backslash: its length, and what it is compared as.
size_t read_look(std::string_view text, size_t i, std::string_view& instead) {
  size_t end = i + 1;
  while (end < text.size() && std::isalpha(static_cast<unsigned char>(text[end])) != 0) ++end;
  if (end == i + 1 && end < text.size()) {  // a sign
    ++end;
    instead = std::string_view(",!;: ()").find(text[i + 1]) != std::string_view::npos ? "" : text.substr(i, 2);
    return 2;
  }
  instead = text.substr(i, end - i);
  for (const Look& look : kLooks) {
    if (text.substr(i + 1, end - i - 1) == look.command) instead = look.instead;
  }
  return end - i;
}

// Without what changes the look only. For texts that are not read as mathematics.
std::string bare_text(std::string_view in) {
  const std::string_view text = trim(in);
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const char c = text[i];
    if (c == '\\') {
      std::string_view instead;
      i += read_look(text, i, instead);
      out += instead;
      continue;
    }
    if (c != '$' && c != '~' && std::isspace(static_cast<unsigned char>(c)) == 0) out += c;
    ++i;
  }
  while (!out.empty() && (out.back() == '.' || out.back() == ',')) out.pop_back();
  if (out.size() > 1 && out.front() == '{' && out.back() == '}' && std::count(out.begin(), out.end(), '{') == 1) {
    out = out.substr(1, out.size() - 2);
  }
  return out;
}

bool prose(std::string_view text) {
  size_t letters = 0;
  for (const char c : text) {
    if (std::isalpha(static_cast<unsigned char>(c)) != 0) {
      ++letters;
    } else if (c == '+' || c == '^' || c == '_' || c == '=' || c == '/' || c == '<' || c == '>' || c == '|' ||
               c == '[' || c == ']' || (c >= '0' && c <= '9')) {
      return false;
    }
  }
  return letters >= 2;
}

bool same_text(std::string_view g, std::string_view a) {
  if (g.size() > 100'000 || a.size() > 100'000) return g == a;
  const std::string one = bare_text(g);
  if (one.empty()) return false;
  if (one == bare_text(a)) return true;
  if (!prose(g) || !prose(a)) return false;
  const std::string words = math::plain_words(g);
  return !words.empty() && words == math::plain_words(a);
}

// Texts whose backslashes were written twice: \\frac for \frac. In a matrix two of them end a row.
std::string undouble(std::string_view in) {
  std::string text(in);
  if (text.find("\\begin") != std::string::npos) return text;
  if (text.find("\\\\") == std::string::npos) return text;
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 2 < text.size() && text[i + 1] == '\\' &&
        std::isalpha(static_cast<unsigned char>(text[i + 2])) != 0) {
      continue;
    }
    out += text[i];
  }
  return out;
}

struct Side {
  std::string text;
  bool plain = false;
};

class Session {
 public:
  Session(Arena& arena, const MathOptions& options) : a_(arena), options_(options) {
    compare_.places = options.places;
    compare_.tolerance = options.tolerance;
    compare_.strict = options.strict;
    compare_.set_for_relation_both_ways = options.set_for_relation_both_ways;
    compare_.ordered = options.ordered;
    compare_.list = options.list;
    compare_.tolerant = options.tolerant;
  }

  Expr read(const Side& side, bool group_commas, bool log_ten, bool* grouped) {
    math::ParseOptions parsing;
    parsing.plain = side.plain && group_commas;
    parsing.group_commas = group_commas;
    parsing.repair = options_.repair;
    parsing.log_ten = log_ten;
    parsing.grouped = grouped;
    return math::parse(a_, side.text, parsing);
  }

  Match match(const Side& gold, const Side& answer) {
    if (options_.list) return match_lists(gold, answer);
    bool gold_grouped = false;
    bool answer_grouped = false;
    const Expr g = read(gold, true, false, &gold_grouped);
    const Expr a = read(answer, true, false, &answer_grouped);
    if (g == nullptr || a == nullptr) return Match::kUnread;
    if (math::equal(a_, g, a, compare_)) return Match::kYes;
    // A comma that may part thousands or values.
    if (gold_grouped || answer_grouped) {
      const Expr g2 = gold_grouped ? read(gold, false, false, nullptr) : g;
      const Expr a2 = answer_grouped ? read(answer, false, false, nullptr) : a;
      for (const auto& [x, y] : {std::pair{g, a2}, {g2, a}, {g2, a2}}) {
        if (x != nullptr && y != nullptr && math::equal(a_, x, y, compare_)) return Match::kYes;
      }
    }
    // A logarithm without a base is natural to some, decimal to others.
    if (gold.text.find("log") != std::string::npos || answer.text.find("log") != std::string::npos) {
      const Expr g10 = read(gold, true, true, nullptr);
      const Expr a10 = read(answer, true, true, nullptr);
      if (g10 != nullptr && a10 != nullptr && math::equal(a_, g10, a10, compare_)) return Match::kYes;
    }
    // A word against letters that were read as a product.
    return g->is(math::Kind::kWord) != a->is(math::Kind::kWord) ? Match::kUnread : Match::kNo;
  }

 private:
  // Every comma parts values.
  Match match_lists(const Side& gold, const Side& answer) {
    const Expr g = read(gold, false, false, nullptr);
    const Expr a = read(answer, false, false, nullptr);
    if (g == nullptr || a == nullptr) return Match::kUnread;
    return math::equal(a_, g, a, compare_) ? Match::kYes : Match::kNo;
  }

  Arena& a_;
  const MathOptions& options_;
  math::CompareOptions compare_;
};

Arena& thread_arena(int64_t steps = math::Limits{}.steps) {
  thread_local Arena arena;
  arena.reset(steps);
  return arena;
}

// What a reference says, of a bare answer or of a text around it.
Side read_reference(std::string_view reference, const MathOptions& options) {
  Side side;
  side.plain = !options.extraction.latex;
  if (side.plain) {
    side.text = trim(reference);
    return side;
  }
  const size_t dollar = reference.find('$');
  if (reference.size() > 200 && dollar != std::string_view::npos &&
      reference.find("\\boxed") == std::string_view::npos) {
    math::ExtractionOptions extraction;
    const std::vector<Candidate> found = math::extract(reference, extraction);
    if (!found.empty()) {
      side.text = undouble(found.front().text);
      return side;
    }
  }
  side.text = undouble(math::strip_reference(reference));
  if (const size_t open = side.text.find("\\boxed{"); open != std::string::npos) side.text = side.text.substr(open + 7);
  return side;
}

Verdict judge(const MathOptions& options, std::string_view reference, std::string_view response, bool ended,
              VerdictWork& work) {
  Verdict verdict;
  const std::vector<Candidate> candidates = math::extract(response, options.extraction, &work.scanned);
  if (candidates.empty()) {
    verdict.outcome = ended ? Outcome::kWrong : Outcome::kIncomplete;
    verdict.why = ended ? "no answer found" : "cut off before an answer";
    return verdict;
  }
  verdict.extracted = candidates.front().text.substr(0, 4096);
  verdict.outcome = Outcome::kWrong;
  if (trim(reference).empty()) {
    verdict.why = "the reference is empty";
    return verdict;
  }
  const auto right = [&](const char* why) {
    verdict.outcome = Outcome::kCorrect;
    verdict.why = why;
    return verdict;
  };
  if (options.extraction.strings) {
    std::string gold(trim(reference));
    std::string answer = candidates.front().text;
    for (std::string* s : {&gold, &answer}) {
      std::transform(s->begin(), s->end(), s->begin(), [](unsigned char c) { return std::tolower(c); });
    }
    if (gold == answer) return right("the same choice");
    verdict.why = "another choice";
    return verdict;
  }
  // Whole numbers, most answers, need no tree.
  std::string_view plain = trim(candidates.front().text);
  std::string_view gold_text = trim(reference);
  if (all_digits(plain) && all_digits(gold_text) && !options.tolerant) {
    while (plain.size() > 1 && plain[0] == '0') plain.remove_prefix(1);
    while (gold_text.size() > 1 && gold_text[0] == '0') gold_text.remove_prefix(1);
    if (plain == gold_text) return right("the same number");
    verdict.why = "another number";
    return verdict;
  }
  const Side gold = read_reference(reference, options);
  verdict.why = "not equal";
  bool large = false;
  for (const Candidate& candidate : candidates) {
    Side answer{undouble(candidate.text), candidate.plain};
    Match match = Match::kUnread;
    Arena& arena = thread_arena(math::Limits{}.steps - work.steps);
    try {
      Session session(arena, options);
      match = session.match(gold, answer);
    } catch (const math::Overrun&) {
      large = true;
    }
    work.steps = math::Limits{}.steps - arena.steps_left();
    if (match == Match::kYes) {
      verdict.extracted = candidate.text.substr(0, 4096);
      return right("equal");
    }
    if (match == Match::kNo) {
      verdict.extracted = candidate.text.substr(0, 4096);
      return verdict;
    }
    if (options.fallback && same_text(gold.text, answer.text)) return right("the same text");
    if (options.first_match_only) break;
  }
  verdict.why = large ? "too large to compare" : "not read as mathematics, and another text";
  return verdict;
}

}  // namespace

MathOptions with_marks(MathOptions options, const AnswerMarks& marks) {
  options.list = options.list || marks.list || marks.ordered;
  options.ordered = options.ordered || marks.ordered;
  if (marks.tolerance > 0) {
    options.tolerance = marks.tolerance;
    options.tolerant = true;
  }
  return options;
}

math::ExtractionOptions extraction_of(const std::vector<std::string>& names, const std::string& place) {
  math::ExtractionOptions out;
  out.boxed = out.phrases = out.latex = out.expressions = out.anywhere = false;
  if (names.empty()) bad_input("{}: no place for an answer is named: boxed, phrases, latex or numbers", place);
  for (const std::string& name : names) {
    if (name == "boxed") {
      out.boxed = true;
    } else if (name == "phrases") {
      out.phrases = true;
    } else if (name == "latex") {
      out.latex = out.anywhere = true;
    } else if (name == "numbers") {
      out.expressions = out.anywhere = true;
    } else {
      bad_input("{}: \"{}\" is unknown; known are boxed, phrases, latex and numbers", place, name);
    }
  }
  // What stands behind "answer is" may be either.
  if (out.phrases && !out.latex && !out.expressions) out.latex = out.expressions = true;
  return out;
}

Verdict MathVerifier::verify(std::string_view reference, std::string_view response, bool ended,
                             VerdictWork* work) const noexcept {
  VerdictWork spent;
  try {
    Verdict verdict = judge(options_, reference, response, ended, spent);
    if (work != nullptr) *work = spent;
    return verdict;
  } catch (...) {  // no memory left: no verdict may be lost for it
    Verdict verdict;
    verdict.outcome = Outcome::kWrong;
    return verdict;
  }
}

Verdict MathVerifier::verify(const Problem& problem, std::string_view response, bool ended) const noexcept {
  if (problem.marks == AnswerMarks{}) return verify(problem.answer, response, ended);
  try {
    return MathVerifier(with_marks(options_, problem.marks)).verify(problem.answer, response, ended);
  } catch (...) {
    Verdict verdict;
    verdict.outcome = Outcome::kWrong;
    return verdict;
  }
}

bool MathVerifier::reads(std::string_view reference) const noexcept {
  try {
    Arena& arena = thread_arena();
    return Session(arena, options_).read(read_reference(reference, options_), true, false, nullptr) != nullptr;
  } catch (...) {
    return false;
  }
}

std::string MathVerifier::explain(std::string_view reference, std::string_view response) const {
  const auto tree = [&](const Side& side) -> std::string {
    try {
      Arena& arena = thread_arena();
      const Expr x = Session(arena, options_).read(side, true, false, nullptr);
      return x == nullptr ? "not mathematics; compared as text" : math::to_text(x);
    } catch (const math::Overrun&) {
      return "too large to read";
    }
  };
  const Side gold = read_reference(reference, options_);
  std::string out = "reference  " + gold.text + "\n  read as  " + tree(gold) + "\n";
  const std::vector<Candidate> candidates = math::extract(response, options_.extraction);
  for (const Candidate& c : candidates) {
    out += "answer     " + c.text + "  (rank " + std::to_string(c.rank) + ")\n  read as  " +
           tree({undouble(c.text), c.plain}) + "\n";
  }
  const Verdict verdict = verify(reference, response);
  out += std::string("verdict    ") + to_string(verdict.outcome) + ": " + verdict.why + "\n";
  return out;
}

}  // namespace deepsearch
