// The inner loops in plain C++, for any CPU and every type. The compiler vectorises over a panel's columns.
#include <cmath>

#include "half.h"
#include "moe.h"

namespace coe {
namespace {

constexpr int64_t kChunk = 128;  // sums of so many products are added up apart, which keeps float32 to a few ulp

template <class Element>
void product(const Element* row, const Element* panel, int64_t k, float* sums) {
    for (int64_t column = 0; column < kPanel; ++column) sums[column] = 0;
    for (int64_t start = 0; start < k; start += kChunk) {
        const int64_t stop = start + kChunk < k ? start + kChunk : k;
        float part[kPanel] = {};
        for (int64_t at = start; at < stop; at += 2) {
            const float even = Element::load(row[at]), odd = Element::load(row[at + 1]);
            const Element* pairs = panel + at * kPanel;
            for (int64_t column = 0; column < kPanel; ++column) {
                part[column] += even * Element::load(pairs[2 * column]);
                part[column] += odd * Element::load(pairs[2 * column + 1]);
            }
        }
        for (int64_t column = 0; column < kPanel; ++column) sums[column] += part[column];
    }
}

template <class Element>
void gate_up(const void* x, int64_t rows, const void* panel, int64_t k, void* inner, int64_t ld) {
    for (int64_t row = 0; row < rows; ++row) {
        float sums[kPanel];
        product(static_cast<const Element*>(x) + row * (k + kRowPad), static_cast<const Element*>(panel), k, sums);
        Element* out = static_cast<Element*>(inner) + row * ld;
        for (int64_t column = 0; column < kPanel / 2; ++column) {
            const float gate = sums[column], up = sums[kPanel / 2 + column];
            out[column] = Element::store(gate / (1.0f + std::exp(-gate)) * up);
        }
    }
}

template <class Element>
void down(const void* inner, int64_t rows, const void* panel, int64_t k, const float* scale, const int32_t* tokens,
          float* sums, int64_t ld) {
    for (int64_t row = 0; row < rows; ++row) {
        float part[kPanel];
        product(static_cast<const Element*>(inner) + row * (k + kRowPad), static_cast<const Element*>(panel), k, part);
        float* out = sums + tokens[row] * ld;
        for (int64_t column = 0; column < kPanel; ++column) out[column] += scale[row] * part[column];
    }
}

template <class Element>
constexpr Kernel kernel = {gate_up<Element>, down<Element>, nullptr, nullptr, false};

}  // namespace

const Kernel* portable(Type type) {
    if (type == kBfloat16) return &kernel<Bfloat16>;
    if (type == kFloat16) return &kernel<Float16>;
    return &kernel<Float32>;
}

}  // namespace coe
