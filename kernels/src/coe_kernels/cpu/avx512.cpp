// bfloat16 weights with AVX-512's float32 arithmetic: for CPUs without its bfloat16 dot product, and for Intel's, where
// that has a quarter of the rate per product's bytes: two cycles for 32 products, of which float32 does 64.
#include "moe.h"

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__)
#include "vector.h"

namespace coe {
namespace {

using Row = float;

struct Weights {
    __m512 even[2], odd[2];
};

inline Weights load(const char* panel) {
    Weights weights;
    for (int half = 0; half < 2; ++half) {
        const __m512i both = _mm512_loadu_si512(panel + 64 * half);
        weights.even[half] = _mm512_castsi512_ps(_mm512_slli_epi32(both, 16));
        weights.odd[half] = _mm512_castsi512_ps(_mm512_and_si512(both, _mm512_set1_epi32(int(0xffff0000u))));
    }
    return weights;
}

inline void add(const float* row, int64_t at, const Weights& weights, __m512& left, __m512& right) {
    const __m512 even = _mm512_set1_ps(row[at]), odd = _mm512_set1_ps(row[at + 1]);
    left = _mm512_fmadd_ps(even, weights.even[0], left);
    right = _mm512_fmadd_ps(even, weights.even[1], right);
    left = _mm512_fmadd_ps(odd, weights.odd[0], left);
    right = _mm512_fmadd_ps(odd, weights.odd[1], right);
}

inline void store(float* out, __m512 values) { _mm512_storeu_ps(out, values); }

}  // namespace
}  // namespace coe

#include "avx512_loops.h"

namespace coe {
namespace {
constexpr Kernel kKernel = {gate_up, down, nullptr, nullptr, true};
}
const Kernel* avx512() { return &kKernel; }
}  // namespace coe

#else
const coe::Kernel* coe::avx512() { return nullptr; }
#endif
