#include "data/problem_file.h"

#include <array>
#include <cmath>
#include <unordered_map>
#include <utility>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"

namespace deepsearch {

namespace {

using Json = nlohmann::ordered_json;

enum Field : int {
  kId,
  kSource,
  kProblem,
  kAnswer,
  kLevel,
  kSubject,
  kPassRate,
  kRound,
  kList,
  kOrdered,
  kTolerance,
  kFields,
  kOther = kFields
};
constexpr std::array<const char*, kFields> kKeys = {"id",        "source", "problem", "answer",  "level",    "subject",
                                                    "pass_rate", "round",  "list",    "ordered", "tolerance"};
constexpr int kRequired = 4;  // the first ones

bool is_blank(std::string_view text) {
  return text.find_first_not_of(" \t\r\n\v\f") == std::string_view::npos;
}

// Builds one row from the events of the JSON parser, without a tree of values in between: a line is as deep or as wide
// as it likes, and only the keys that are known cost memory.
class RowReader : public nlohmann::json_sax<Json> {
 public:
  ProblemRow take() {
    for (int field = 0; field < kRequired; ++field) {
      if (!seen_[static_cast<size_t>(field)]) {
        bad_input("key \"{}\" is missing; id, source, problem and answer are needed",
                  kKeys[static_cast<size_t>(field)]);
      }
    }
    row_.problem.key = problem_key(row_.problem.source, row_.problem.prompt);
    return std::move(row_);
  }

  bool null() override { return refuse("null"); }
  bool boolean(bool value) override {
    if (depth_ == 1 && (field_ == kList || field_ == kOrdered)) {
      (field_ == kList ? row_.problem.marks.list : row_.problem.marks.ordered) = value;
      return true;
    }
    return refuse("true or false");
  }
  bool binary(binary_t&) override { return refuse("binary"); }
  bool number_integer(number_integer_t value) override { return number(static_cast<double>(value)); }
  bool number_unsigned(number_unsigned_t value) override { return number(static_cast<double>(value)); }
  bool number_float(number_float_t value, const string_t&) override { return number(value); }

  bool string(string_t& value) override {
    if (!at_top()) return true;
    switch (field_) {
      case kId:
        return text(value, row_.problem.id);
      case kSource:
        return text(value, row_.problem.source);
      case kProblem:
        return text(value, row_.problem.prompt);
      case kAnswer:
        return text(value, row_.problem.answer);
      case kSubject:
        return text(value, row_.subject);
      case kOther:
        return true;
      default:
        return refuse("a string");
    }
  }

  bool start_object(std::size_t) override {
    if (depth_ > 0) refuse("an object");
    ++depth_;
    return true;
  }
  bool start_array(std::size_t) override {
    refuse("an array");
    ++depth_;
    return true;
  }
  bool end_object() override { return leave(); }
  bool end_array() override { return leave(); }

  bool key(string_t& name) override {
    if (depth_ != 1) return true;
    field_ = kOther;
    for (int field = 0; field < kFields; ++field) {
      if (name == kKeys[static_cast<size_t>(field)]) field_ = static_cast<Field>(field);
    }
    if (field_ == kOther) return true;
    if (std::exchange(seen_[static_cast<size_t>(field_)], true)) bad_input("key \"{}\" comes twice", name);
    return true;
  }

  bool parse_error(std::size_t byte, const std::string&, const nlohmann::detail::exception& error) override {
    // "[json.exception.parse_error.101] parse error at line 1, column 9: what; last read: 'the whole token'"
    std::string_view what = error.what();
    if (const size_t start = what.find(": "); start != std::string_view::npos) what.remove_prefix(start + 2);
    what = what.substr(0, what.find("; last read"));
    bad_input("byte {}: {}; a line is one JSON object in UTF-8", byte, what.substr(0, 200));
  }

 private:
  bool at_top() const {
    if (depth_ == 0) bad_input("a line is one JSON object in braces");
    return depth_ == 1;
  }
  bool leave() {
    --depth_;
    return true;
  }

  bool refuse(const char* found) const {
    if (!at_top() || field_ == kOther) return true;
    const bool number = field_ == kLevel || field_ == kPassRate || field_ == kRound || field_ == kTolerance;
    const bool mark = field_ == kList || field_ == kOrdered;
    bad_input("key \"{}\" is {}; it must be {}{}", kKeys[static_cast<size_t>(field_)], found,
              mark     ? "true or false"
              : number ? "a number"
                       : "a string",
              field_ < kRequired ? "" : ", or left out");
  }

  bool text(std::string& value, std::string& into) const {
    if (is_blank(value)) {
      bad_input("key \"{}\" is empty{}", kKeys[static_cast<size_t>(field_)],
                field_ < kRequired ? "" : "; leave it out where it is unknown");
    }
    if (field_ == kId || field_ == kSource) check_name(value);
    into = std::move(value);
    return true;
  }

  // Names end up in messages and file names.
  void check_name(std::string_view value) const {
    if (value.size() > kMaxProblemNameBytes) {
      bad_input("key \"{}\" is {} bytes long; at most {} are taken", kKeys[static_cast<size_t>(field_)], value.size(),
                kMaxProblemNameBytes);
    }
    for (const char c : value) {
      if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
        bad_input("key \"{}\" holds a control character; it must be a name on one line",
                  kKeys[static_cast<size_t>(field_)]);
      }
    }
  }

  bool number(double value) {
    if (!at_top()) return true;
    switch (field_) {
      case kLevel:
        row_.level = value;
        return true;
      case kPassRate:
        if (value < 0 || value > 1) bad_input("key \"pass_rate\" is {}; it must lie between 0 and 1", value);
        row_.pass_rate = value;
        return true;
      case kRound:
        if (value < 0 || value > 1e9 || value != std::floor(value)) {
          bad_input("key \"round\" is {}; it must be a whole number from 0", value);
        }
        row_.round = static_cast<int64_t>(value);
        return true;
      case kTolerance:
        if (!(value > 0 && value <= kMaxTolerance)) {
          bad_input("key \"tolerance\" is {}; it must lie above 0 and not above {}, or be left out", value,
                    kMaxTolerance);
        }
        row_.problem.marks.tolerance = value;
        return true;
      default:
        return refuse("a number");
    }
  }

  ProblemRow row_;
  std::array<bool, kFields> seen_{};
  Field field_ = kOther;
  int64_t depth_ = 0;
};

ProblemRow parse_row(std::string_view line) {
  if (line.size() > kMaxProblemLineBytes) {
    bad_input("the line is {} bytes long; at most {} are read", line.size(), kMaxProblemLineBytes);
  }
  if (line.starts_with("\xEF\xBB\xBF")) bad_input("starts with a byte order mark; save the file as UTF-8 without one");
  if (is_blank(line)) bad_input("blank line; every line is one JSON object");
  RowReader reader;
  Json::sax_parse(line.begin(), line.end(), &reader);
  return reader.take();
}

}  // namespace

std::vector<ProblemRow> parse_problem_file(std::string_view text, const std::string& name) {
  std::vector<ProblemRow> rows;
  std::unordered_map<std::string, int64_t> lines_by_id;
  for (int64_t number = 1; !text.empty(); ++number) {
    const size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    try {
      rows.push_back(parse_row(line));
      const auto [other, is_new] = lines_by_id.emplace(rows.back().problem.id, number);
      if (!is_new)
        bad_input("id \"{}\" is already that of line {}; ids are unique in a file", other->first, other->second);
    } catch (const Error& error) {
      throw error.within(fmt::format("{}:{}", name, number));
    }
  }
  if (rows.empty()) bad_input("{}: holds no problems", name);
  return rows;
}

std::vector<ProblemRow> read_problem_file(const std::filesystem::path& path) {
  return parse_problem_file(read_file(path, kMaxProblemFileBytes), path.string());
}

std::string format_problem(const ProblemRow& row) {
  Json json = {{kKeys[kId], row.problem.id},
               {kKeys[kSource], row.problem.source},
               {kKeys[kProblem], row.problem.prompt},
               {kKeys[kAnswer], row.problem.answer}};
  // Whole levels are written as integers, as math500 has them.
  if (row.level && *row.level == std::floor(*row.level) && std::abs(*row.level) < 1e9) {
    json[kKeys[kLevel]] = static_cast<int64_t>(*row.level);
  } else if (row.level) {
    json[kKeys[kLevel]] = *row.level;
  }
  if (!row.subject.empty()) json[kKeys[kSubject]] = row.subject;
  if (row.pass_rate) json[kKeys[kPassRate]] = *row.pass_rate;
  if (row.round) json[kKeys[kRound]] = *row.round;
  const AnswerMarks& marks = row.problem.marks;
  if (marks.list) json[kKeys[kList]] = true;
  if (marks.ordered) json[kKeys[kOrdered]] = true;
  if (marks.tolerance > 0) json[kKeys[kTolerance]] = marks.tolerance;
  try {
    return json.dump();
  } catch (const nlohmann::json::exception&) {
    bad_input("problem \"{}\": a text of it is not valid UTF-8", row.problem.id);
  }
}

void write_problem_file(const std::filesystem::path& path, std::span<const ProblemRow> rows) {
  std::string text;
  for (const ProblemRow& row : rows) {
    text += format_problem(row);
    text += '\n';
  }
  (void)parse_problem_file(text, path.string());  // what we write can be read: the reader is the judge of that
  write_file_atomically(path, text);
}

}  // namespace deepsearch
