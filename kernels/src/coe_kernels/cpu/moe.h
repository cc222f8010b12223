// A mixture-of-experts layer on a CPU: what the driver and the instruction sets agree on.
//
// Weights are packed once (coe_pack). K is always padded with zeros to a multiple of 32, so that no kernel has a tail:
//   panel = 32 output columns over all of K, stored [K/2][32][2]: two neighbours in K lie side by side, as the bfloat16
//   dot product of AVX-512 and the tiles of AMX want them. A panel is read from its first byte to its last.
//   w13: 16 gate columns and the 16 up columns of the same places make a panel, so that SwiGLU happens in registers.
//   w2:  32 columns of the layer's output make a panel.
// A packed matrix is as large as the plain one where the sizes are multiples of 32.
#pragma once
#include <cstdint>

namespace coe {

enum Type : int { kFloat32 = 0, kBfloat16 = 1, kFloat16 = 2 };

constexpr int64_t kPanel = 32;  // columns
// Rows lie so many elements further apart than K: powers of two would put them all into the same sets of a cache.
constexpr int64_t kRowPad = 32;
constexpr int64_t kRowSlack = 32;  // rows that a kernel may read behind the last, whatever they hold

inline int64_t padded(int64_t size) { return (size + 31) / 32 * 32; }

// One instruction set's inner loops for one element type. Rows begin every `k` + kRowPad elements.
struct Kernel {
    // inner[row * ld + 0..15] = silu(gate) * up of `rows` rows with one panel of w13.
    void (*gate_up)(const void* x, int64_t rows, const void* panel, int64_t k, void* inner, int64_t ld);
    // sums[tokens[row] * ld + 0..31] += scale[row] * (row's product with one panel of w2).
    void (*down)(const void* inner, int64_t rows, const void* panel, int64_t k, const float* scale,
                 const int32_t* tokens, float* sums, int64_t ld);
    // Around all calls of one thread; may be null.
    void (*begin)();
    void (*end)();
    bool wide;  // x and inner are float32, whatever the layer's type
};

const Kernel* portable(Type type);
// For bfloat16 only; null where the compiler does not know the instructions.
const Kernel* avx512();
const Kernel* avx512_bf16();
const Kernel* amx();

}  // namespace coe
