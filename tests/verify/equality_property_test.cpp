// Random expressions: pairs that are equal by construction, and pairs that are not.
#include <string>

#include <gtest/gtest.h>

#include "verify/math_verifier.h"

namespace deepsearch {
namespace {

constexpr int kPairs = 10'000;

// A small generator of its own: the texts must not change with the program's.
class Source {
 public:
  explicit Source(uint64_t seed) : state_(seed * 2 + 1) {}
  int below(int n) {
    state_ = state_ * 6364136223846793005ULL + 1442695040888963407ULL;
    return static_cast<int>((state_ >> 33) % static_cast<uint64_t>(n));
  }
  int number() { return below(9) + 1; }

 private:
  uint64_t state_;
};

std::string text(int n) {
  return std::to_string(n);
}

template <class... Parts>
std::string cat(const Parts&... parts) {
  std::string out;
  (out.append(parts), ...);
  return out;
}

std::string signed_term(int c, const std::string& rest) {
  return std::string(c < 0 ? "-" : "+").append(text(c < 0 ? -c : c)).append(rest);
}

// (a x + b)(c x + d) and its expansion.
std::string factored(int a, int b, int c, int d) {
  return std::string("(")
      .append(text(a))
      .append("x")
      .append(signed_term(b, ""))
      .append(")(")
      .append(text(c))
      .append("x")
      .append(signed_term(d, ""))
      .append(")");
}
std::string expanded(int a, int b, int c, int d) {
  return text(a * c).append("x^2").append(signed_term(a * d + b * c, "x")).append(signed_term(b * d, ""));
}

bool same(const std::string& gold, const std::string& answer) {
  static const MathVerifier verifier;
  return verifier.verify(gold, std::string("\\boxed{").append(answer).append("}")).outcome == Outcome::kCorrect;
}

std::string function_of(Source& s, const std::string& inner) {
  static const char* const kNames[] = {"\\sin", "\\cos", "\\ln", "\\cosh", "\\sqrt"};
  const std::string name = kNames[s.below(5)];
  const bool root = name == "\\sqrt";
  return std::string(name).append(root ? "{" : "(").append(inner).append(root ? "}" : ")");
}

// Two texts of one value: expanded, factored, reordered, rewritten.
void equal_pair(Source& s, std::string& one, std::string& two) {
  const int a = s.number();
  const int b = s.number();
  const int c = s.number();
  const int d = s.number();
  switch (s.below(6)) {
    case 0:
      one = factored(a, b, c, -d);
      two = expanded(a, b, c, -d);
      break;
    case 1:  // a fraction over a common denominator
      one = cat("\\frac{", text(a), "}{x+", text(b), "}+\\frac{", text(c), "}{x+", text(d), "}");
      two = cat("\\frac{", text(a + c), "x+", text(a * d + b * c), "}{(x+", text(b), ")(x+", text(d), ")}");
      break;
    case 2:  // a squared surd
      one = cat("(", text(a), "+", text(b), "\\sqrt{", text(c), "})^2");
      two = cat(text(2 * a * b), "\\sqrt{", text(c), "}+", text(a * a + b * b * c));
      break;
    case 3: {  // a sum the other way round
      const std::string f = function_of(s, text(a) + "+y^2");
      const std::string g = function_of(s, text(b) + "+z^2");
      one = cat(f, "+", text(c), g);
      two = cat(text(c), " \\cdot ", g, " + ", f);
      break;
    }
    case 4:  // an angle sum
      one = cat("\\sin(", text(a), "x+", text(b), "y)");
      two = cat("\\sin(", text(a), "x)\\cos(", text(b), "y)+\\cos(", text(a), "x)\\sin(", text(b), "y)");
      break;
    default:  // powers and logarithms
      one = cat("\\ln(", text(a * b), ")+", text(c), "e^{", text(d), "t}");
      two = cat(text(c), "(e^{t})^{", text(d), "}+\\ln ", text(a), "+\\ln ", text(b));
      break;
  }
}

TEST(EqualityProperty, PairsThatAreEqualByConstruction) {
  Source source(11);
  int wrong = 0;
  for (int n = 0; n < kPairs; ++n) {
    std::string one;
    std::string two;
    equal_pair(source, one, two);
    if (!same(one, two) && ++wrong < 20) ADD_FAILURE() << one << "   is not called equal to   " << two;
  }
  EXPECT_EQ(wrong, 0);
}

// The second is the first of an equal pair with one coefficient changed, or with a tiny constant more.
TEST(EqualityProperty, PairsThatDiffer) {
  Source source(12);
  int wrong = 0;
  for (int n = 0; n < kPairs; ++n) {
    std::string one;
    std::string two;
    equal_pair(source, one, two);
    switch (source.below(3)) {
      case 0:
        two.append(cat("+10^{-", text(source.number() * 7), "}"));
        break;
      case 1:
        two += signed_term(source.below(2) == 0 ? 1 : -1, "");
        break;
      default:
        two = cat("(", two, ")(1+\\frac{1}{10^{", text(source.number() * 5), "}})");
        break;
    }
    if (same(one, two) && ++wrong < 20) ADD_FAILURE() << one << "   is called equal to   " << two;
  }
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace deepsearch
