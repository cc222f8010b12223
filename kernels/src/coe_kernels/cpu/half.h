// Conversions of the 16-bit types, rounding to nearest even, in plain C++.
#pragma once
#include <cstdint>
#include <cstring>

namespace coe {
namespace {

inline float float_of(uint32_t bits) {
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
}

inline uint32_t bits_of(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, 4);
    return bits;
}

struct Bfloat16 {
    uint16_t bits;
    static float load(Bfloat16 value) { return float_of(uint32_t(value.bits) << 16); }
    static Bfloat16 store(float value) {
        uint32_t bits = bits_of(value);
        if ((bits & 0x7fffffffu) > 0x7f800000u) return {uint16_t((bits >> 16) | 0x40u)};  // stays a NaN
        return {uint16_t((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
    }
};

struct Float16 {
    uint16_t bits;
    static float load(Float16 value) {
        const uint32_t sign = uint32_t(value.bits & 0x8000u) << 16, rest = value.bits & 0x7fffu;
        if (rest >= 0x7c00u) return float_of(sign | 0x7f800000u | (rest & 0x3ffu) << 13);
        // Scaling makes the exponent right, for subnormal numbers too.
        return float_of(bits_of(float_of(rest << 13) * 0x1p112f) | sign);
    }
    static Float16 store(float value) {
        const uint32_t bits = bits_of(value), sign = bits >> 16 & 0x8000u, rest = bits & 0x7fffffffu;
        if (rest > 0x7f800000u) return {uint16_t(sign | 0x7e00u)};
        if (rest >= 0x477ff000u) return {uint16_t(sign | 0x7c00u)};  // rounds to more than 65504
        if (rest < 0x38800000u)  // subnormal: an addition rounds at the right place
            return {uint16_t(sign | (bits_of(float_of(rest) + 0.5f) - 0x3f000000u))};
        return {uint16_t(sign | ((rest - 0x38000000u + 0xfffu + (rest >> 13 & 1u)) >> 13))};
    }
};

struct Float32 {
    float value;
    static float load(Float32 value) { return value.value; }
    static Float32 store(float value) { return {value}; }
};

}  // namespace
}  // namespace coe
