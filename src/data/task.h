// An embedded task: a verifiable, multi-step problem family made on the fly. A new one is one file in data/tasks/ and
// one line in its registry (data/tasks/registry.cpp).
//
// Everything is a pure function of (knobs, seed, split, index), so any rank makes any problem without being sent it.
// Const methods may be called from any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/config_visitor.h"
#include "data/problem.h"
#include "data/verdict.h"

namespace deepsearch {

// Held-out problems are disjoint from training ones by hash: a problem is held out iff problem.key % 8 == 0, and
// demonstrations are made from training problems only.
enum class Split : uint8_t { kTrain = 0, kTest = 1 };
Split split_of(uint64_t problem_key);

struct TaskParams {
  std::string name = "bag";
  std::vector<int64_t> sizes = {8};  // k; a problem's size is drawn uniformly from the list
  int64_t max_number = 9;            // largest number in a prompt (bag: 9; countdown: maxn 12 or 20)
  double rare = 1.0;                 // countdown: demonstrations take × and ÷ with this probability (1: as often as legal)
  double confusion = 0.8;            // chain: upper end of U(0, ·) for the probability of a fact's fixed wrong value
  int64_t seed = 1;

  void describe(ConfigVisitor& v);
};

struct Example {
  Problem problem;
  std::vector<Token> solution;  // ends with the end-of-sequence token
};

class Task {
 public:
  virtual ~Task() = default;

  virtual const TaskParams& params() const = 0;
  // Token strings by id; one token a word. Ids are stable across versions: saved models depend on them.
  virtual const std::vector<std::string>& vocabulary() const = 0;
  virtual Token pad_token() const = 0;
  virtual std::vector<Token> eos_tokens() const = 0;
  // Natural step length and depth for the largest size of the knobs, for [search] keys left at 0.
  virtual int64_t step_tokens() const = 0;
  virtual int64_t max_depth() const = 0;
  virtual int64_t max_prompt_tokens() const = 0;

  // The index-th problem of a split.
  virtual Problem problem(Split split, uint64_t index) const = 0;
  // The index-th demonstration (training split).
  virtual Example demonstration(uint64_t index) const = 0;

  // See verify/verifier.h for the contract.
  virtual Verdict verify(const Problem& problem, TokenSpan response, bool ended) const = 0;
  virtual StepState check_step(const Problem& problem, TokenSpan response) const;

  // Words separated by blanks, and back. encode throws bad_input on an unknown word.
  std::vector<Token> encode(const std::string& text) const;
  std::string decode(TokenSpan tokens) const;
};

// Unknown name or knobs out of the task's range: bad_input that lists the tasks or the range.
std::unique_ptr<Task> make_task(const TaskParams& params);
std::vector<std::string> task_names();

// A Hugging Face tokenizer.json (WordLevel model, whitespace pre-tokeniser) that `tokenizers` loads and that encodes and
// decodes exactly as Task does.
std::string tokenizer_json(const Task& task);

}  // namespace deepsearch
