// bfloat16 with AVX-512's dot product.
#include "moe.h"

#if defined(__AVX512BF16__) && defined(__AVX512BW__) && defined(__AVX512VL__)
#include "vector.h"

namespace coe {
namespace {

using Row = uint16_t;

struct Weights {
    __m512bh left, right;
};

inline Weights load(const char* panel) {
    return {(__m512bh)_mm512_loadu_si512(panel), (__m512bh)_mm512_loadu_si512(panel + 64)};
}

inline void add(const uint16_t* row, int64_t at, const Weights& weights, __m512& left, __m512& right) {
    int32_t pair;
    __builtin_memcpy(&pair, row + at, 4);
    const __m512bh both = (__m512bh)_mm512_set1_epi32(pair);
    left = _mm512_dpbf16_ps(left, both, weights.left);
    right = _mm512_dpbf16_ps(right, both, weights.right);
}

inline void store(uint16_t* out, __m512 values) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), (__m256i)_mm512_cvtneps_pbh(values));
}

}  // namespace
}  // namespace coe

#include "avx512_loops.h"

namespace coe {
namespace {
constexpr Kernel kKernel = {gate_up, down, nullptr, nullptr, false};
}
const Kernel* avx512_bf16() { return &kKernel; }
}  // namespace coe

#else
const coe::Kernel* coe::avx512_bf16() { return nullptr; }
#endif
