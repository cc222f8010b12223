// What the AVX-512 and AMX loops share: silu(gate) * up, and adding a scaled product.
#pragma once
#include <immintrin.h>

#include <cstdint>

namespace coe {
namespace {

// exp, to about 1e-7 of itself; overflows to infinity and underflows to zero as it should.
inline __m512 exp512(__m512 x) {
    const __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504f)), 0);
    __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375f), x);
    r = _mm512_fnmadd_ps(n, _mm512_set1_ps(-2.12194440e-4f), r);
    __m512 p = _mm512_set1_ps(1.9875691500e-4f);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.3981999507e-3f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(8.3334519073e-3f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(4.1665795894e-2f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.6666665459e-1f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(5.0000001201e-1f));
    p = _mm512_fmadd_ps(p, _mm512_mul_ps(r, r), _mm512_add_ps(r, _mm512_set1_ps(1.0f)));
    return _mm512_scalef_ps(p, n);
}

inline __m512 swiglu(__m512 gate, __m512 up) {
    // Bounded to where exp512 has no inf - inf. A NaN is lost here, and comes back by the factor `gate`.
    const __m512 negative = _mm512_sub_ps(_mm512_setzero_ps(), gate);
    const __m512 bounded = _mm512_min_ps(_mm512_max_ps(negative, _mm512_set1_ps(-120.f)), _mm512_set1_ps(120.f));
    const __m512 one = _mm512_set1_ps(1.0f);
    return _mm512_mul_ps(_mm512_mul_ps(gate, _mm512_div_ps(one, _mm512_add_ps(one, exp512(bounded)))), up);
}

inline void add_scaled(float* out, float scale, __m512 left, __m512 right) {
    const __m512 by = _mm512_set1_ps(scale);
    _mm512_storeu_ps(out, _mm512_fmadd_ps(by, left, _mm512_loadu_ps(out)));
    _mm512_storeu_ps(out + 16, _mm512_fmadd_ps(by, right, _mm512_loadu_ps(out + 16)));
}

// How far ahead of its use a panel is fetched from memory. The hardware's own prefetcher stops at every page.
constexpr int64_t kAheadBytes = 8192;

inline void fetch(const char* at) { _mm_prefetch(at + kAheadBytes, _MM_HINT_T0); }

}  // namespace
}  // namespace coe
