// 8-bit weights with AVX-512's float32 arithmetic: few rows are bound by memory, so what counts is to read little.
#include "int8.h"

#include "moe.h"

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__)
#include "vector.h"

namespace coe {
namespace {

inline __m512 weights(const char* line) {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(line))));
}

inline __m512 scales(const char* at) {
    const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}

template <int Rows>
inline void product(const float* x, const char* panel, int64_t k, __m512* left, __m512* right) {
    for (int row = 0; row < Rows; ++row) left[row] = right[row] = _mm512_setzero_ps();
    for (int64_t start = 0; start < k; start += kGroup) {
        const __m512 scale_left = scales(panel), scale_right = scales(panel + 32);
        fetch(panel);
        panel += kScaleBytes;
        // Two sums each hide the latency of the additions where there is one row.
        __m512 l[2][Rows], r[2][Rows];
        for (int row = 0; row < Rows; ++row) l[0][row] = l[1][row] = r[0][row] = r[1][row] = _mm512_setzero_ps();
        for (int64_t at = 0; at < kGroup; at += 2, panel += 64) {
            fetch(panel);
#pragma GCC unroll 2
            for (int odd = 0; odd < 2; ++odd) {
                const __m512 a = weights(panel + 32 * odd), b = weights(panel + 32 * odd + 16);
#pragma GCC unroll 3
                for (int row = 0; row < Rows; ++row) {
                    const __m512 by = _mm512_set1_ps(x[row * (k + kRowPad) + start + at + odd]);
                    l[odd][row] = _mm512_fmadd_ps(by, a, l[odd][row]);
                    r[odd][row] = _mm512_fmadd_ps(by, b, r[odd][row]);
                }
            }
        }
        for (int row = 0; row < Rows; ++row) {
            left[row] = _mm512_fmadd_ps(scale_left, _mm512_add_ps(l[0][row], l[1][row]), left[row]);
            right[row] = _mm512_fmadd_ps(scale_right, _mm512_add_ps(r[0][row], r[1][row]), right[row]);
        }
    }
}

// To nearest, ties to even; infinities and NaNs stay what they are.
inline __m512i rounded(__m512 values) {
    const __m512i bits = _mm512_castps_si512(values);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i up = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    const __mmask16 finite = _mm512_cmp_ps_mask(values, values, _CMP_ORD_Q);
    return _mm512_mask_mov_epi32(_mm512_or_si512(bits, _mm512_set1_epi32(0x400000)), finite, up);
}

template <int Rows>
void gate_up_rows(const float* x, const char* panel, int64_t k, void* inner, int64_t ld, bool wide) {
    __m512 gate[Rows], up[Rows];
    product<Rows>(x, panel, k, gate, up);
    for (int row = 0; row < Rows; ++row) {
        const __m512 values = swiglu(gate[row], up[row]);
        if (wide)
            _mm512_storeu_ps(static_cast<float*>(inner) + row * ld, values);
        else
            _mm256_storeu_si256(reinterpret_cast<__m256i*>(static_cast<uint16_t*>(inner) + row * ld),
                                _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded(values), 16)));
    }
}

template <int Rows>
void down_rows(const float* inner, const char* panel, int64_t k, const float* scale, const int32_t* tokens, float* sums,
               int64_t ld) {
    __m512 left[Rows], right[Rows];
    product<Rows>(inner, panel, k, left, right);
    for (int row = 0; row < Rows; ++row) add_scaled(sums + tokens[row] * ld, scale[row], left[row], right[row]);
}

void gate_up(const float* x, int64_t rows, const char* panel, int64_t k, void* inner, int64_t ld, bool wide) {
    if (rows == 1) return gate_up_rows<1>(x, panel, k, inner, ld, wide);
    if (rows == 2) return gate_up_rows<2>(x, panel, k, inner, ld, wide);
    gate_up_rows<3>(x, panel, k, inner, ld, wide);
}

void down(const float* inner, int64_t rows, const char* panel, int64_t k, const float* scale, const int32_t* tokens,
          float* sums, int64_t ld) {
    if (rows == 1) return down_rows<1>(inner, panel, k, scale, tokens, sums, ld);
    if (rows == 2) return down_rows<2>(inner, panel, k, scale, tokens, sums, ld);
    down_rows<3>(inner, panel, k, scale, tokens, sums, ld);
}

void widen(const char* panel, int64_t k, uint16_t* out) {
    const __m512i upper = _mm512_set1_epi32(int(0xffff0000u));
    for (int64_t start = 0; start < k; start += kGroup) {
        const __m512 by[2] = {scales(panel), scales(panel + 32)};
        panel += kScaleBytes;
        for (int64_t at = 0; at < kGroup; at += 2, panel += 64, out += 64) {
            fetch(panel);
            for (int side = 0; side < 2; ++side) {
                const __m512i even = rounded(_mm512_mul_ps(by[side], weights(panel + 16 * side)));
                const __m512i odd = rounded(_mm512_mul_ps(by[side], weights(panel + 32 + 16 * side)));
                _mm512_storeu_si512(out + 32 * side,
                                    _mm512_or_si512(_mm512_srli_epi32(even, 16), _mm512_and_si512(odd, upper)));
            }
        }
    }
}

constexpr Int8Kernel kKernel = {gate_up, down, widen};

}  // namespace

const Int8Kernel* avx512_int8() { return &kKernel; }

}  // namespace coe

#else
const coe::Int8Kernel* coe::avx512_int8() { return nullptr; }
#endif
