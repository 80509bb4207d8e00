// An embedded task: a verifiable, multi-step problem family made on the fly. A new one is one file in data/tasks/ and
// one line in its registry (data/tasks/registry.cpp); docs/tasks.md says how.
//
// Everything is a pure function of (knobs, seed, split, index), so any rank makes any problem without being sent it.
// Const methods may be called from any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/config_visitor.h"
#include "data/language.h"
#include "data/problem.h"
#include "data/verdict.h"

namespace deepsearch {

// Held-out problems are disjoint from training ones by hash: a problem is held out iff problem.key % 8 == 0, and
// demonstrations are made from training problems only.
enum class Split : uint8_t { kTrain = 0, kTest = 1 };
Split split_of(uint64_t problem_key);

// [task].name of problems in text: they come from files, and no Task is behind them (run/domain.h).
inline constexpr const char* kTextTask = "text";

struct TaskParams {
  std::string name = "bag";         // or kTextTask
  std::vector<int64_t> sizes = {};  // k; a problem's size is drawn uniformly from the list; {}: the task's default
  int64_t max_number = 0;           // largest number in a prompt; 0: the task's default (bag 9, countdown 12)
  double rare = 1.0;       // countdown: demonstrations keep a drawn × or ÷ with this probability, else take + or −
  double confusion = 0.8;  // chain: upper end of U(0, ·) for the probability of a fact's fixed wrong value
  int64_t seed = 1;

  bool text() const { return name == kTextTask; }
  void describe(ConfigVisitor& v);
};

struct Example {
  Problem problem;
  std::vector<Token> solution;  // ends with the end-of-sequence token
};

class Task : public Language {
 public:
  // The knobs with the task's defaults filled in.
  virtual const TaskParams& params() const = 0;
  // Token strings by id; one token a word. Ids are stable across versions: saved models depend on them.
  virtual const std::vector<std::string>& vocabulary() const = 0;
  // Natural step length and depth for the largest size of the knobs, for [search] keys left at 0.
  virtual int64_t step_tokens() const = 0;
  virtual int64_t max_depth() const = 0;

  // The index-th problem of a split; its id is "train-17" or "test-17". Two indices may hold the same problem.
  // Errors: a space of problems so small that the split has none (bad_input).
  virtual Problem problem(Split split, uint64_t index) const = 0;
  // The index-th demonstration (training split).
  virtual Example demonstration(uint64_t index) const = 0;

  // See verify/verifier.h for the contract. Both read the problem's prompt_tokens, not its answer.
  virtual Verdict verify(const Problem& problem, TokenSpan response, bool ended) const = 0;
  virtual StepState check_step(const Problem& problem, TokenSpan response) const;

  // Words separated by blanks, and back. encode throws bad_input on an unknown word; decode shows an id outside the
  // vocabulary as "<id?>".
  std::vector<Token> encode(const std::string& text) const override;
  std::string decode(TokenSpan tokens) const override;

  std::string language_name() const override { return "task " + params().name; }
  int64_t vocabulary_size() const override { return static_cast<int64_t>(vocabulary().size()); }
  std::vector<std::string> token_bytes() const override { return vocabulary(); }
  void save(const std::filesystem::path& folder) const override;
};

// Unknown name or knobs out of the task's range: bad_input that lists the tasks or the range; so is kTextTask.
std::unique_ptr<Task> make_task(const TaskParams& params);
std::vector<std::string> task_names();

// A Hugging Face tokenizer.json (WordLevel model, whitespace pre-tokeniser) that `tokenizers` loads and that encodes
// and decodes exactly as Task does. (Its decode leaves the pad token out unless told skip_special_tokens=False.)
std::string tokenizer_json(const Task& task);
// The tokenizer_config.json beside it: `transformers` reads the pad and end-of-sequence words there, and must be kept
// from closing up the blank before a full stop.
std::string tokenizer_config_json(const Task& task);

}  // namespace deepsearch
