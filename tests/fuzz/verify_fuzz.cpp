// libFuzzer target over the mathematical verifier: extraction, reading and comparison of any bytes end with a verdict.
// The first line of an input is the reference, the rest the response.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "fuzz/seeds.h"
#include "verify/math_verifier.h"

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  deepsearch::fuzz::write_seeds_if_asked(
      *argc, *argv,
      {"\\frac{1}{2}\nSo $\\boxed{0.5}$.", "(1,2]\n\\boxed{\\left(1,2\\right]}", "x=5\nThe answer is $x = 5$.",
       "\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}\n$$\\boxed{\\begin{bmatrix}1&2\\\\3&4\\end{bmatrix}}$$",
       "1\\pm\\sqrt{2}\n\\boxed{1+\\sqrt2} and \\boxed{1-\\sqrt2}", "7,425,000\n#### 7 425 000",
       "x>3\n<think>a</think> \\boxed{(3,\\infty)}", "\\sum_{k=1}^{10} k^2\n\\boxed{385}", "28\\%\n28 percent",
       "\\log_2 8+\\binom{5}{2}+5!\n\\boxed{3+10+120}", "12_5\n\\boxed{12_{5}}", "3:4\n\\boxed{3:4}",
       "(-\\infty,0)\\cup(0,\\infty)\n\\boxed{\\mathbb{R}\\setminus\\{0\\}}", "\\text{yes}\n\\boxed{Yes}",
       "2^{2^{2^{10}}}\n\\boxed{\\sqrt[3]{-8}+e^{i\\pi}}", "|x|+\\lfloor 3.7\\rfloor\n\\boxed{|-3|-1.\\overline{3}}"});
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t line = input.find('\n');
  const std::string_view gold = input.substr(0, line);
  const std::string_view response = line == std::string_view::npos ? std::string_view{} : input.substr(line + 1);
  static const deepsearch::MathVerifier verifier;
  const deepsearch::Verdict verdict = verifier.verify(gold, response);
  if (verdict.outcome != deepsearch::Outcome::kCorrect && verdict.outcome != deepsearch::Outcome::kWrong) std::abort();
  return 0;
}
