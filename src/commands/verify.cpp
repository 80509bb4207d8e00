#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <thread>
#include <unordered_map>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "commands/commands.h"
#include "core/error.h"
#include "data/json_lines.h"
#include "data/problem_file.h"
#include "verify/case_file.h"
#include "verify/math_verifier.h"

namespace deepsearch {

namespace {

struct Options {
  std::filesystem::path problems;
  std::filesystem::path responses;
  std::filesystem::path cases;
  std::filesystem::path out = "-";
  std::vector<std::string> explain;
  std::vector<std::string> extract = {"boxed", "phrases", "latex", "numbers"};
  double tolerance = 0;
  bool ordered = false;
  int threads = 0;
};

struct Judged {
  Verdict verdict;
  double seconds = 0;
};

// judge(i) for each i below n, on all threads.
std::vector<Judged> judge_all(size_t n, int threads, const std::function<Verdict(size_t)>& judge) {
  std::vector<Judged> out(n);
  std::atomic<size_t> next{0};
  const auto work = [&] {
    for (size_t i = next++; i < n; i = next++) {
      const auto start = std::chrono::steady_clock::now();
      out[i].verdict = judge(i);
      out[i].seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    }
  };
  const unsigned wanted = threads > 0 ? static_cast<unsigned>(threads) : std::thread::hardware_concurrency();
  std::vector<std::jthread> pool;
  for (unsigned t = 1; t < std::min<size_t>(std::max(1U, wanted), n); ++t) pool.emplace_back(work);
  work();
  return out;
}

// Bytes that are no text would make no JSON.
std::string utf8(const std::string& text) {
  return nlohmann::json::parse(nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace))
      .get<std::string>();
}

MathOptions math_options(const Options& options) {
  MathOptions out;
  out.extraction = extraction_of(options.extract, "--extract");
  out.tolerance = options.tolerance;
  out.ordered = options.ordered;
  return out;
}

int run_cases(const Options& options) {
  JsonLinesReader in(options.cases);
  std::vector<VerifierCase> cases;
  for (nlohmann::json line; in.next(line);) cases.push_back(read_case(line, in.place()));
  const std::vector<Judged> judged = judge_all(cases.size(), options.threads, [&](size_t i) {
    return MathVerifier(cases[i].options).verify(cases[i].gold, cases[i].response);
  });
  JsonLinesWriter out(options.out);
  size_t expected = 0;
  size_t right = 0;
  double slowest = 0;
  for (size_t i = 0; i < cases.size(); ++i) {
    const bool correct = judged[i].verdict.outcome == Outcome::kCorrect;
    out.write({{"id", cases[i].id},
               {"verdict", correct},
               {"extracted", utf8(judged[i].verdict.extracted)},
               {"seconds", judged[i].seconds}});
    if (cases[i].expected >= 0) ++expected;
    if (cases[i].expected == (correct ? 1 : 0)) ++right;
    slowest = std::max(slowest, judged[i].seconds);
  }
  out.finish();
  fmt::print(stderr, "{} cases, {} of {} as expected, slowest {:.2f} ms\n", cases.size(), right, expected,
             slowest * 1e3);
  return kExitOk;
}

// The text of a response line: "response", "text" or "completion".
std::string response_text(const nlohmann::json& line, const std::string& place) {
  for (const char* key : {"response", "text", "completion"}) {
    if (line.contains(key)) return json_text(line, key, place);
  }
  bad_input("{}: needs \"response\", the model's text", place);
}

int run_responses(const Options& options) {
  const MathVerifier verifier(math_options(options));
  std::unordered_map<std::string, Problem> problems;
  for (ProblemRow& row : read_problem_file(options.problems)) problems[row.problem.id] = std::move(row.problem);
  struct Line {
    std::string id;
    std::string text;
    bool ended;
  };
  std::vector<Line> lines;
  JsonLinesReader in(options.responses);
  for (nlohmann::json line; in.next(line);) {
    const std::string id = json_text(line, "id", in.place());
    if (!problems.contains(id)) bad_input("{}: problem \"{}\" is not in {}", in.place(), id, options.problems.string());
    const auto ended = line.find("ended");
    if (ended != line.end() && !ended->is_boolean()) bad_input("{}: \"ended\" must be true or false", in.place());
    lines.push_back({id, response_text(line, in.place()), ended == line.end() || ended->get<bool>()});
  }
  const std::vector<Judged> judged = judge_all(lines.size(), options.threads, [&](size_t i) {
    return verifier.verify(problems.at(lines[i].id), lines[i].text, lines[i].ended);
  });
  JsonLinesWriter out(options.out);
  std::map<std::string, size_t> counts;
  for (size_t i = 0; i < lines.size(); ++i) {
    const Verdict& v = judged[i].verdict;
    out.write(
        {{"id", lines[i].id}, {"verdict", to_string(v.outcome)}, {"extracted", utf8(v.extracted)}, {"why", v.why}});
    ++counts[to_string(v.outcome)];
  }
  out.finish();
  fmt::print(stderr, "{} responses: {} correct, {} wrong, {} incomplete\n", lines.size(), counts["correct"],
             counts["wrong"], counts["incomplete"]);
  return kExitOk;
}

int run_verify(const Options& options) {
  const int forms = (options.explain.empty() ? 0 : 1) + (options.cases.empty() ? 0 : 1) +
                    (options.problems.empty() && options.responses.empty() ? 0 : 1);
  if (forms != 1 || options.problems.empty() != options.responses.empty()) {
    bad_input("verify: give --problems with --responses, or --cases, or --explain GOLD ANSWER");
  }
  if (!options.cases.empty()) return run_cases(options);
  if (!options.problems.empty()) return run_responses(options);
  MathOptions math = math_options(options);
  std::string answer = options.explain[1];
  if (answer.find("\\boxed") == std::string::npos && answer.find(' ') == std::string::npos) {
    answer = "\\boxed{" + answer + "}";  // an answer alone, not a response
  }
  fmt::print("{}", MathVerifier(math).explain(options.explain[0], answer));
  return kExitOk;
}

}  // namespace

void add_verify(CLI::App& app, CommandLine& line) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("verify", "Judge answers to mathematical problems");
  command->add_option("--problems", options->problems, "Problem file with the reference answers");
  command->add_option("--responses", options->responses,
                      "JSONL, a line {\"id\": problem, \"response\": text, \"ended\": true}; \"-\": stdin");
  command->add_option("--cases", options->cases, "JSONL of cases with gold, pred and config");
  command->add_option("--explain", options->explain, "Reference and answer: how both are read, and the decision")
      ->expected(2);
  command->add_option("--out", options->out, "JSONL, a line an answer; \"-\": stdout (default)");
  command
      ->add_option("--extract", options->extract,
                   "Where an answer may stand: boxed, phrases (\"answer is\"), latex (any maths), numbers (any)")
      ->delimiter(',');
  command->add_option("--tolerance", options->tolerance, "Relative, where a reference is a decimal; 0: none")
      ->check(CLI::Range(0.0, kMaxTolerance));
  command->add_flag("--ordered", options->ordered, "Lists of values have an order");
  command->add_option("--threads", options->threads, "0: all cores")->check(CLI::Range(0, 1024));
  command->callback([options, &line] { line.chosen = [options] { return run_verify(*options); }; });
}

}  // namespace deepsearch
