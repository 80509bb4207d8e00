// The rows of /evaluation, as store/rows.h has those of other tables. Internal to store/.
#pragma once

#include <string>
#include <tuple>
#include <vector>

#include "store/evaluation.h"
#include "store/rows.h"

namespace deepsearch {

inline std::vector<std::string> choices_of(EvaluationTables::Measure) {
  return {"pass", "majority"};
}

struct BenchmarkLine {
  FixedText<32> name{};
  FixedText<256> file{};
  int64_t problems = 0, samples = 0;
  double response_tokens = 0, truncated = 0, unanswered = 0;

  static constexpr auto fields() {
    using R = BenchmarkLine;
    return std::make_tuple(
        Field{"name", &R::name, "", "benchmark; the last of several is their plain mean"},
        Field{"file", &R::file, "", "its problems' file, at most 256 bytes; empty: made by the task"},
        Field{"problems", &R::problems, "problems", "answered"},
        Field{"samples", &R::samples, "responses", "per problem"},
        Field{"response_tokens", &R::response_tokens, "tokens", "mean length of a response"},
        Field{"truncated", &R::truncated, "fraction", "of responses, cut off at the longest length"},
        Field{"unanswered", &R::unanswered, "fraction", "of responses, no answer could be read"});
  }
};

struct ScoreLine {
  int64_t benchmark = 0;
  EvaluationTables::Measure measure = EvaluationTables::Measure::kPass;
  int64_t k = 1;
  double value = 0, low = 0, high = 0;

  static constexpr auto fields() {
    using R = ScoreLine;
    return std::make_tuple(
        Field{"benchmark", &R::benchmark, "row of /evaluation/benchmarks", "the benchmark, or their mean"},
        Field{"measure", &R::measure, "", "Pass@k (unbiased) or majority@k"}, Field{"k", &R::k, "responses", "k"},
        Field{"value", &R::value, "fraction", "mean over problems"},
        Field{"low", &R::low, "fraction", "lower end of the bootstrap interval over problems"},
        Field{"high", &R::high, "fraction", "upper end"});
  }
};

struct EvaluatedProblemLine {
  int64_t benchmark = 0, index = 0;
  uint64_t key = 0;
  FixedText<64> id{};
  int64_t samples = 0, correct = 0;
  bool majority = false;

  static constexpr auto fields() {
    using R = EvaluatedProblemLine;
    return std::make_tuple(Field{"benchmark", &R::benchmark, "row of /evaluation/benchmarks", "whose problem it is"},
                           Field{"index", &R::index, "", "place in the benchmark; problem_index of /trees"},
                           Field{"key", &R::key, "", "problem_key of /trees, key of /problems"},
                           Field{"id", &R::id, "", "at most 64 bytes of it"},
                           Field{"samples", &R::samples, "responses", "made"},
                           Field{"correct", &R::correct, "responses", "of these, correct"},
                           Field{"majority", &R::majority, "", "the answer of most of them is correct"});
  }
};

struct SampleLine {
  int64_t problem = 0, sample = 0;
  Outcome outcome = Outcome::kNone;
  int32_t answer = -1;
  int64_t tokens = 0;
  bool truncated = false;
  FixedText<128> extracted{};

  static constexpr auto fields() {
    using R = SampleLine;
    return std::make_tuple(
        Field{"problem", &R::problem, "row of /evaluation/problems", "what was asked"},
        Field{"sample", &R::sample, "", "number; the row of /recorded within its tree"},
        Field{"outcome", &R::outcome, "", "the verifier's word"},
        Field{"answer", &R::answer, "", "which answer: 0 the right one, 1, 2, … others by first mention, -1 none"},
        Field{"tokens", &R::tokens, "tokens", "of the response, its end-of-sequence token included"},
        Field{"truncated", &R::truncated, "", "cut off at the longest length"},
        Field{"extracted", &R::extracted, "", "the answer as it was read, at most 128 bytes of it"});
  }
};

}  // namespace deepsearch
