// Quantising, and reading back without vector instructions.
#include "int8.h"

#include <cmath>

#include "half.h"
#include "moe.h"

namespace coe {

void pack_int8(const uint16_t* plain, int64_t rows, int64_t k, bool interleaved, char* packed) {
    const int64_t half = rows / 2;
    for (int64_t panel = 0; panel < rows / kPanel; ++panel) {
        for (int64_t start = 0; start < k; start += kGroup, packed += kGroupBytes) {
            Bfloat16* scales = reinterpret_cast<Bfloat16*>(packed);
            int8_t* lines = reinterpret_cast<int8_t*>(packed + kScaleBytes);
            for (int64_t column = 0; column < kPanel; ++column) {
                const int64_t row = !interleaved    ? panel * kPanel + column
                                    : column < 16 ? panel * 16 + column
                                                  : half + panel * 16 + column - 16;
                const Bfloat16* values = reinterpret_cast<const Bfloat16*>(plain) + row * k + start;
                float largest = 0;
                for (int64_t at = 0; at < kGroup; ++at) largest = std::fmax(largest, std::fabs(Bfloat16::load(values[at])));
                // Weights are rounded by the scale that is kept, which may be a little too small for the largest.
                scales[column] = Bfloat16::store(largest / 127.0f);
                const float inverse = largest > 0 ? 1.0f / Bfloat16::load(scales[column]) : 0.0f;
                for (int64_t at = 0; at < kGroup; ++at)
                    lines[at * kPanel + column] = int8_t(std::lrint(
                        std::fmin(127.0f, std::fmax(-127.0f, Bfloat16::load(values[at]) * inverse))));
            }
        }
    }
}

void widen_portable(const char* panel, int64_t k, uint16_t* out) {
    Bfloat16* to = reinterpret_cast<Bfloat16*>(out);
    for (int64_t start = 0; start < k; start += kGroup, panel += kGroupBytes) {
        const Bfloat16* scales = reinterpret_cast<const Bfloat16*>(panel);
        const int8_t* lines = reinterpret_cast<const int8_t*>(panel + kScaleBytes);
        for (int64_t at = 0; at < kGroup; ++at)
            for (int64_t column = 0; column < kPanel; ++column)
                to[((start + at) / 2 * kPanel + column) * 2 + at % 2] =
                    Bfloat16::store(float(lines[at * kPanel + column]) * Bfloat16::load(scales[column]));
    }
}

}  // namespace coe
