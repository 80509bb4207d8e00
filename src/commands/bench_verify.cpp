// deepsearch bench verify: cases a second on one core, beside Math-Verify in the same run.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "commands/commands.h"
#include "core/error.h"
#include "data/json_lines.h"
#include "verify/case_file.h"

namespace deepsearch {

namespace {

struct Options {
  std::vector<std::filesystem::path> cases;
  std::string python;
  int repeat = 20;
};

// Reads the same file with the package's own interface; a line of seconds a case.
constexpr const char* kPeer = R"PY(
import json, sys, time
from math_verify import parse, verify, LatexExtractionConfig, ExprExtractionConfig, StringExtractionConfig
for path in sys.argv[1:]:
    for line in open(path, encoding="utf-8"):
        case = json.loads(line)
        if "gold" not in case or "pred" not in case:
            continue
        options = case.get("config") or {}
        kinds = {"latex": LatexExtractionConfig(boxed_match_priority=options.get("boxed_priority", 50)),
                 "expr": ExprExtractionConfig(), "string": StringExtractionConfig()}
        configs = [kinds[name] for name in options.get("extract", ["latex", "expr"])]
        start = time.perf_counter()
        try:
            gold = parse(case["gold"], configs)
            verify(gold, parse(case["pred"], configs), float_rounding=options.get("float_rounding", 6))
        except Exception:
            pass
        print(time.perf_counter() - start, flush=True)
)PY";

struct Times {
  std::vector<double> seconds;
  double total() const {
    double sum = 0;
    for (const double s : seconds) sum += s;
    return sum;
  }
  double quantile(double q) const {
    return seconds[std::min(seconds.size() - 1, static_cast<size_t>(q * static_cast<double>(seconds.size())))];
  }
  void print(const char* name) {
    std::sort(seconds.begin(), seconds.end());
    fmt::print("{:<12} {:>6} cases  {:>12.0f} cases/s  p50 {:>10.1f} us  p99 {:>10.1f} us\n", name, seconds.size(),
               static_cast<double>(seconds.size()) / total(), quantile(0.5) * 1e6, quantile(0.99) * 1e6);
  }
};

std::string quoted(const std::string& text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out.append("'");
}

Times ours(const Options& options) {
  std::vector<VerifierCase> cases;
  for (const std::filesystem::path& path : options.cases) {
    JsonLinesReader in(path);
    for (nlohmann::json line; in.next(line);) {
      if (line.contains("gold") && line.contains("pred")) cases.push_back(read_case(line, in.place()));
    }
  }
  if (cases.empty()) bad_input("bench verify: the files hold no case with \"gold\" and \"pred\"");
  Times times;
  for (const VerifierCase& one : cases) {
    const MathVerifier verifier(one.options);
    (void)verifier.verify(one.gold, one.response);
    const auto start = std::chrono::steady_clock::now();
    for (int k = 0; k < options.repeat; ++k) (void)verifier.verify(one.gold, one.response);
    times.seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() /
                            options.repeat);
  }
  return times;
}

Times peer(const Options& options) {
  std::string command = quoted(options.python) + " -c " + quoted(kPeer);
  for (const std::filesystem::path& path : options.cases) command += " " + quoted(path.string());
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> pipe(::popen(command.c_str(), "r"), ::pclose);
  if (!pipe) failure("bench verify: cannot start {}", options.python);
  Times times;
  std::array<char, 128> text{};
  while (std::fgets(text.data(), text.size(), pipe.get()) != nullptr) times.seconds.push_back(std::atof(text.data()));
  if (times.seconds.empty())
    bad_input("bench verify: {} ran no case; it needs the package math-verify", options.python);
  return times;
}

int bench_verify_command(const Options& options) {
  Times mine = ours(options);
  mine.print("deepsearch");
  if (options.python.empty()) return kExitOk;
  Times theirs = peer(options);
  theirs.print("math-verify");
  const double mean = mine.total() / static_cast<double>(mine.seconds.size());
  fmt::print("{:.0f} times as many cases a second\n",
             theirs.total() / static_cast<double>(theirs.seconds.size()) / mean);
  return kExitOk;
}

}  // namespace

void add_verify_bench(CLI::App& bench, CommandLine& line) {
  auto options = std::make_shared<Options>();
  CLI::App* command = bench.add_subcommand("verify", "Judged cases a second on one core, beside Math-Verify");
  command->add_option("--cases", options->cases, "Case files (JSONL)")->required()->check(CLI::ExistingFile);
  command->add_option("--python", options->python, "Python with the package math-verify; without it, only ours");
  command->add_option("--repeat", options->repeat, "Times each case is judged")->check(CLI::Range(1, 100000));
  command->callback([options, &line] { line.chosen = [options] { return bench_verify_command(*options); }; });
}

}  // namespace deepsearch
