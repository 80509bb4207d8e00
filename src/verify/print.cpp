#include "verify/expression.h"

namespace deepsearch::math {

namespace {

constexpr size_t kLongest = 2000;

const char* name_of(Kind kind) {
  switch (kind) {
    case Kind::kSum:
      return "sum";
    case Kind::kProduct:
      return "product";
    case Kind::kPower:
      return "power";
    case Kind::kRounded:
      return "decimal";
    case Kind::kPercent:
      return "percent";
    case Kind::kQuantity:
      return "quantity";
    case Kind::kBased:
      return "base";
    case Kind::kRatio:
      return "ratio";
    case Kind::kTuple:
      return "tuple";
    case Kind::kList:
      return "list";
    case Kind::kSet:
      return "set";
    case Kind::kUnion:
      return "union";
    case Kind::kIntersection:
      return "intersection";
    case Kind::kDifference:
      return "difference";
    case Kind::kMatrix:
      return "matrix";
    case Kind::kMember:
      return "member";
    case Kind::kChain:
      return "chain";
    case Kind::kWord:
      return "word";
    default:
      return "";
  }
}

void write(Expr x, std::string& out) {
  if (out.size() > kLongest) return;
  if (x->is(Kind::kNumber)) {
    out += mpz_sizeinbase(x->value->get_num().get_mpz_t(), 10) > 200 ? std::string("(a long number)")
                                                                     : x->value->get_str();
    return;
  }
  if (x->is(Kind::kInfinity)) out += "infinity";
  std::string head = name_of(x->kind);
  if (x->is(Kind::kTuple) && (x->tag & kVector) == 0) {
    head = (x->tag & kOpenLeft) != 0 ? "" : "closed-left ";
    head += (x->tag & kOpenRight) != 0 ? "tuple" : "tuple closed-right";
  }
  if (x->is(Kind::kBased)) head.append(" ").append(std::to_string(x->tag));
  if (x->is(Kind::kMatrix)) head.append(" of ").append(std::to_string(x->tag)).append(" columns");
  if (!x->name.empty()) {
    if (!head.empty()) head += " ";
    head += x->name;
  }
  out += head;
  if (x->n_args == 0) return;
  out += "(";
  for (uint32_t i = 0; i < x->n_args && out.size() <= kLongest; ++i) {
    if (i > 0) out += ", ";
    write((*x)[i], out);
  }
  out += ")";
}

}  // namespace

std::string to_text(Expr x) {
  std::string out;
  write(x, out);
  if (out.size() > kLongest) out = out.substr(0, kLongest) + " ...";
  return out;
}

}  // namespace deepsearch::math
