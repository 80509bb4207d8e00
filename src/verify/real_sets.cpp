#include "verify/real_sets.h"

#include <algorithm>

#include "verify/numeric.h"

namespace deepsearch::math {

namespace {

constexpr size_t kMaxPieces = 64;

struct Unordered {};

class Builder {
 public:
  explicit Builder(Arena& arena) : a_(arena), inf_(arena.make(Kind::kInfinity, {}, {})), minus_(arena.negate(inf_)) {}

  bool build(Expr x, bool relations, RealSet& out) {
    switch (x->kind) {
      case Kind::kTuple:
        if (x->n_args != 2 || (x->tag & kVector) != 0) return false;
        out.push_back({bare((*x)[0]), bare((*x)[1]), (x->tag & kOpenLeft) != 0, (x->tag & kOpenRight) != 0});
        return true;
      case Kind::kSet:
        for (Expr y : x->children()) {
          if (!arithmetic(bare(y))) return false;
          out.push_back({bare(y), bare(y), false, false});
        }
        return true;
      case Kind::kUnion:
        return build((*x)[0], relations, out) && build((*x)[1], relations, out);
      case Kind::kMember:
        return build((*x)[1], relations, out);
      case Kind::kDifference: {
        RealSet from;
        RealSet away;
        if (!build((*x)[0], relations, from) || !build((*x)[1], relations, away)) return false;
        normalise(from);
        normalise(away);
        out = intersect(from, complement(away));
        return true;
      }
      case Kind::kIntersection: {
        RealSet one;
        RealSet two;
        if (!build((*x)[0], relations, one) || !build((*x)[1], relations, two)) return false;
        normalise(one);
        normalise(two);
        out = intersect(one, two);
        return true;
      }
      case Kind::kList:
        if (!relations) return false;
        return std::all_of(x->args, x->args + x->n_args, [&](Expr y) {
          return (y->is(Kind::kRelation) || y->is(Kind::kChain)) && build(y, true, out);
        });
      case Kind::kRelation:
        return relations && inequality(x, out);
      case Kind::kChain:
        return relations && chain(x, out);
      default:
        return false;
    }
  }

  void normalise(RealSet& set) {
    if (set.size() > kMaxPieces) throw Unordered{};
    std::erase_if(set, [&](const Piece& p) {
      const int c = compare(p.low, p.high);
      return c > 0 || (c == 0 && (p.open_low || p.open_high));
    });
    // Insertion, so that an end that cannot be ordered ends it.
    RealSet sorted;
    for (const Piece& p : set) {
      size_t at = sorted.size();
      while (at > 0 && starts_before(p, sorted[at - 1])) --at;
      sorted.insert(sorted.begin() + static_cast<std::ptrdiff_t>(at), p);
    }
    set.clear();
    for (const Piece& p : sorted) {
      if (!set.empty()) {
        Piece& last = set.back();
        const int c = compare(p.low, last.high);
        if (c < 0 || (c == 0 && !(p.open_low && last.open_high))) {
          const int ends = compare(p.high, last.high);
          if (ends > 0) {
            last.high = p.high;
            last.open_high = p.open_high;
          } else if (ends == 0) {
            last.open_high = last.open_high && p.open_high;
          }
          continue;
        }
      }
      set.push_back(p);
    }
  }

 private:
  Expr bare(Expr x) { return x->is(Kind::kRounded) ? (*x)[0] : x; }

  int compare(Expr a, Expr b) {
    if (a == b) return 0;
    if (a == minus_ || b == inf_) return -1;
    if (a == inf_ || b == minus_) return 1;
    int sign = 0;
    if (!arithmetic(a) || !arithmetic(b) || !sign_of(a_, a_.difference(a, b), sign)) throw Unordered{};
    return sign;
  }

  bool starts_before(const Piece& a, const Piece& b) {
    const int c = compare(a.low, b.low);
    return c < 0 || (c == 0 && !a.open_low && b.open_low);
  }

  RealSet complement(const RealSet& set) {
    RealSet out;
    Expr from = minus_;
    bool open = true;
    for (const Piece& p : set) {
      out.push_back({from, p.low, open, !p.open_low});
      from = p.high;
      open = !p.open_high;
    }
    out.push_back({from, inf_, open, true});
    return out;
  }

  RealSet intersect(const RealSet& one, const RealSet& two) {
    RealSet out;
    for (const Piece& p : one) {
      for (const Piece& q : two) {
        const int low = compare(p.low, q.low);
        const int high = compare(p.high, q.high);
        out.push_back({low >= 0 ? p.low : q.low, high <= 0 ? p.high : q.high,
                       low > 0   ? p.open_low
                       : low < 0 ? q.open_low
                                 : p.open_low || q.open_low,
                       high < 0   ? p.open_high
                       : high > 0 ? q.open_high
                                  : p.open_high || q.open_high});
      }
    }
    return out;
  }

  bool inequality(Expr x, RealSet& out) {
    const bool strict = x->name == "<";
    const Expr l = bare((*x)[0]);
    const Expr r = bare((*x)[1]);
    if (x->name == "!=") {
      if (!is_name(l) || !arithmetic(r)) return false;
      out.push_back({minus_, r, true, true});
      out.push_back({r, inf_, true, true});
      return true;
    }
    if (!strict && x->name != "<=") return false;
    if (is_name(l)) {
      out.push_back({minus_, r, true, strict});
    } else if (is_name(r)) {
      out.push_back({l, inf_, strict, true});
    } else {
      return false;
    }
    return true;
  }

  bool chain(Expr x, RealSet& out) {
    if (x->n_args != 2) return false;
    Expr a = (*x)[0];
    Expr b = (*x)[1];
    if ((*a)[1] != (*b)[0]) std::swap(a, b);  // x > a turned round
    if ((*a)[1] != (*b)[0] || !is_name((*a)[1])) return false;
    for (Expr y : {a, b}) {
      if (y->name != "<" && y->name != "<=") return false;
    }
    out.push_back({bare((*a)[0]), bare((*b)[1]), a->name == "<", b->name == "<"});
    return true;
  }

  Arena& a_;
  Expr inf_;
  Expr minus_;
};

bool upper_letter(Expr x) {
  return x->is(Kind::kSymbol) && x->name[0] >= 'A' && x->name[0] <= 'Z' && (x->name.size() == 1 || x->name[1] == '_');
}

}  // namespace

bool to_real_set(Arena& arena, Expr x, bool relations, RealSet& out) {
  try {
    Builder builder(arena);
    if (!builder.build(x, relations, out)) return false;
    builder.normalise(out);
    return true;
  } catch (const Unordered&) {
    return false;
  }
}

bool is_name(Expr x) {
  switch (x->kind) {
    case Kind::kSymbol:
      return true;
    case Kind::kFunction:
      return x->name.starts_with("call:") || x->name.starts_with("op:") || x->name == "abs";
    case Kind::kTuple:
    case Kind::kList:
      return std::all_of(x->args, x->args + x->n_args, is_name);
    case Kind::kProduct:
      return std::all_of(x->args, x->args + x->n_args, [](Expr y) {
        return upper_letter(y) || (y->is(Kind::kPower) && upper_letter((*y)[0]) && is_integer((*y)[1]));
      });
    case Kind::kQuantity:
      return is_name((*x)[0]);
    default:
      return false;
  }
}

}  // namespace deepsearch::math
