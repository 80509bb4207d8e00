// Expressions as the verifier sees them: immutable nodes in an arena, each built once (equal structure, equal pointer)
// and brought into a canonical form while it is built: sums and products are flattened, sorted and collected, rational
// arithmetic is exact. Forms that this does not unify are compared numerically (numeric.h).
//
// An Arena is bounded by construction: steps, bytes and the size of numbers are counted, and past a limit every builder
// throws Overrun, which only verify/ sees (MathVerifier catches it). One thread at a time.
#pragma once

#include <cstdint>
#include <deque>
#include <gmpxx.h>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace deepsearch::math {

enum class Kind : uint8_t {
  // Arithmetic.
  kNumber,    // value
  kSymbol,    // name
  kConstant,  // name: pi, e, i
  kInfinity,
  kSum,
  kProduct,
  kPower,     // base, exponent
  kFunction,  // name(args)
  // What an answer is made of.
  kRounded,   // an expression with a decimal in it
  kPercent,   // args[0] is the number before the sign
  kQuantity,  // value, unit
  kBased,     // value as its digits read in base ten; tag: the base
  kRatio,
  kWord,   // name: normalised text
  kTuple,  // tag: kOpenLeft | kOpenRight
  kList,   // values joined by commas, "and" or "or", without brackets
  kSet,
  kUnion,
  kIntersection,
  kDifference,
  kMatrix,    // tag: columns
  kRelation,  // name: the sign; left, right
  kMember,    // left in right
  kChain,     // a < x < b: relations
};

inline constexpr uint32_t kOpenLeft = 1;
inline constexpr uint32_t kOpenRight = 2;
inline constexpr uint32_t kVector = 4;  // ⟨…⟩: a tuple that is no interval

struct Node {
  Kind kind;
  uint32_t tag;
  uint32_t n_args;
  uint32_t order;  // of creation: breaks ties of the hash
  uint64_t hash;
  const mpq_class* value;
  std::string_view name;
  const Node* const* args;

  const Node* operator[](size_t i) const { return args[i]; }
  std::span<const Node* const> children() const { return {args, n_args}; }
  bool is(Kind k) const { return kind == k; }
  bool is(Kind k, std::string_view text) const { return kind == k && name == text; }
};

using Expr = const Node*;
using Exprs = std::vector<Expr>;

struct Overrun {};  // a bound was reached

struct Limits {
  int64_t steps = 80'000;          // of about a fifth of a microsecond: nodes built, functions evaluated
  size_t bytes = size_t{6} << 20;  // of nodes and numbers
  size_t bits = size_t{1} << 18;   // of one integer
};

class Arena {
 public:
  explicit Arena(const Limits& limits = {}) : limits_(limits) { reset(); }
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  void reset();  // everything built before is gone, all steps are there again
  // The same with what is left of `steps`: for several tries that share them.
  void reset(int64_t steps);
  int64_t steps_left() const { return steps_; }
  void spend(int64_t steps);

  Expr number(const mpq_class& value);
  Expr number(long value) { return number(mpq_class(value)); }
  Expr symbol(std::string_view name) { return make(Kind::kSymbol, name, {}); }
  Expr constant(std::string_view name) { return make(Kind::kConstant, name, {}); }
  Expr sum(const Exprs& terms);
  Expr product(const Exprs& factors);
  Expr power(Expr base, Expr exponent);
  Expr function(std::string_view name, const Exprs& args);
  Expr negate(Expr x) { return product({number(-1), x}); }
  Expr quotient(Expr x, Expr y) { return product({x, power(y, number(-1))}); }
  Expr difference(Expr x, Expr y) { return sum({x, negate(y)}); }
  // Any other node, as it is.
  Expr make(Kind kind, std::string_view name, const Exprs& args, uint32_t tag = 0, const mpq_class* value = nullptr);
  // The same expression with `with` for each `what`, built anew.
  Expr substitute(Expr x, Expr what, Expr with);

 private:
  void* take(size_t bytes);
  void check_size(const mpq_class& value) const;
  Expr number_power(const mpq_class& base, const mpq_class& exponent);
  Expr fold_function(std::string_view name, const Exprs& args);
  void grow_table();

  Limits limits_;
  int64_t steps_ = 0;
  size_t bytes_ = 0;
  std::vector<std::unique_ptr<std::byte[]>> chunks_;
  std::vector<std::unique_ptr<std::byte[]>> large_;
  size_t chunk_ = 0;
  size_t used_ = 0;
  std::deque<mpq_class> numbers_;
  std::vector<Expr> table_;
  uint32_t n_nodes_ = 0;
};

bool contains(Expr x, Expr part);
bool contains_kind(Expr x, Kind kind);
// May stand in a sum.
inline bool arithmetic(Expr x) {
  return x->kind <= Kind::kFunction;
}
inline bool is_integer(Expr x) {
  return x->is(Kind::kNumber) && x->value->get_den() == 1;
}
// For people: `deepsearch verify --explain`.
std::string to_text(Expr x);

}  // namespace deepsearch::math
