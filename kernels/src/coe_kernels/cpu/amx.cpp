// bfloat16 with AMX: tiles of 16 rows by 16 columns, 32 rows by 32 columns at a time. Small groups of rows, which are
// bound by memory anyway, go to AVX-512, whose sums need no tile.
#include "moe.h"

#if defined(__AMX_BF16__) && defined(__AVX512BF16__)
#include "vector.h"

namespace coe {
namespace {

constexpr int64_t kFew = 1;  // rows; measured: from here on tiles are not slower

struct alignas(64) Tiles {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

// Not a local: compilers see only the first bytes of what is loaded, and drop the stores to the rest.
const Tiles kTiles;

void begin() { _tile_loadconfig(&kTiles); }

void end() { _tile_release(); }

// Tiles 0 to 3 hold the sums, 4 and 5 rows, 6 and 7 columns.
inline void product32(const uint16_t* x, const char* panel, int64_t k) {
    const char* upper = reinterpret_cast<const char*>(x);
    const int64_t stride = 2 * (k + kRowPad);
    const char* lower = upper + 16 * stride;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t at = 0; at < k; at += 32, panel += 2048) {
        for (int line = 0; line < 2048; line += 64) fetch(panel + 2048 + line);
        _tile_loadd(4, upper + 2 * at, stride);
        _tile_loadd(6, panel, 128);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, panel + 64, 128);
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(5, lower + 2 * at, stride);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
}

inline void product16(const uint16_t* x, const char* panel, int64_t k) {
    const char* upper = reinterpret_cast<const char*>(x);
    const int64_t stride = 2 * (k + kRowPad);
    _tile_zero(0);
    _tile_zero(1);
    for (int64_t at = 0; at < k; at += 32, panel += 2048) {
        for (int line = 0; line < 2048; line += 64) fetch(panel + 2048 + line);
        _tile_loadd(4, upper + 2 * at, stride);
        _tile_loadd(6, panel, 128);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, panel + 64, 128);
        _tile_dpbf16ps(1, 4, 7);
    }
}

// Calls finish(row, left 16 sums, right 16 sums) for each of the rows. Rows behind the last are read but not used.
template <class Finish>
inline void products(const uint16_t* x, int64_t rows, const char* panel, int64_t k, Finish finish) {
    alignas(64) float sums[4][16][16];
    for (int64_t start = 0; start < rows; start += 32) {
        const int64_t left = rows - start;
        if (left > 16) {
            product32(x + start * (k + kRowPad), panel, k);
            _tile_stored(2, sums[2], 64);
            _tile_stored(3, sums[3], 64);
        } else {
            product16(x + start * (k + kRowPad), panel, k);
        }
        _tile_stored(0, sums[0], 64);
        _tile_stored(1, sums[1], 64);
        for (int64_t row = 0; row < left && row < 32; ++row) {
            const int half = row < 16 ? 0 : 2;
            finish(start + row, _mm512_load_ps(sums[half][row & 15]), _mm512_load_ps(sums[half + 1][row & 15]));
        }
    }
}

void gate_up(const void* x, int64_t rows, const void* panel, int64_t k, void* inner, int64_t ld) {
    if (rows < kFew) return avx512_bf16()->gate_up(x, rows, panel, k, inner, ld);
    uint16_t* out = static_cast<uint16_t*>(inner);
    products(static_cast<const uint16_t*>(x), rows, static_cast<const char*>(panel), k,
             [=](int64_t row, __m512 gate, __m512 up) {
                 _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + row * ld),
                                     (__m256i)_mm512_cvtneps_pbh(swiglu(gate, up)));
             });
}

void down(const void* inner, int64_t rows, const void* panel, int64_t k, const float* scale, const int32_t* tokens,
          float* sums, int64_t ld) {
    if (rows < kFew) return avx512_bf16()->down(inner, rows, panel, k, scale, tokens, sums, ld);
    products(static_cast<const uint16_t*>(inner), rows, static_cast<const char*>(panel), k,
             [=](int64_t row, __m512 left, __m512 right) {
                 add_scaled(sums + tokens[row] * ld, scale[row], left, right);
             });
}

constexpr Kernel kKernel = {gate_up, down, begin, end, false};

}  // namespace

const Kernel* amx() { return &kKernel; }

}  // namespace coe

#else
const coe::Kernel* coe::amx() { return nullptr; }
#endif
