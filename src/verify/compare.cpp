#include "verify/compare.h"

#include <algorithm>
#include <set>
#include <string>

#include "verify/numeric.h"
#include "verify/real_sets.h"

namespace deepsearch::math {

namespace {

bool is_list(Expr x) {
  return x->is(Kind::kList) || x->is(Kind::kSet) || x->is(Kind::kTuple);
}
bool is_inequality(Expr x) {
  return x->is(Kind::kChain) || (x->is(Kind::kRelation) && x->name != "=");
}
bool is_equation(Expr x) {
  return x->is(Kind::kRelation, "=");
}
bool is_set_operation(Expr x) {
  return x->is(Kind::kUnion) || x->is(Kind::kIntersection) || x->is(Kind::kDifference);
}

void collect_symbols(Expr x, std::vector<Expr>& out) {
  if (x->is(Kind::kSymbol) && std::find(out.begin(), out.end(), x) == out.end()) out.push_back(x);
  for (Expr y : x->children()) collect_symbols(y, out);
}

class Comparison {
 public:
  Comparison(Arena& arena, const CompareOptions& options) : a_(arena), options_(options) {}

  // The answers as wholes.
  bool same(Expr g, Expr a) {
    if (!options_.list) return equal(g, a);
    return collections(a_.make(Kind::kList, {}, elements(g)), a_.make(Kind::kList, {}, elements(a)));
  }

 private:
  static Exprs elements(Expr x) { return is_list(x) ? Exprs(x->args, x->args + x->n_args) : Exprs{x}; }

  bool equal(Expr g, Expr a) {
    a_.spend(4);
    if (++depth_ > 40) throw Overrun{};
    const bool same = either(g, a);
    --depth_;
    return same;
  }

  bool defined(Expr x) {
    if (x->is(Kind::kFunction, "undefined")) return false;
    return std::all_of(x->args, x->args + x->n_args, [&](Expr y) { return defined(y); });
  }

  bool either(Expr g, Expr a) {
    if (g == a) return defined(g);
    if (a->is(Kind::kFunction, "choice")) return equal(g, (*a)[0]) || equal(g, (*a)[1]);
    if (g->is(Kind::kFunction, "choice")) return equal((*g)[0], a) || equal((*g)[1], a);
    if (g->is(Kind::kWord) || a->is(Kind::kWord)) return words(g, a);
    if (g->is(Kind::kMember) || a->is(Kind::kMember)) return members(g, a);
    if (is_inequality(g) || is_inequality(a)) return inequalities(g, a);
    if (is_equation(g) || is_equation(a)) return equations(g, a);
    if (is_set_operation(g) || is_set_operation(a)) return sets(g, a);
    if (g->is(Kind::kMatrix) || a->is(Kind::kMatrix)) return matrices(g, a);
    if (is_list(g) || is_list(a)) return collections(g, a);
    return scalars(g, a);
  }

  static bool words(Expr g, Expr a) {
    if (g->is(Kind::kWord) && a->is(Kind::kWord)) return g->name == a->name && !g->name.empty();
    const Expr word = g->is(Kind::kWord) ? g : a;
    const Expr other = g->is(Kind::kWord) ? a : g;
    if ((other->is(Kind::kSymbol) || other->is(Kind::kConstant)) && word->name.size() == 1) {
      return other->name.size() == 1 && (other->name[0] | 0x20) == word->name[0];
    }
    return false;
  }

  bool members(Expr g, Expr a) {
    if (g->is(Kind::kMember) && a->is(Kind::kMember)) {
      return equal((*g)[0], (*a)[0]) && equal((*g)[1], (*a)[1]);
    }
    if (g->is(Kind::kMember)) {
      if (is_inequality(a)) return options_.set_for_relation_both_ways && same_real_set(g, a);
      return equal((*g)[1], a);
    }
    return is_inequality(g) ? same_real_set(g, a) : equal(g, (*a)[1]);
  }

  bool same_real_set(Expr g, Expr a) {
    RealSet one;
    RealSet two;
    // An inequality may answer a set only where that is asked for.
    const bool relations = options_.set_for_relation_both_ways || contains_kind(g, Kind::kRelation);
    if (!to_real_set(a_, g, true, one) || !to_real_set(a_, a, relations, two) || one.size() != two.size()) return false;
    for (size_t i = 0; i < one.size(); ++i) {
      if (one[i].open_low != two[i].open_low || one[i].open_high != two[i].open_high ||
          !equal(one[i].low, two[i].low) || !equal(one[i].high, two[i].high)) {
        return false;
      }
    }
    return true;
  }

  bool sets(Expr g, Expr a) {
    if (same_real_set(g, a)) return true;
    if (g->kind != a->kind || g->is(Kind::kDifference)) {
      return g->kind == a->kind && equal((*g)[0], (*a)[0]) && equal((*g)[1], (*a)[1]);
    }
    Exprs one;
    Exprs two;
    flatten(g, g->kind, one);
    flatten(a, a->kind, two);
    return match(one, two);
  }

  void flatten(Expr x, Kind kind, Exprs& out) {
    if (x->is(kind)) {
      for (Expr y : x->children()) flatten(y, kind, out);
    } else {
      out.push_back(x);
    }
  }

  // The name of what an inequality bounds; null: none.
  Expr bounded(Expr x) {
    if (x->is(Kind::kChain)) {
      for (Expr y : (*x)[0]->children()) {
        if (is_name(y)) return y;
      }
      return nullptr;
    }
    return is_name((*x)[0]) ? (*x)[0] : is_name((*x)[1]) ? (*x)[1] : nullptr;
  }

  bool inequalities(Expr g, Expr a) {
    if (is_inequality(g) && is_inequality(a)) {
      const Expr one = bounded(g);
      const Expr two = bounded(a);
      if (one != nullptr && one == two && same_real_set(g, a)) return true;
      if (g->kind != a->kind || g->name != a->name || g->n_args != a->n_args) return false;
      if (g->is(Kind::kChain)) return pairwise(g->children(), a->children());
      return relation(g, a);
    }
    if (is_inequality(a) && !options_.set_for_relation_both_ways) {
      return is_list(g) && g->n_args == 1 && g->is(Kind::kList) && equal((*g)[0], a);
    }
    const Expr other = is_inequality(g) ? a : g;
    if (other->is(Kind::kTuple) || other->is(Kind::kSet) || is_set_operation(other)) return same_real_set(g, a);
    return false;
  }

  bool relation(Expr g, Expr a) {
    if (equal((*g)[0], (*a)[0]) && equal((*g)[1], (*a)[1])) return true;
    if (g->name == "!=" && equal((*g)[0], (*a)[1]) && equal((*g)[1], (*a)[0])) return true;
    if ((g->name == "<" || g->name == "<=") && both_arithmetic(g, a)) {
      return zero(a_.difference(a_.difference((*g)[0], (*g)[1]), a_.difference((*a)[0], (*a)[1])), a_.number(1));
    }
    return false;
  }

  static bool both_arithmetic(Expr g, Expr a) {
    return arithmetic((*g)[0]) && arithmetic((*g)[1]) && arithmetic((*a)[0]) && arithmetic((*a)[1]);
  }

  bool equations(Expr g, Expr a) {
    if (is_equation(g) && is_equation(a)) return two_equations(g, a);
    const Expr equation = is_equation(g) ? g : a;
    const Expr other = is_equation(g) ? a : g;
    if (other->is(Kind::kList)) {
      // (p, q) = (3, 2) against "3, 2"; a list of one.
      if (other->n_args == 1) return is_equation(g) ? equal(g, (*other)[0]) : equal((*other)[0], a);
      const Expr right = value_of(equation);
      return right != nullptr && is_list(right) && (is_equation(g) ? equal(right, other) : equal(other, right));
    }
    const Expr value = value_of(equation);
    if (value == nullptr) return false;
    return is_equation(g) ? equal(value, a) : equal(g, value);
  }

  // What an equation says its name is worth; a linear equation of one variable is solved. Null: nothing.
  Expr value_of(Expr equation) {
    const Expr l = (*equation)[0];
    const Expr r = (*equation)[1];
    if (is_name(l)) return r;
    if (is_name(r)) return l;
    if (!arithmetic(l) || !arithmetic(r)) return nullptr;
    const Expr f = a_.difference(l, r);
    std::vector<Expr> symbols;
    collect_symbols(f, symbols);
    if (symbols.empty() && zero(f, l)) return r;  // 22/2 = 11
    if (symbols.size() != 1) return nullptr;
    const Expr at0 = a_.substitute(f, symbols[0], a_.number(0L));
    const Expr slope = a_.difference(a_.substitute(f, symbols[0], a_.number(1)), at0);
    const Expr slope2 = a_.difference(a_.substitute(f, symbols[0], a_.number(2)), at0);
    if (!slope->is(Kind::kNumber) || *slope->value == 0 || a_.product({a_.number(2), slope}) != slope2) return nullptr;
    return a_.negate(a_.quotient(at0, slope));
  }

  bool two_equations(Expr g, Expr a) {
    const Expr gl = (*g)[0];
    const Expr gr = (*g)[1];
    const Expr al = (*a)[0];
    const Expr ar = (*a)[1];
    if (gl == al && equal(gr, ar)) return true;
    if (equal(gl, al) && equal(gr, ar)) return true;
    if (equal(gl, ar) && equal(gr, al)) return true;
    if (!both_arithmetic(g, a)) return false;
    return proportional(a_, a_.difference(gl, gr), a_.difference(al, ar)) == Answer::kYes;
  }

  bool matrices(Expr g, Expr a) {
    if (g->is(Kind::kMatrix) && a->is(Kind::kMatrix)) {
      return g->tag == a->tag && pairwise(g->children(), a->children());
    }
    const Expr matrix = g->is(Kind::kMatrix) ? g : a;
    const Expr other = g->is(Kind::kMatrix) ? a : g;
    const bool vector = matrix->tag == 1 || matrix->tag == matrix->n_args;
    return vector && other->is(Kind::kTuple) && pairwise(g->children(), a->children());
  }

  bool pairwise(std::span<const Expr> g, std::span<const Expr> a) {
    if (g.size() != a.size()) return false;
    for (size_t i = 0; i < g.size(); ++i) {
      if (!equal(g[i], a[i])) return false;
    }
    return true;
  }

  // Every element of one has its own in the other.
  bool match(const Exprs& g, const Exprs& a) {
    if (g.size() != a.size()) return false;
    std::vector<bool> used(a.size(), false);
    for (Expr x : g) {
      size_t found = a.size();
      for (size_t k = 0; k < a.size() && found == a.size(); ++k) {
        if (!used[k] && a[k] == x) found = k;
      }
      for (size_t k = 0; k < a.size() && found == a.size(); ++k) {
        if (!used[k] && equal(x, a[k])) found = k;
      }
      if (found == a.size()) return false;
      used[found] = true;
    }
    return true;
  }

  bool covers(const Exprs& g, const Exprs& a) {
    return std::all_of(g.begin(), g.end(),
                       [&](Expr x) { return std::any_of(a.begin(), a.end(), [&](Expr y) { return equal(x, y); }); });
  }

  // x = 3, y = 2 → 3, 2. `ordered`: the names tell the values apart.
  Exprs values(Expr x, bool& named, bool& ordered) {
    Exprs out;
    std::set<std::string_view> names;
    size_t n_named = 0;
    for (Expr y : x->children()) {
      if (is_equation(y) && is_name((*y)[0])) {
        ++n_named;
        const Expr l = (*y)[0];
        if (l->is(Kind::kSymbol)) names.insert(l->name.substr(0, l->name.find('_')));
        out.push_back((*y)[1]);
      } else {
        out.push_back(y);
      }
    }
    named = n_named > 0;
    ordered = n_named == x->n_args && names.size() == x->n_args && n_named > 1;
    return out;
  }

  bool collections(Expr g, Expr a) {
    // One element is itself.
    if (is_list(g) && !is_list(a)) return g->n_args == 1 && equal((*g)[0], a);
    if (is_list(a) && !is_list(g)) return a->n_args == 1 && equal(g, (*a)[0]);
    const Exprs one(g->args, g->args + g->n_args);
    const Exprs two(a->args, a->args + a->n_args);
    if (g->is(Kind::kTuple) && a->is(Kind::kTuple)) {
      const bool interval = g->n_args == 2 && ((g->tag | a->tag) & kVector) == 0;
      return (!interval || g->tag == a->tag) && pairwise(one, two);
    }
    if (g->is(Kind::kTuple) || a->is(Kind::kTuple)) {
      const Expr tuple = g->is(Kind::kTuple) ? g : a;
      const Expr other = g->is(Kind::kTuple) ? a : g;
      const bool round = (tuple->tag & kVector) != 0 || tuple->tag == (kOpenLeft | kOpenRight) || tuple->n_args > 2;
      if (other->is(Kind::kSet)) return other->n_args == 1 && (other == g ? equal((*g)[0], a) : equal(g, (*a)[0]));
      bool named = false;
      bool ordered = false;
      return round &&
             pairwise(g == other ? values(g, named, ordered) : one, a == other ? values(a, named, ordered) : two);
    }
    if (g->is(Kind::kSet) || a->is(Kind::kSet)) return covers(one, two) && covers(two, one);
    if (options_.ordered) return pairwise(one, two);
    bool g_named = false;
    bool a_named = false;
    bool g_ordered = false;
    bool a_ordered = false;
    const Exprs g_values = values(g, g_named, g_ordered);
    const Exprs a_values = values(a, a_named, a_ordered);
    if (g_named && a_named) {
      if (match(one, two)) return true;
      // "n = 2, 3": the name holds for all.
      return !g_ordered && !a_ordered && same_function(common_name(g), common_name(a)) && match(g_values, a_values);
    }
    if (g_named != a_named && (g_ordered || a_ordered)) return pairwise(g_values, a_values);
    return match(g_values, a_values);
  }

  // x and x, f(x) and f(n).
  static bool same_function(Expr a, Expr b) {
    if (a == nullptr || b == nullptr) return false;
    return a == b || (a->is(Kind::kFunction, b->name) && b->is(Kind::kFunction) && a->name.starts_with("call:") &&
                      a->n_args == 1 && b->n_args == 1 && (*a)[0]->is(Kind::kSymbol) && (*b)[0]->is(Kind::kSymbol));
  }

  static Expr common_name(Expr x) {
    Expr name = nullptr;
    for (Expr y : x->children()) {
      if (!is_equation(y)) continue;
      if (name != nullptr && name != (*y)[0]) return nullptr;
      name = (*y)[0];
    }
    return name;
  }

  // --- single values ---

  bool scalars(Expr g, Expr a) {
    if (g->is(Kind::kQuantity) && a->is(Kind::kQuantity)) {
      return (*g)[1] == (*a)[1] && equal((*g)[0], (*a)[0]);
    }
    if (g->is(Kind::kQuantity)) return equal((*g)[0], a);
    if (a->is(Kind::kQuantity)) return equal(g, (*a)[0]);
    if (g->is(Kind::kPercent) && a->is(Kind::kPercent)) return equal((*g)[0], (*a)[0]);
    if (g->is(Kind::kPercent)) return equal((*g)[0], a) || equal(hundredth((*g)[0]), a);
    if (a->is(Kind::kPercent)) return equal(g, (*a)[0]) || equal(g, hundredth((*a)[0]));
    if (g->is(Kind::kBased) && a->is(Kind::kBased)) return g->tag == a->tag && (*g)[0] == (*a)[0];
    if (g->is(Kind::kBased)) return (*g)[0] == a;
    if (a->is(Kind::kBased)) return g == (*a)[0];
    if (g->is(Kind::kRatio) || a->is(Kind::kRatio)) return ratios(g, a);
    const bool decimal = g->is(Kind::kRounded) || a->is(Kind::kRounded);
    const Expr x = g->is(Kind::kRounded) ? (*g)[0] : g;
    const Expr y = a->is(Kind::kRounded) ? (*a)[0] : a;
    if (!arithmetic(x) || !arithmetic(y)) return false;
    if (x == y) return defined(x);
    if (contains_kind(x, Kind::kInfinity) || contains_kind(y, Kind::kInfinity)) return false;
    if (decimal && rounded(x, y)) return true;
    if (options_.tolerance > 0 && (g->is(Kind::kRounded) || options_.tolerant) && within(x, y)) return true;
    return zero(a_.difference(x, y), x);
  }

  Expr hundredth(Expr x) {
    const Expr percent = a_.number(mpq_class(1, 100));
    if (x->is(Kind::kRounded)) return a_.make(Kind::kRounded, {}, {a_.product({(*x)[0], percent})});
    return arithmetic(x) ? a_.product({x, percent}) : x;
  }

  bool ratios(Expr g, Expr a) {
    if (g->is(Kind::kRatio) && a->is(Kind::kRatio)) {
      if (g->n_args != a->n_args) return false;
      for (uint32_t k = 1; k < g->n_args; ++k) {
        const Expr cross = a_.difference(a_.product({(*g)[0], (*a)[k]}), a_.product({(*g)[k], (*a)[0]}));
        if (!zero(cross, a_.number(1))) return false;
      }
      return true;
    }
    const Expr ratio = g->is(Kind::kRatio) ? g : a;
    if (ratio->n_args != 2) return false;
    const Expr value = a_.quotient((*ratio)[0], (*ratio)[1]);
    return g->is(Kind::kRatio) ? equal(value, a) : equal(g, value);
  }

  bool zero(Expr difference, Expr scale) { return is_zero(a_, difference, scale) == Answer::kYes; }

  bool rounded(Expr g, Expr a) {
    mpz_class one;
    mpz_class two;
    if (!round_to_places(a_, g, options_.places, one) || !round_to_places(a_, a, options_.places, two)) return false;
    if (abs(one) < 10 && abs(two) < 10) {  // too few digits are left to tell
      int places = 0;
      if (!places_for_digits(a_, g, options_.places, places)) return zero(a_.difference(g, a), g);
      return round_to_places(a_, g, places, one) && round_to_places(a_, a, places, two) && one == two;
    }
    return one == two;
  }

  // |g − a| ≤ tolerance · |g|, of numbers.
  bool within(Expr g, Expr a) {
    const Expr distance = a_.function("abs", {a_.difference(g, a)});
    const Expr bound = a_.product({a_.number(mpq_class(options_.tolerance)), a_.function("abs", {g})});
    int sign = 0;
    return sign_of(a_, a_.difference(bound, distance), sign) && sign >= 0;
  }

  Arena& a_;
  const CompareOptions& options_;
  int depth_ = 0;
};

}  // namespace

bool equal(Arena& arena, Expr gold, Expr answer, const CompareOptions& options) {
  if (!options.strict) {
    std::vector<Expr> mine;
    std::vector<Expr> theirs;
    collect_symbols(gold, mine);
    collect_symbols(answer, theirs);
    if (mine.size() != theirs.size()) return false;
    for (auto* symbols : {&mine, &theirs}) {
      std::sort(symbols->begin(), symbols->end(), [](Expr a, Expr b) { return a->order < b->order; });
    }
    for (size_t i = 0; i < mine.size(); ++i) {
      const Expr place = arena.symbol("\\place" + std::to_string(i));
      gold = arena.substitute(gold, mine[i], place);
      answer = arena.substitute(answer, theirs[i], place);
    }
  }
  return Comparison(arena, options).same(gold, answer);
}

}  // namespace deepsearch::math
