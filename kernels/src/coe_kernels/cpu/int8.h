// Weights of 8 bits: a scale for each 16 of a column. Sizes are multiples of 32.
//
// A panel has the same 32 columns as in moe.h. For each 16 in K: 32 scales in bfloat16, then 16 lines of 32 columns,
// each weight round(value / scale). That is 1.125 bytes per weight, read from the first to the last.
#pragma once
#include <cstdint>

namespace coe {

constexpr int64_t kGroup = 16;
constexpr int64_t kScaleBytes = 32 * 2;
constexpr int64_t kGroupBytes = kScaleBytes + kGroup * 32;
constexpr int64_t kDirectRows = 3;  // up to so many rows the weights are read once and multiplied as they come

inline int64_t int8_panel(int64_t k) { return k / kGroup * kGroupBytes; }

struct Int8Kernel {
    // As those of Kernel, but rows are float32 and lie k + kRowPad apart; `inner` is bfloat16, or float32 if `wide`.
    void (*gate_up)(const float* x, int64_t rows, const char* panel, int64_t k, void* inner, int64_t ld, bool wide);
    void (*down)(const float* inner, int64_t rows, const char* panel, int64_t k, const float* scale,
                 const int32_t* tokens, float* sums, int64_t ld);
    // The panel as moe.h has it for bfloat16.
    void (*widen)(const char* panel, int64_t k, uint16_t* out);
};

// Null where the compiler does not know the instructions.
const Int8Kernel* avx512_int8();
// For any CPU, without direct products.
void widen_portable(const char* panel, int64_t k, uint16_t* out);
// Quantises one expert's matrix, bfloat16, of `rows` output rows over k.
void pack_int8(const uint16_t* plain, int64_t rows, int64_t k, bool interleaved, char* packed);

}  // namespace coe
