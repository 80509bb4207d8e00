#include "verify/parser.h"

#include <algorithm>
#include <cctype>
#include <utility>

#include "verify/lexer.h"

namespace deepsearch::math {

namespace {

struct NotMath {};

constexpr int kMaxDepth = 160;
constexpr long kMaxSumTerms = 400;
constexpr std::string_view kPlusMinusName = "\\pm";

class Parser {
 public:
  Parser(Arena& arena, std::vector<Token>& tokens, const ParseOptions& options)
      : a_(arena), tokens_(tokens), options_(options) {}

  Expr run() {
    Expr x = items();
    if (peek().type != T::kEnd) throw NotMath{};
    return x;
  }

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
  bool separator() const {
    const T t = tokens_[i_].type;
    return t == T::kComma || t == T::kSemicolon || t == T::kWordSeparator;
  }
  bool item_end() const {
    const T t = tokens_[i_].type;
    return t == T::kEnd || t == T::kClose || t == T::kAmpersand || t == T::kRow || t == T::kEndEnv || separator();
  }

  // --- what an answer is made of ---

  void item_list(Exprs& out) {
    for (;;) {
      while (separator()) ++i_;
      if (item_end()) break;
      if (is(T::kDots)) throw NotMath{};
      const Expr x = relation();
      expand(x, out);
      if (!separator()) break;
    }
    while (accept(T::kRow)) {
    }
  }

  Expr items() {
    Exprs out;
    item_list(out);
    if (out.empty()) throw NotMath{};
    return out.size() == 1 ? out[0] : a_.make(Kind::kList, {}, out);
  }

  // ± stands for both.
  void expand(Expr x, Exprs& out) {
    const Expr sign = a_.symbol(kPlusMinusName);
    if (!has_sign_ || !contains(x, sign)) {
      out.push_back(x);
      return;
    }
    for (const long s : {1L, -1L}) out.push_back(a_.substitute(x, sign, a_.number(s)));
  }

  // A whole operand: units, percent and rounding come to the outside.
  Expr finish(Expr x, bool decimal) {
    if (!arithmetic(x)) return x;
    if (has_unit_) {
      Exprs value;
      Exprs unit;
      bool percent = false;
      const auto sort = [&](Expr f) {
        const Expr base = f->is(Kind::kPower) ? (*f)[0] : f;
        if (base->is(Kind::kSymbol, "%")) {
          percent = true;
        } else if (base->is(Kind::kSymbol) && base->name.starts_with("unit:")) {
          unit.push_back(f);
        } else {
          value.push_back(f);
        }
      };
      if (x->is(Kind::kProduct)) {
        for (Expr f : x->children()) sort(f);
      } else {
        sort(x);
      }
      if (!unit.empty() || percent) {
        Expr inner = a_.product(value);
        if (decimal) inner = a_.make(Kind::kRounded, {}, {inner});
        if (percent) return a_.make(Kind::kPercent, {}, {inner});
        return a_.make(Kind::kQuantity, {}, {inner, a_.product(unit)});
      }
      x = a_.substitute(x, a_.symbol("%"), a_.number(mpq_class(1, 100)));
      x = a_.substitute(x, a_.symbol("unit:deg"), a_.number(1));
    }
    return decimal ? a_.make(Kind::kRounded, {}, {x}) : x;
  }

  Expr operand() {
    decimal_ = false;
    has_unit_ = false;
    const Expr x = set_expression();
    return finish(x, decimal_);
  }

  Expr word_item() {
    std::string text;
    while (is(T::kText) || is(T::kUnit)) {
      text += text.empty() ? "" : " ";
      text += peek().text;
      ++i_;
    }
    if (!item_end()) throw NotMath{};
    return a_.make(Kind::kWord, plain_words(text), {});
  }

  Expr relation() {
    const Deeper deeper(*this);
    if (is(T::kText)) {
      size_t k = 0;
      while (peek(k).type == T::kText) ++k;
      const std::string label = plain_words(peek().text);
      const bool choice = label.size() == 1 && peek().text.find(')') != std::string::npos;
      if (k == 1 && choice && i_ == 0 && peek(1).type != T::kEnd) {
        ++i_;  // "(B) 12": the letter before its value
        const Expr value = relation();
        return a_.make(Kind::kFunction, "choice", {a_.make(Kind::kWord, label, {}), value});
      }
      return word_item();
    }
    Exprs sides;
    std::vector<std::string> signs;
    if (!is(T::kRelation)) {
      sides.push_back(operand());
    } else if (!is(T::kRelation, "=") && !is(T::kRelation, "~")) {
      throw NotMath{};
    }
    while (is(T::kRelation) || is(T::kIn)) {
      signs.emplace_back(is(T::kIn) ? "in" : peek().text);
      ++i_;
      if (is(T::kText)) {
        sides.push_back(word_item());
      } else {
        sides.push_back(operand());
      }
      if (sides.size() > 64) throw NotMath{};
    }
    if (sides.size() == signs.size()) return sides.back();  // "= 5"
    return signs.empty() ? sides[0] : relate(sides, signs);
  }

  Expr relate(Exprs& sides, std::vector<std::string>& signs) {
    const auto equality = [](const std::string& s) { return s == "=" || s == "~"; };
    if (signs.size() > 1 && signs.back() == "~") {  // a rounded form of what stands before
      while (signs.size() > 1 && signs.back() == "~") {
        signs.pop_back();
        sides.pop_back();
      }
    }
    if (signs.size() == 1 && signs[0] == "in") return a_.make(Kind::kMember, {}, sides);
    if (std::all_of(signs.begin(), signs.end(), equality)) {
      return a_.make(Kind::kRelation, "=", {sides.front(), sides.back()});
    }
    Exprs pairs;
    for (size_t i = 0; i < signs.size(); ++i) {
      std::string sign = signs[i] == "~" ? "=" : signs[i];
      Expr left = sides[i];
      Expr right = sides[i + 1];
      if (sign == ">" || sign == ">=") {
        sign[0] = '<';
        std::swap(left, right);
      }
      pairs.push_back(a_.make(Kind::kRelation, sign, {left, right}));
    }
    if (pairs.size() == 1) return pairs[0];
    return a_.make(Kind::kChain, {}, pairs);
  }

  Expr set_expression() {
    Expr x = sum();
    for (;;) {
      Kind kind = Kind::kUnion;
      if (is(T::kCap)) {
        kind = Kind::kIntersection;
      } else if (is(T::kSetminus)) {
        kind = Kind::kDifference;
      } else if (!is(T::kCup)) {
        return x;
      }
      ++i_;
      x = a_.make(kind, {}, {x, sum()});
    }
  }

  // --- arithmetic ---

  Expr sum() {
    const Deeper deeper(*this);
    Exprs terms;
    bool first = true;
    for (;;) {
      int sign = 1;
      int both = 0;
      bool any = false;
      for (;; any = true) {
        if (accept(T::kMinus)) {
          sign = -sign;
        } else if (accept(T::kPlusMinus)) {
          both = 1;
        } else if (accept(T::kMinusPlus)) {
          both = -1;
        } else if (!accept(T::kPlus)) {
          break;
        }
      }
      if (!any && !first) break;
      first = false;
      Expr x = term();
      if (!any && !arithmetic(x)) return x;
      require(x);
      if (both != 0) {
        has_sign_ = true;
        x = a_.product({a_.number(both), a_.symbol(kPlusMinusName), x});
      }
      terms.push_back(sign < 0 ? a_.negate(x) : x);
    }
    return terms.size() == 1 ? terms[0] : a_.sum(terms);
  }

  static void require(Expr x) {
    if (!arithmetic(x)) throw NotMath{};
  }

  bool starts_primary() {
    switch (peek().type) {
      case T::kNumber:
      case T::kLetter:
      case T::kName:
      case T::kConstant:
      case T::kUnit:
      case T::kFrac:
      case T::kBinom:
      case T::kRoot:
      case T::kBegin:
      case T::kBig:
      case T::kAccent:
      case T::kInfinity:
      case T::kOpen:
        return true;
      case T::kBar:
        return bars_ == 0;
      default:
        return false;
    }
  }

  // "3 1/2" and 3\frac{1}{2}: a whole number and a proper fraction.
  bool mixed(Expr whole, const Token& token, Expr& fraction) {
    if (token.type != T::kNumber || !is_integer(whole) || token.decimal) return false;
    const size_t start = i_;
    Expr top = nullptr;
    Expr bottom = nullptr;
    if (is(T::kFrac)) {
      ++i_;
      top = fraction_part();
      bottom = fraction_part();
    } else if (is(T::kNumber) && peek().space_before && peek(1).type == T::kDivide && peek(2).type == T::kNumber) {
      top = number_token(peek());
      bottom = number_token(peek(2));
      i_ += 3;
    }
    if (top != nullptr && is_integer(top) && is_integer(bottom) && *top->value > 0 && *top->value < *bottom->value) {
      fraction = a_.quotient(top, bottom);
      return true;
    }
    i_ = start;
    return false;
  }

  Expr term() {
    const Deeper deeper(*this);
    Exprs factors;
    Token before = peek();
    const size_t start = i_;
    Expr x = postfix();
    if (i_ == start + 1) {
      Expr fraction = nullptr;
      if (x->is(Kind::kNumber) && mixed(x, before, fraction)) x = a_.sum({x, fraction});
    }
    if (!starts_primary() && !is(T::kTimes) && !is(T::kDivide) && !is(T::kColon)) return x;
    factors.push_back(x);
    bool unit = before.type == T::kUnit;
    for (;;) {
      if (is(T::kTimes)) {
        const std::string sign = peek().text;
        ++i_;
        const Expr y = signed_factor();
        if (sign.empty() || sign == "*" || sign == "\\times") {
          factors.push_back(y);
        } else {
          const Expr left = product(factors);
          factors = {a_.function("op:" + sign, {left, y})};
        }
        continue;
      }
      if (is(T::kDivide)) {
        ++i_;
        const Expr y = signed_factor();
        require(y);
        factors.push_back(a_.power(y, a_.number(-1)));
        continue;
      }
      if (is(T::kColon)) {
        Exprs parts{product(factors)};
        while (accept(T::kColon)) parts.push_back(postfix());
        for (Expr y : parts) require(y);
        return a_.make(Kind::kRatio, {}, parts);
      }
      if (!starts_primary()) break;
      if (is(T::kNumber) && (tokens_[i_ - 1].type == T::kNumber || unit)) throw NotMath{};
      unit = unit || is(T::kUnit);
      if (is(T::kText)) throw NotMath{};
      factors.push_back(postfix());
    }
    return product(factors);
  }

  Expr signed_factor() {
    const Deeper deeper(*this);
    if (accept(T::kMinus)) return a_.negate(signed_factor());
    if (accept(T::kPlus)) return signed_factor();
    return postfix();
  }

  Expr product(const Exprs& factors) {
    Expr matrix = nullptr;
    Exprs rest;
    for (Expr x : factors) {
      if (x->is(Kind::kMatrix) && matrix == nullptr) {
        matrix = x;
      } else {
        require(x);
        rest.push_back(x);
      }
    }
    if (matrix == nullptr) return a_.product(rest);
    const Expr factor = a_.product(rest);
    Exprs entries;
    for (Expr x : matrix->children()) {
      if (x->is(Kind::kRounded)) x = (*x)[0];
      require(x);
      entries.push_back(a_.product({factor, x}));
    }
    return a_.make(Kind::kMatrix, {}, entries, matrix->tag);
  }

  Expr exponent() {
    const Deeper deeper(*this);
    if (accept(T::kMinus)) return a_.negate(exponent());
    if (accept(T::kPlus)) return exponent();
    Expr x = nullptr;
    if (accept(T::kOpen, "{")) {
      if (is(T::kDegree) || is(T::kPrime)) {
        const bool degree = is(T::kDegree);
        ++i_;
        while (accept(T::kPrime)) {
        }
        expect(T::kClose, "}");
        return a_.symbol(degree ? "unit:deg" : "'");
      }
      const std::string source = group_text(i_);
      if (source == "*" || source == "\\prime") {
        while (!is(T::kClose)) ++i_;
        ++i_;
        return a_.symbol("'" + source);
      }
      x = sum();
      expect(T::kClose, "}");
    } else if (accept(T::kDegree)) {
      return a_.symbol("unit:deg");
    } else if (accept(T::kPrime)) {
      return a_.symbol("'");
    } else if (is(T::kTimes, "*")) {
      ++i_;
      return a_.symbol("'*");
    } else {
      x = primary();
      while (is(T::kBang)) {
        ++i_;
        x = a_.function("factorial", {x});
      }
    }
    require(x);
    if (accept(T::kCaret)) x = a_.power(x, exponent());
    return x;
  }

  Expr postfix() {
    const Deeper deeper(*this);
    return postfix_of(primary());
  }

  Expr postfix_of(Expr x) {
    for (;;) {
      if (accept(T::kCaret)) {
        const Expr e = exponent();
        if (e->is(Kind::kSymbol, "unit:deg")) {
          require(x);
          has_unit_ = true;
          x = a_.product({x, e});
        } else if (!arithmetic(x) || (e->is(Kind::kSymbol) && e->name.starts_with("'"))) {
          x = a_.function("op:^", {x, e});
        } else {
          x = a_.power(x, e);
        }
      } else if (accept(T::kBang)) {
        require(x);
        x = a_.function("factorial", {x});
      } else if (accept(T::kPercent)) {
        require(x);
        has_unit_ = true;
        x = a_.product({x, a_.symbol("%")});
      } else if (accept(T::kDegree)) {
        require(x);
        has_unit_ = true;
        x = a_.product({x, a_.symbol("unit:deg")});
      } else if (accept(T::kPrime)) {
        x = a_.function("op:prime", {x});
      } else if (is(T::kText) && i_ > 0) {
        // A counted thing: "5 apples"; not a sentence.
        const std::string word = plain_words(peek().text);
        if (!arithmetic(x) || word.empty() || std::count(word.begin(), word.end(), ' ') > 2 || prose(word)) {
          throw NotMath{};
        }
        ++i_;
        has_unit_ = true;
        x = a_.product({x, a_.symbol("unit:" + word)});
      } else {
        return x;
      }
    }
  }

  static bool prose(const std::string& words) {
    const std::string padded = " " + words + " ";
    for (const std::string_view word : {" or ", " and ", " any ", " not ", " no ", " if ", " other ", " to ", " is ",
                                        " are ", " but ", " all ", " maybe ", " for ", " where ", " when "}) {
      if (padded.find(word) != std::string::npos) return true;
    }
    return false;
  }

  Expr number_token(const Token& token) {
    std::string digits;
    std::string repeat;
    long exponent = 0;
    long places = 0;
    bool point = false;
    const std::string& s = token.text;
    for (size_t k = 0; k < s.size(); ++k) {
      if (s[k] == '.') {
        point = true;
      } else if (s[k] == 'r') {
        repeat = s.substr(k + 1);
        break;
      } else if (s[k] == 'e') {
        const std::string e = s.substr(k + 1);
        if (e.size() > 6) throw NotMath{};
        exponent = std::strtol(e.c_str(), nullptr, 10);
        break;
      } else {
        digits += s[k];
        places += point ? 1 : 0;
      }
    }
    if (std::abs(exponent) > 50'000) throw NotMath{};
    mpz_class top;
    if (digits.empty() || top.set_str(digits, 10) != 0) throw NotMath{};
    a_.spend(static_cast<int64_t>(digits.size() / 64));
    mpq_class value(top);
    const auto ten = [](long n) {
      mpz_class z;
      mpz_ui_pow_ui(z.get_mpz_t(), 10, static_cast<unsigned long>(n));
      return z;
    };
    if (!repeat.empty()) {
      mpz_class tail(repeat, 10);
      const mpz_class nines = ten(static_cast<long>(repeat.size())) - 1;
      value += mpq_class(tail, nines);
      value.canonicalize();
    }
    exponent -= places;
    if (exponent < 0) {
      mpq_class scale(mpz_class(1), ten(-exponent));
      value *= scale;
    } else if (exponent > 0) {
      value *= mpq_class(ten(exponent));
    }
    decimal_ = decimal_ || token.decimal;
    return a_.number(value);
  }

  // The tokens up to the brace that closes, as text: for subscripts.
  std::string group_text(size_t from) {
    std::string out;
    int depth = 0;
    for (size_t k = from; k < tokens_.size() && out.size() < 64; ++k) {
      const Token& t = tokens_[k];
      if (t.type == T::kOpen && t.text == "{") ++depth;
      if (t.type == T::kClose && t.text == "}" && depth-- == 0) break;
      if (t.text.empty()) {
        out += t.type == T::kPlus ? "+" : t.type == T::kMinus ? "-" : t.type == T::kComma ? "," : "?";
      } else if (t.text != "{" && t.text != "}") {
        out += t.text;
      }
    }
    return out;
  }

  std::string subscript() {
    if (accept(T::kOpen, "{")) {
      const std::string text = group_text(i_);
      int depth = 1;
      while (depth > 0) {
        if (is(T::kEnd)) throw NotMath{};
        if (is(T::kOpen, "{")) ++depth;
        if (is(T::kClose, "}")) --depth;
        ++i_;
      }
      return text;
    }
    if (is(T::kEnd)) throw NotMath{};
    const std::string text = peek().text.empty() ? "?" : peek().text;
    ++i_;
    return text;
  }

  Expr fraction_part() {
    const Deeper deeper(*this);
    if (accept(T::kOpen, "{")) {
      const Expr x = sum();
      expect(T::kClose, "}");
      require(x);
      return x;
    }
    if (!options_.repair) throw NotMath{};
    if (is(T::kNumber) && peek().text.size() > 1 && std::isdigit(static_cast<unsigned char>(peek().text[1])) != 0) {
      Token digit = peek();
      digit.text = digit.text.substr(0, 1);
      digit.decimal = false;
      peek().text.erase(0, 1);
      return number_token(digit);
    }
    const Expr x = primary();
    require(x);
    return x;
  }

  Expr primary() {
    const Deeper deeper(*this);
    Token& t = peek();
    switch (t.type) {
      case T::kNumber:
        ++i_;
        if (options_.grouped != nullptr && t.grouped) *options_.grouped = true;
        return based(number_token(t));
      case T::kLetter:
        ++i_;
        return letter(t.text);
      case T::kConstant:
        ++i_;
        if (is(T::kUnder)) return letter(t.text);
        return a_.constant(t.text);
      case T::kName:
        ++i_;
        return call(t.text);
      case T::kUnit:
        ++i_;
        has_unit_ = true;
        return a_.symbol("unit:" + t.text);
      case T::kInfinity:
        ++i_;
        return a_.make(Kind::kInfinity, {}, {});
      case T::kReals: {
        ++i_;
        const Expr inf = a_.make(Kind::kInfinity, {}, {});
        return a_.make(Kind::kTuple, {}, {a_.negate(inf), inf}, kOpenLeft | kOpenRight);
      }
      case T::kEmptySet:
        ++i_;
        return a_.make(Kind::kSet, {}, {});
      case T::kFrac: {
        ++i_;
        const Expr top = fraction_part();
        return a_.quotient(top, fraction_part());
      }
      case T::kBinom: {
        ++i_;
        const Expr n = fraction_part();
        return a_.function("binomial", {n, fraction_part()});
      }
      case T::kRoot:
        ++i_;
        return root();
      case T::kAccent: {
        ++i_;
        return a_.function("op:" + t.text, {fraction_like()});
      }
      case T::kBegin:
        return environment();
      case T::kBig:
        ++i_;
        return big_operator(t.text);
      case T::kBar:
        return bars();
      case T::kOpen:
        return bracket();
      default:
        throw NotMath{};
    }
  }

  Expr fraction_like() {
    if (accept(T::kOpen, "{")) {
      const Expr x = items();
      expect(T::kClose, "}");
      return x;
    }
    return primary();
  }

  Expr based(Expr x) {
    if (!is(T::kUnder)) return x;
    const std::string base = (++i_, subscript());
    if (base.empty() || base.size() > 2 ||
        !std::all_of(base.begin(), base.end(), [](unsigned char c) { return std::isdigit(c) != 0; }) ||
        !is_integer(x)) {
      throw NotMath{};
    }
    const unsigned long b = std::strtoul(base.c_str(), nullptr, 10);
    if (b == 10) return x;
    for (const char c : x->value->get_num().get_str()) {
      if (b < 10 && static_cast<unsigned long>(c - '0') >= b) throw NotMath{};
    }
    return a_.make(Kind::kBased, {}, {x}, static_cast<uint32_t>(b));
  }

  Expr letter(std::string name) {
    if (accept(T::kUnder)) name.append("_").append(subscript());
    while (is(T::kPrime)) {
      ++i_;
      name += "'";
    }
    if (name.find("_?") != std::string::npos) throw NotMath{};
    const std::string_view head = std::string_view(name).substr(0, name.find_first_of("_'"));
    const bool named = head == "f" || head == "g" || head == "h" || head == "F" || head == "G" || head == "H" ||
                       head == "Gamma" || head == "phi" || head == "Phi" || head == "W" || head == "P" || head == "Q";
    if (named && is(T::kOpen, "(") && argument_like()) {
      ++i_;
      Exprs args;
      item_list(args);
      expect(T::kClose, ")");
      return a_.function("call:" + name, args);
    }
    return a_.symbol(name);
  }

  // P(1+r) is a product, P(x) a value; f, g and h are always functions.
  bool argument_like() {
    const std::string& head = tokens_[i_ - 1].text;
    if (head != "P" && head != "Q" && head != "W" && head != "phi" && head != "Phi") return true;
    return (peek(1).type == T::kLetter || peek(1).type == T::kNumber) && peek(2).type == T::kClose;
  }

  Expr call(std::string name) {
    Expr base = nullptr;
    Expr power = nullptr;
    if (accept(T::kUnder)) {
      if (name != "log") {
        name.append("_").append(subscript());
      } else if (accept(T::kOpen, "{")) {
        base = sum();
        expect(T::kClose, "}");
      } else {
        base = primary();
      }
    }
    if (accept(T::kCaret)) power = exponent();
    Expr argument = nullptr;
    const bool bracketed = is(T::kOpen, "(") || is(T::kOpen, "{") || is(T::kOpen, "[");
    if (bracketed) {
      const bool saved = has_unit_;
      has_unit_ = false;
      argument = primary();
      has_unit_ = saved;
    } else {
      Exprs factors;
      if (is(T::kMinus)) {
        ++i_;
        factors.push_back(a_.number(-1));
      }
      while (is(T::kNumber) || is(T::kLetter) || is(T::kConstant) || is(T::kFrac) || is(T::kRoot) || is(T::kBar) ||
             (factors.empty() && starts_primary())) {
        if (is(T::kBar) && bars_ > 0) break;
        const size_t from = i_;
        factors.push_back(postfix());
        if (tokens_[from].type == T::kName || tokens_[from].type == T::kBig) break;
        if (is(T::kDivide) && peek(1).type == T::kNumber && tokens_[from].type == T::kConstant) {
          ++i_;  // \sin \pi/4
          factors.push_back(a_.power(postfix(), a_.number(-1)));
          break;
        }
      }
      if (factors.empty()) throw NotMath{};
      argument = product(factors);
    }
    Exprs args = argument->is(Kind::kList) || argument->is(Kind::kTuple)
                     ? Exprs(argument->args, argument->args + argument->n_args)
                     : Exprs{argument};
    for (Expr& x : args) {
      if (x->is(Kind::kRounded)) {
        decimal_ = true;
        x = (*x)[0];
      }
      if (x->is(Kind::kQuantity)) x = a_.product({(*x)[0], (*x)[1]});
      require(x);
      const Expr degrees = a_.quotient(a_.constant("pi"), a_.number(180));
      x = a_.substitute(x, a_.symbol("unit:deg"), degrees);
    }
    Expr x = apply(name, base, args);
    if (power != nullptr) {
      static constexpr std::string_view kInvertible = " sin cos tan sec csc cot sinh cosh tanh ";
      if (power->is(Kind::kNumber) && *power->value == -1 &&
          kInvertible.find(" " + name + " ") != std::string_view::npos) {
        return a_.function("arc" + name, args);
      }
      x = a_.power(x, power);
    }
    return x;
  }

  Expr apply(const std::string& name, Expr base, const Exprs& args) {
    const auto reciprocal = [&](std::string_view of) { return a_.power(a_.function(of, args), a_.number(-1)); };
    if (args.size() != 1) return a_.function(name, args);
    if (name == "log" && base != nullptr) {
      return a_.quotient(a_.function("ln", args), a_.function("ln", {base}));
    }
    if (name == "lg" || name == "log") return a_.quotient(a_.function("ln", args), a_.function("ln", {a_.number(10)}));
    if (name == "log" && !options_.log_ten) return a_.function("ln", args);
    if (name == "tan") return a_.quotient(a_.function("sin", args), a_.function("cos", args));
    if (name == "cot") return a_.quotient(a_.function("cos", args), a_.function("sin", args));
    if (name == "sec") return reciprocal("cos");
    if (name == "csc") return reciprocal("sin");
    if (name == "tanh") return a_.quotient(a_.function("sinh", args), a_.function("cosh", args));
    if (name == "coth") return a_.quotient(a_.function("cosh", args), a_.function("sinh", args));
    if (name == "sech") return reciprocal("cosh");
    if (name == "csch") return reciprocal("sinh");
    return a_.function(name, args);
  }

  Expr root() {
    Expr degree = nullptr;
    if (accept(T::kOpen, "[")) {
      degree = sum();
      expect(T::kClose, "]");
    }
    Expr x = nullptr;
    if (accept(T::kOpen, "{")) {
      x = sum();
      expect(T::kClose, "}");
    } else {
      x = primary();
    }
    require(x);
    if (degree == nullptr) return a_.function("sqrt", {x});
    // The odd root of a negative number is the real one.
    if (is_integer(degree) && x->is(Kind::kNumber) && *x->value < 0 &&
        mpz_odd_p(degree->value->get_num().get_mpz_t()) != 0) {
      return a_.negate(a_.power(a_.negate(x), a_.power(degree, a_.number(-1))));
    }
    return a_.power(x, a_.power(degree, a_.number(-1)));
  }

  Expr bars() {
    const std::string sign = peek().text;
    ++i_;
    ++bars_;
    const Expr x = sum();
    --bars_;
    if (!accept(T::kBar, sign)) throw NotMath{};
    if (x->is(Kind::kMatrix)) return a_.function("det", {x});
    return a_.function(sign == "|" ? "abs" : "op:norm", {x});
  }

  Expr bracket() {
    const std::string open = peek().text;
    ++i_;
    const int bars = std::exchange(bars_, 0);
    // Decimals and units belong to the element that holds them.
    const bool decimal = decimal_;
    const bool unit = has_unit_;
    Exprs inner;
    if (open == "lfloor" || open == "lceil" || open == "lvert") {
      inner.push_back(sum());
    } else {
      item_list(inner);
    }
    bars_ = bars;
    if (!is(T::kClose)) throw NotMath{};
    const std::string close = peek().text;
    ++i_;
    const bool round_or_square = (open == "(" || open == "[") && (close == ")" || close == "]");
    if (inner.size() == 1 && inner[0]->is(Kind::kRounded)) {
      decimal_ = true;
      inner[0] = (*inner[0])[0];
    } else {
      decimal_ = decimal;
    }
    has_unit_ = unit;
    if (inner.size() == 1 && (inner[0]->is(Kind::kPercent) || inner[0]->is(Kind::kQuantity))) {
      const Expr q = inner[0];
      Expr value = (*q)[0];
      if (value->is(Kind::kRounded)) {
        decimal_ = true;
        value = (*value)[0];
      }
      has_unit_ = true;
      inner[0] = a_.product({value, q->is(Kind::kPercent) ? a_.symbol("%") : (*q)[1]});
    }
    if (open == "{" && close == "}") {
      if (inner.empty()) throw NotMath{};
      return inner.size() == 1 ? inner[0] : a_.make(Kind::kList, {}, inner);
    }
    if (open == "\\{" && close == "\\}") return a_.make(Kind::kSet, {}, inner);
    if (open == "langle" && close == "rangle") return a_.make(Kind::kTuple, {}, inner, kVector);
    if (open == "lfloor" && close == "rfloor") return a_.function("floor", inner);
    if (open == "lceil" && close == "rceil") return a_.function("ceil", inner);
    if (open == "lvert" && close == "lvert") return a_.function("abs", inner);
    if (!round_or_square || inner.empty()) throw NotMath{};
    if (inner.size() == 1) {
      if ((open == "(") != (close == ")")) throw NotMath{};
      return inner[0];
    }
    const uint32_t tag = (open == "(" ? kOpenLeft : 0) | (close == ")" ? kOpenRight : 0);
    return a_.make(Kind::kTuple, {}, inner, tag);
  }

  Expr environment() {
    const std::string name = peek().text;
    ++i_;
    if (name.find("matrix") == std::string::npos && name != "array") throw NotMath{};
    Exprs cells;
    uint32_t columns = 0;
    uint32_t in_row = 0;
    for (;;) {
      if (is(T::kEndEnv) && in_row == 0) break;
      Exprs cell;
      decimal_ = false;
      expand(relation(), cell);
      if (cell.size() != 1) throw NotMath{};
      cells.push_back(cell[0]);
      ++in_row;
      if (accept(T::kAmpersand)) continue;
      if (columns != 0 && columns != in_row) throw NotMath{};
      columns = in_row;
      in_row = 0;
      if (!accept(T::kRow)) break;
    }
    if (!accept(T::kEndEnv, name) || cells.empty()) throw NotMath{};
    decimal_ = false;
    const Expr x = a_.make(Kind::kMatrix, {}, cells, columns);
    return name == "vmatrix" ? a_.function("det", {x}) : x;
  }

  Expr big_operator(const std::string& name) {
    Expr below = nullptr;
    Expr above = nullptr;
    while (is(T::kUnder) || is(T::kCaret)) {
      const bool under = is(T::kUnder);
      ++i_;
      Expr x = nullptr;
      if (accept(T::kOpen, "{")) {
        x = items();
        expect(T::kClose, "}");
      } else {
        x = primary();
      }
      (under ? below : above) = x;
    }
    Expr body = term();
    if (name == "int" || name == "oint" || name == "iint") {
      while (is(T::kPlus) || is(T::kMinus)) {
        const bool minus = is(T::kMinus);
        ++i_;
        const Expr next = term();
        body = a_.sum({body, minus ? a_.negate(next) : next});
      }
    }
    require(body);
    if ((name == "sum" || name == "prod") && below != nullptr && above != nullptr && below->is(Kind::kRelation, "=") &&
        (*below)[0]->is(Kind::kSymbol) && is_integer((*below)[1]) && is_integer(above)) {
      const mpz_class count = above->value->get_num() - (*below)[1]->value->get_num() + 1;
      if (count >= 0 && count <= kMaxSumTerms) {
        Exprs parts;
        for (mpz_class k = (*below)[1]->value->get_num(); k <= above->value->get_num(); ++k) {
          parts.push_back(a_.substitute(body, (*below)[0], a_.number(mpq_class(k))));
        }
        return name == "sum" ? a_.sum(parts) : a_.product(parts);
      }
    }
    Exprs args{body};
    if (below != nullptr) args.push_back(below);
    if (above != nullptr) args.push_back(above);
    return a_.function("op:" + name, args);
  }

  Arena& a_;
  std::vector<Token>& tokens_;
  const ParseOptions& options_;
  size_t i_ = 0;
  int depth_ = 0;
  int bars_ = 0;
  bool decimal_ = false;
  bool has_unit_ = false;
  bool has_sign_ = false;
};

}  // namespace

std::string plain_words(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c == '\\') {
      while (i + 1 < text.size() && std::isalpha(static_cast<unsigned char>(text[i + 1])) != 0) ++i;
    } else if (std::isalnum(c) != 0 || c >= 0x80) {
      out += static_cast<char>(std::tolower(c));
    } else if (!out.empty() && out.back() != ' ' && (c == ' ' || c == '\n' || c == '~' || c == '-')) {
      out += ' ';
    }
  }
  while (!out.empty() && out.back() == ' ') out.pop_back();
  return out;
}

Expr parse(Arena& arena, std::string_view text, const ParseOptions& options) {
  thread_local std::vector<Token> tokens;
  LexOptions lexing;
  lexing.plain = options.plain;
  lexing.group_commas = options.group_commas;
  if (!lex(text, lexing, tokens) || tokens.size() < 2) return nullptr;
  try {
    return Parser(arena, tokens, options).run();
  } catch (const NotMath&) {
    return nullptr;
  }
}

}  // namespace deepsearch::math
