#include "verify/expression.h"

#include <algorithm>
#include <cstring>

namespace deepsearch::math {

namespace {

constexpr size_t kChunkBytes = size_t{64} << 10;

uint64_t mix(uint64_t h, uint64_t x) {
  h ^= x + 0x9e3779b97f4a7c15ULL + (h << 6) + (h >> 2);
  h *= 0xff51afd7ed558ccdULL;
  return h ^ (h >> 32);
}

uint64_t hash_limbs(uint64_t h, const mpz_class& z) {
  const mpz_srcptr raw = z.get_mpz_t();
  h = mix(h, static_cast<uint64_t>(mpz_sgn(raw) + 2));
  for (size_t i = 0; i < mpz_size(raw); ++i) h = mix(h, mpz_getlimbn(raw, static_cast<mp_size_t>(i)));
  return h;
}

uint64_t hash_text(uint64_t h, std::string_view text) {
  for (const char c : text) h = mix(h, static_cast<unsigned char>(c));
  return h;
}

bool before(Expr a, Expr b) {
  return a->hash != b->hash ? a->hash < b->hash : a->order < b->order;
}

size_t bytes_of(const mpq_class& value) {
  return sizeof(mpq_class) +
         (mpz_size(value.get_num().get_mpz_t()) + mpz_size(value.get_den().get_mpz_t())) * sizeof(mp_limb_t);
}

size_t bits(const mpz_class& z) {
  return mpz_sizeinbase(z.get_mpz_t(), 2);
}

struct Term {
  Expr rest;
  mpq_class coefficient;
};

}  // namespace

void Arena::reset() {
  reset(limits_.steps);
}

void Arena::reset(int64_t steps) {
  steps_ = steps;
  bytes_ = 0;
  chunk_ = 0;
  used_ = 0;
  n_nodes_ = 0;
  numbers_.clear();
  if (table_.size() > 1024 || table_.empty()) {
    table_.assign(256, nullptr);
  } else {
    std::fill(table_.begin(), table_.end(), nullptr);
  }
  large_.clear();
  if (chunks_.size() > 4) chunks_.resize(4);
}

void Arena::spend(int64_t steps) {
  steps_ -= steps;
  if (steps_ < 0) {
    steps_ = 0;
    throw Overrun{};
  }
}

void* Arena::take(size_t bytes) {
  bytes = (bytes + 15) & ~size_t{15};
  bytes_ += bytes;
  if (bytes_ > limits_.bytes) throw Overrun{};
  if (bytes > kChunkBytes / 4) {
    return large_.emplace_back(std::make_unique<std::byte[]>(bytes)).get();
  }
  if (chunk_ < chunks_.size() && used_ + bytes > kChunkBytes) {
    ++chunk_;
    used_ = 0;
  }
  if (chunk_ >= chunks_.size()) {
    chunks_.push_back(std::make_unique<std::byte[]>(kChunkBytes));
    used_ = 0;
  }
  void* place = chunks_[chunk_].get() + used_;
  used_ += bytes;
  return place;
}

void Arena::check_size(const mpq_class& value) const {
  if (bits(value.get_num()) > limits_.bits || bits(value.get_den()) > limits_.bits) throw Overrun{};
}

void Arena::grow_table() {
  std::vector<Expr> old = std::move(table_);
  table_.assign(old.size() * 4, nullptr);
  for (Expr node : old) {
    if (node == nullptr) continue;
    size_t slot = node->hash & (table_.size() - 1);
    while (table_[slot] != nullptr) slot = (slot + 1) & (table_.size() - 1);
    table_[slot] = node;
  }
}

Expr Arena::make(Kind kind, std::string_view name, const Exprs& args, uint32_t tag, const mpq_class* value) {
  spend(1 + static_cast<int64_t>(args.size()) / 4);
  uint64_t hash = mix(static_cast<uint64_t>(kind) + 1, tag);
  hash = hash_text(hash, name);
  if (value != nullptr) hash = hash_limbs(hash_limbs(hash, value->get_num()), value->get_den());
  for (Expr arg : args) hash = mix(hash, arg->hash);
  if (n_nodes_ * 2 > table_.size()) grow_table();
  size_t slot = hash & (table_.size() - 1);
  for (; table_[slot] != nullptr; slot = (slot + 1) & (table_.size() - 1)) {
    Expr other = table_[slot];
    if (other->hash == hash && other->kind == kind && other->tag == tag && other->name == name &&
        std::equal(args.begin(), args.end(), other->args, other->args + other->n_args) &&
        (value == nullptr || *value == *other->value)) {
      return other;
    }
  }
  auto* node = new (take(sizeof(Node))) Node{};
  node->kind = kind;
  node->tag = tag;
  node->hash = hash;
  node->order = n_nodes_++;
  node->n_args = static_cast<uint32_t>(args.size());
  if (!name.empty()) {
    char* text = static_cast<char*>(take(name.size()));
    std::memcpy(text, name.data(), name.size());
    node->name = {text, name.size()};
  }
  if (!args.empty()) {
    auto* copy = static_cast<Expr*>(take(args.size() * sizeof(Expr)));
    std::copy(args.begin(), args.end(), copy);
    node->args = copy;
  }
  if (value != nullptr) {
    check_size(*value);
    bytes_ += bytes_of(*value);
    if (bytes_ > limits_.bytes) throw Overrun{};
    node->value = &numbers_.emplace_back(*value);
  }
  table_[slot] = node;
  return node;
}

Expr Arena::number(const mpq_class& value) {
  return make(Kind::kNumber, {}, {}, 0, &value);
}

Expr Arena::sum(const Exprs& terms) {
  mpq_class constant = 0;
  std::vector<Term> kept;
  const auto add_one = [&](Expr x) {
    spend(1);
    if (x->is(Kind::kNumber)) {
      constant += *x->value;
      check_size(constant);
    } else if (x->is(Kind::kProduct) && (*x)[0]->is(Kind::kNumber)) {
      const Exprs rest(x->args + 1, x->args + x->n_args);
      kept.push_back({rest.size() == 1 ? rest[0] : make(Kind::kProduct, {}, rest), *(*x)[0]->value});
    } else {
      kept.push_back({x, 1});
    }
  };
  for (Expr x : terms) {
    if (x->is(Kind::kSum)) {
      for (Expr y : x->children()) add_one(y);
    } else {
      add_one(x);
    }
  }
  std::sort(kept.begin(), kept.end(), [](const Term& a, const Term& b) { return before(a.rest, b.rest); });
  Exprs out;
  if (constant != 0) out.push_back(number(constant));
  for (size_t i = 0; i < kept.size();) {
    mpq_class c = kept[i].coefficient;
    size_t j = i + 1;
    for (; j < kept.size() && kept[j].rest == kept[i].rest; ++j) c += kept[j].coefficient;
    // ∞ − ∞ is not zero.
    if (kept[i].rest->is(Kind::kInfinity) && j > i + 1) {
      out.push_back(make(Kind::kFunction, "undefined", {}));
    } else if (c == 1) {
      out.push_back(kept[i].rest);
    } else if (c != 0) {
      Exprs parts{number(c)};
      if (kept[i].rest->is(Kind::kProduct)) {
        parts.insert(parts.end(), kept[i].rest->args, kept[i].rest->args + kept[i].rest->n_args);
      } else {
        parts.push_back(kept[i].rest);
      }
      out.push_back(make(Kind::kProduct, {}, parts));
    }
    i = j;
  }
  if (out.empty()) return number(0L);
  return out.size() == 1 ? out[0] : make(Kind::kSum, {}, out);
}

Expr Arena::product(const Exprs& factors) {
  mpq_class coefficient = 1;
  struct Factor {
    Expr base;
    Expr exponent;
  };
  std::vector<Factor> kept;
  const auto add_one = [&](Expr x) {
    spend(1);
    if (x->is(Kind::kNumber)) {
      coefficient *= *x->value;
      check_size(coefficient);
    } else if (x->is(Kind::kPower)) {
      kept.push_back({(*x)[0], (*x)[1]});
    } else {
      kept.push_back({x, nullptr});
    }
  };
  for (Expr x : factors) {
    if (x->is(Kind::kProduct)) {
      for (Expr y : x->children()) add_one(y);
    } else {
      add_one(x);
    }
  }
  std::sort(kept.begin(), kept.end(), [](const Factor& a, const Factor& b) { return before(a.base, b.base); });
  Exprs out;
  bool undefined = false;
  for (size_t i = 0; i < kept.size();) {
    size_t j = i + 1;
    while (j < kept.size() && kept[j].base == kept[i].base) ++j;
    Expr factor = nullptr;
    if (j == i + 1) {
      factor = kept[i].exponent == nullptr ? kept[i].base : make(Kind::kPower, {}, {kept[i].base, kept[i].exponent});
    } else {
      Exprs exponents;
      for (size_t k = i; k < j; ++k) exponents.push_back(kept[k].exponent ? kept[k].exponent : number(1));
      factor = power(kept[i].base, sum(exponents));
    }
    undefined = undefined || contains_kind(factor, Kind::kInfinity) || factor->is(Kind::kFunction, "undefined");
    if (factor->is(Kind::kNumber)) {
      coefficient *= *factor->value;
      check_size(coefficient);
    } else if (factor->is(Kind::kProduct)) {
      for (Expr y : factor->children()) {
        if (y->is(Kind::kNumber)) {
          coefficient *= *y->value;
        } else {
          out.push_back(y);
        }
      }
    } else {
      out.push_back(factor);
    }
    i = j;
  }
  if (coefficient == 0) return undefined ? make(Kind::kFunction, "undefined", {}) : number(0L);
  std::sort(out.begin(), out.end(), before);
  if (out.empty()) return number(coefficient);
  if (out.size() == 1 && coefficient == 1) return out[0];
  // A number times a sum is a sum, so that -(a-b) and b-a are one.
  if (out.size() == 1 && out[0]->is(Kind::kSum)) {
    Exprs terms;
    for (Expr y : out[0]->children()) terms.push_back(product({number(coefficient), y}));
    return sum(terms);
  }
  // ∞ takes in positive factors.
  if (out.size() == 1 && out[0]->is(Kind::kInfinity)) coefficient = coefficient > 0 ? 1 : -1;
  if (out.size() == 1 && coefficient == 1) return out[0];
  if (coefficient == 1) return make(Kind::kProduct, {}, out);
  Exprs with_number{number(coefficient)};
  with_number.insert(with_number.end(), out.begin(), out.end());
  return make(Kind::kProduct, {}, with_number);
}

Expr Arena::number_power(const mpq_class& base, const mpq_class& exponent) {
  if (base == 0) {
    if (exponent > 0) return number(0L);
    return make(Kind::kFunction, "undefined", {});
  }
  if (base == 1) return number(1);
  if (exponent.get_den() != 1) {
    // An exact root, where there is one.
    if (base < 0 || !exponent.get_den().fits_ulong_p() || exponent.get_den() > 1000) return nullptr;
    const unsigned long n = exponent.get_den().get_ui();
    mpz_class top;
    mpz_class bottom;
    spend(static_cast<int64_t>((bits(base.get_num()) + bits(base.get_den())) / 512));
    if (mpz_root(top.get_mpz_t(), base.get_num().get_mpz_t(), n) == 0 ||
        mpz_root(bottom.get_mpz_t(), base.get_den().get_mpz_t(), n) == 0) {
      return nullptr;
    }
    return power(number(mpq_class(top, bottom)), number(mpq_class(exponent.get_num())));
  }
  if (base == -1) return number(mpz_even_p(exponent.get_num().get_mpz_t()) != 0 ? 1 : -1);
  const mpz_class n = abs(exponent.get_num());
  const size_t size = std::max(bits(base.get_num()), bits(base.get_den()));
  if (!n.fits_ulong_p() || n.get_ui() > limits_.bits || n.get_ui() * size > limits_.bits) return nullptr;
  spend(static_cast<int64_t>(n.get_ui() * size / 256));
  mpq_class result;
  mpz_pow_ui(result.get_num_mpz_t(), base.get_num().get_mpz_t(), n.get_ui());
  mpz_pow_ui(result.get_den_mpz_t(), base.get_den().get_mpz_t(), n.get_ui());
  if (exponent < 0) result = 1 / result;
  return number(result);
}

Expr Arena::power(Expr base, Expr exponent) {
  if (exponent->is(Kind::kNumber)) {
    if (*exponent->value == 1) return base;
    if (*exponent->value == 0) {
      return base->is(Kind::kNumber) && *base->value == 0 ? make(Kind::kFunction, "undefined", {}) : number(1);
    }
    if (base->is(Kind::kNumber)) {
      if (Expr folded = number_power(*base->value, *exponent->value)) return folded;
    }
    if (is_integer(exponent)) {
      if (base->is(Kind::kPower)) return power((*base)[0], product({(*base)[1], exponent}));
      if (base->is(Kind::kProduct)) {
        Exprs factors;
        for (Expr x : base->children()) factors.push_back(power(x, exponent));
        return product(factors);
      }
      if (base->is(Kind::kConstant, "i")) {
        switch (mpz_fdiv_ui(exponent->value->get_num().get_mpz_t(), 4)) {
          case 0:
            return number(1);
          case 1:
            return base;
          case 2:
            return number(-1);
          default:
            return negate(base);
        }
      }
    }
    if (base->is(Kind::kInfinity)) return *exponent->value > 0 ? base : number(0L);
    // √(−n) = i√n.
    if (base->is(Kind::kNumber) && *base->value < 0 && *exponent->value == mpq_class(1, 2)) {
      return product({constant("i"), power(number(-*base->value), exponent)});
    }
  }
  if (base->is(Kind::kNumber) && *base->value == 1) return base;
  return make(Kind::kPower, {}, {base, exponent});
}

Expr Arena::fold_function(std::string_view name, const Exprs& args) {
  if (name == "sqrt") return power(args[0], number(mpq_class(1, 2)));
  if (name == "exp") return power(constant("e"), args[0]);
  if (!args[0]->is(Kind::kNumber)) return nullptr;
  const mpq_class& x = *args[0]->value;
  if (name == "abs") return number(abs(x));
  if (name == "ln" && x == 1) return number(0L);
  if (name == "floor" || name == "ceil") {
    mpz_class out;
    if (name == "floor") {
      mpz_fdiv_q(out.get_mpz_t(), x.get_num().get_mpz_t(), x.get_den().get_mpz_t());
    } else {
      mpz_cdiv_q(out.get_mpz_t(), x.get_num().get_mpz_t(), x.get_den().get_mpz_t());
    }
    return number(mpq_class(out));
  }
  if (name == "factorial" && x.get_den() == 1 && x >= 0 && x <= 5000) {
    mpz_class out;
    spend(static_cast<int64_t>(x.get_num().get_ui() / 8));
    mpz_fac_ui(out.get_mpz_t(), x.get_num().get_ui());
    return number(mpq_class(out));
  }
  if (name == "binomial" && is_integer(args[0]) && is_integer(args[1]) && x >= 0 && x <= 5000) {
    const mpq_class& k = *args[1]->value;
    if (k < 0 || k > x) return number(0L);
    mpz_class out;
    spend(static_cast<int64_t>(x.get_num().get_ui() / 8));
    mpz_bin_uiui(out.get_mpz_t(), x.get_num().get_ui(), k.get_num().get_ui());
    return number(mpq_class(out));
  }
  if ((name == "gcd" || name == "lcm") && args.size() == 2 && is_integer(args[0]) && is_integer(args[1])) {
    const mpz_class g = gcd(x.get_num(), args[1]->value->get_num());
    return number(mpq_class(name == "gcd" ? g : lcm(x.get_num(), args[1]->value->get_num())));
  }
  return nullptr;
}

Expr Arena::function(std::string_view name, const Exprs& args) {
  if (!args.empty()) {
    if (Expr folded = fold_function(name, args)) return folded;
  }
  return make(Kind::kFunction, name, args);
}

Expr Arena::substitute(Expr x, Expr what, Expr with) {
  spend(1);
  if (x == what) return with;
  if (x->n_args == 0 || !contains(x, what)) return x;
  Exprs args;
  for (Expr y : x->children()) args.push_back(substitute(y, what, with));
  switch (x->kind) {
    case Kind::kSum:
      return sum(args);
    case Kind::kProduct:
      return product(args);
    case Kind::kPower:
      return power(args[0], args[1]);
    case Kind::kFunction:
      return function(x->name, args);
    default:
      return make(x->kind, x->name, args, x->tag, x->value);
  }
}

bool contains(Expr x, Expr part) {
  if (x == part) return true;
  return std::any_of(x->args, x->args + x->n_args, [&](Expr y) { return contains(y, part); });
}

bool contains_kind(Expr x, Kind kind) {
  if (x->kind == kind) return true;
  return std::any_of(x->args, x->args + x->n_args, [&](Expr y) { return contains_kind(y, kind); });
}

}  // namespace deepsearch::math
