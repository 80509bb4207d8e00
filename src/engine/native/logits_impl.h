// What sampling asks of a row of logits, over the including file's vector types V and D (kernels_impl.h).
// NOLINTBEGIN(misc-definitions-in-headers,modernize-loop-convert): one copy an instruction set, index loops by register

float largest(const float* x, int64_t n) {
  if (n < kLanes) {
    float most = x[0];
    for (int64_t i = 1; i < n; ++i) most = most > x[i] ? most : x[i];
    return most;
  }
  // The last 16 overlap those before: a maximum does not mind.
  V most = V::load(x + n - kLanes);
  V other = most;
  int64_t i = 0;
  for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
    most = V::max(most, V::load(x + i));
    other = V::max(other, V::load(x + i + kLanes));
  }
  for (; i + kLanes <= n; i += kLanes) most = V::max(most, V::load(x + i));
  return V::max(most, other).maximum();
}

int64_t find(const float* x, int64_t n, float value) {
  const V wanted = V::broadcast(value);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const uint32_t equal = V::equal(V::load(x + i), wanted);
    if (equal != 0) return i + __builtin_ctz(equal);
  }
  for (; i < n; ++i) {
    if (x[i] == value) return i;
  }
  return n;
}

int64_t find_at_least(const float* x, int64_t n, float bound, uint32_t* out) {
  const V limit = V::broadcast(bound);
  int64_t found = 0;
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (uint32_t mask = V::at_least(V::load(x + i), limit); mask != 0; mask &= mask - 1) {
      out[found++] = static_cast<uint32_t>(i + __builtin_ctz(mask));
    }
  }
  for (; i < n; ++i) {
    if (x[i] >= bound) out[found++] = static_cast<uint32_t>(i);
  }
  return found;
}

void exp_shifted(const float* x, int64_t n, float shift, float scale, float* out) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    exp_lanes(V::mul(V::sub(V::load(x + i), V::broadcast(shift)), V::broadcast(scale))).store(out + i);
  }
  if (i < n) {
    const V last = V::load_first(x + i, n - i);
    exp_lanes(V::mul(V::sub(last, V::broadcast(shift)), V::broadcast(scale))).store_first(out + i, n - i);
  }
}

double exp_sums(const float* x, int64_t n, float shift, float scale, double* chunk_sums) {
  D weighted = D::zero();
  for (int64_t first = 0; first < n; first += kSumChunk) {
    const int64_t end = n - first < kSumChunk ? n : first + kSumChunk;
    D sum = D::zero();
    int64_t i = first;
    for (; i + kLanes <= end; i += kLanes) {
      const V y = V::mul(V::sub(V::load(x + i), V::broadcast(shift)), V::broadcast(scale));
      const V e = exp_lanes(y);
      sum = D::add(sum, e);
      weighted = D::fma(e, y, weighted);
    }
    if (i < end) {
      // Lanes past the end: y = 0 would count e = 1, so both are cut.
      const V y =
          V::first(V::mul(V::sub(V::load_first(x + i, end - i), V::broadcast(shift)), V::broadcast(scale)), end - i);
      const V e = V::first(exp_lanes(y), end - i);
      sum = D::add(sum, e);
      weighted = D::fma(e, y, weighted);
    }
    chunk_sums[first / kSumChunk] = sum.sum();
  }
  return weighted.sum();
}

// NOLINTEND(misc-definitions-in-headers,modernize-loop-convert)
