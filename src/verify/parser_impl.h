// The parser's state and its productions (parser.h is the interface): recursive descent over the tokens of one answer.
// Grammar levels, outermost first: items (separated values), relation, set_expression, sum, term, postfix, primary.
//
// A production that does not apply throws NotMath, which parse() catches; past the arena's limits builders throw
// Overrun.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "verify/lexer.h"
#include "verify/parser.h"

namespace deepsearch::math {

struct NotMath {};

inline constexpr int kMaxDepth = 160;
inline constexpr std::string_view kPlusMinusName = "\\pm";

class Parser {
 public:
  Parser(Arena& arena, std::vector<Token>& tokens, const ParseOptions& options)
      : a_(arena), tokens_(tokens), options_(options) {}

  Expr run();

 private:
  struct Deeper {
    explicit Deeper(Parser& p) : p_(p) {
      if (++p_.depth_ > kMaxDepth) throw NotMath{};
    }
    ~Deeper() { --p_.depth_; }
    Parser& p_;
  };

  Token& peek(size_t k = 0) { return tokens_[std::min(i_ + k, tokens_.size() - 1)]; }
  bool is(T type) { return peek().type == type; }
  bool is(T type, std::string_view text) { return peek().type == type && peek().text == text; }
  bool accept(T type) { return is(type) && (++i_, true); }
  bool accept(T type, std::string_view text) { return is(type, text) && (++i_, true); }
  void expect(T type, std::string_view text) {
    if (!accept(type, text)) throw NotMath{};
  }

  // What an answer is made of: parser.cpp.
  bool separator() const;
  bool item_end() const;
  void item_list(Exprs& out);
  Expr items();
  void expand(Expr x, Exprs& out);  // ± stands for both
  Expr finish(Expr x, bool decimal);
  bool take_units(Expr x, bool decimal, Expr& out);
  Expr operand();
  Expr word_item();
  Expr relation();
  Expr relate(Exprs& sides, std::vector<std::string>& signs);
  Expr set_expression();

  // Sums, products, powers: parser_arithmetic.cpp.
  static void require(Expr x) {
    if (!arithmetic(x)) throw NotMath{};
  }
  int signs(int& both);
  Expr sum();
  bool starts_primary();
  Expr term();
  void times(Exprs& factors);
  Expr ratio(Expr first);
  Expr signed_factor();
  Expr product(const Exprs& factors);
  Expr exponent();
  bool braced_mark(Expr& out);
  Expr postfix();
  Expr postfix_of(Expr x);

  // Numbers, their bases, and the fractions that follow them: parser_numbers.cpp.
  Expr number_token(const Token& token);
  Expr based(Expr x);
  bool mixed(Expr whole, const Token& token, Expr& fraction);
  Expr fraction_part();
  std::string group_text(size_t from);
  std::string subscript();

  // Names, brackets, matrices: parser_primary.cpp.
  Expr primary();
  Expr collection(const Token& t);
  Expr group_or_primary();
  Expr letter(std::string name);
  bool argument_like();
  Expr bars();
  Expr bracket();
  void bring_outside(Expr& x);
  Expr closed(std::string_view open, std::string_view close, const Exprs& inner);
  Expr environment();

  // Functions, roots, sums over an index: parser_functions.cpp.
  Expr call(std::string name);
  Expr argument();
  Expr juxtaposed();
  Exprs arguments(Expr argument);
  Expr apply(const std::string& name, Expr base, const Exprs& args);
  Expr root();
  void limits_of(Expr& below, Expr& above);
  Expr big_operator(const std::string& name);

  Arena& a_;
  std::vector<Token>& tokens_;
  const ParseOptions& options_;
  size_t i_ = 0;
  int depth_ = 0;
  int bars_ = 0;           // |…| that are open
  bool decimal_ = false;   // the operand holds a decimal number
  bool has_unit_ = false;  // … a unit, percent or degrees
  bool has_sign_ = false;  // … a ±
};

}  // namespace deepsearch::math
