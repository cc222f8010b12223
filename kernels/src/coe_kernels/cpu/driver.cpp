// The C interface: packing weights, grouping tokens by expert, sharing the work among threads.
#include <cstdlib>
#include <cstring>

#include "half.h"
#include "int8.h"
#include "moe.h"

#ifdef _OPENMP
#include <omp.h>
#endif
#ifdef __x86_64__
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#define COE_API extern "C" __attribute__((visibility("default")))

namespace coe {
namespace {

enum Isa : int { kPortable = 0, kAvx512 = 1, kAvx512Bf16 = 2, kAmx = 3 };

int64_t size_of(int type) { return type == kFloat32 ? 4 : 2; }

#ifdef __x86_64__
// The CPU has tiles with bfloat16, and Linux lets this process use them: it must be asked, once.
bool amx_permitted() {
    unsigned a, b, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d >> 22 & 1) || !(d >> 24 & 1)) return false;
    constexpr long kRequest = 0x1023, kTileData = 18;
    return syscall(SYS_arch_prctl, kRequest, kTileData) == 0;
}

bool has(int isa) {
    __builtin_cpu_init();
    if (isa == kAmx) return has(kAvx512Bf16) && amx() && amx_permitted();
    if (isa == kAvx512Bf16) return has(kAvx512) && avx512_bf16() && __builtin_cpu_supports("avx512bf16");
    return avx512() && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512dq");
}
#else
bool has(int) { return false; }
#endif

struct Buffer {  // aligned, and freed at the end of its scope
    void* at;
    explicit Buffer(int64_t bytes) : at(nullptr) {
        if (posix_memalign(&at, 64, bytes > 0 ? size_t(bytes) : 64)) at = nullptr;
    }
    ~Buffer() { std::free(at); }
    Buffer(const Buffer&) = delete;
    template <class T>
    T* as() const { return static_cast<T*>(at); }
};

struct Layer {
    const Kernel* kernel;
    int type;
    int64_t row_size;       // bytes of an element of x and inner
    int64_t tokens, hidden, intermediate, experts, top_k;
    int64_t k1, k2;         // padded hidden and intermediate
    int64_t pairs;          // (token, expert) pairs in use
    const int64_t* start;   // [experts + 1] first pair of each expert
    const int64_t* used;    // experts that have pairs
    int64_t used_count;
    const int32_t* token;   // [pairs] by expert
    const float* scale;     // [pairs] by expert
    char* x;                // [pairs + slack][k1 + pad]
    char* inner;            // [pairs + slack][k2 + pad]
    const char* w13;
    const char* w2;
    char* out;
    bool int8;              // of the weights
    const Int8Kernel* direct;  // for few rows of 8-bit weights; may be null

    int64_t panel(int64_t k) const { return int8 ? int8_panel(k) : k * kPanel * size_of(type); }
};

// What a thread needs for itself.
struct Scratch {
    float* sums;
    uint16_t* wide;  // a panel of 8-bit weights as bfloat16
    float* rows;     // kDirectRows rows as float32
};

bool directly(const Layer& layer, int64_t rows) { return layer.int8 && layer.direct && rows <= kDirectRows; }

// Up to kDirectRows rows as float32: themselves, or copied.
const float* as_float(const Layer& layer, const char* rows, int64_t count, int64_t k, float* copy) {
    if (layer.kernel->wide) return reinterpret_cast<const float*>(rows);
    const Bfloat16* from = reinterpret_cast<const Bfloat16*>(rows);
    for (int64_t row = 0; row < count; ++row)
        for (int64_t at = 0; at < k; ++at) copy[row * (k + kRowPad) + at] = Bfloat16::load(from[row * (k + kRowPad) + at]);
    return copy;
}

const void* readable(const Layer& layer, const char* panel, int64_t k, uint16_t* wide) {
    if (!layer.int8) return panel;
    if (layer.direct) layer.direct->widen(panel, k, wide);
    else widen_portable(panel, k, wide);
    return wide;
}

void gather(const Layer& layer, const char* x, int64_t from, int64_t to) {
    const int64_t size = layer.row_size, row = (layer.k1 + kRowPad) * size;
    for (int64_t pair = from; pair < to; ++pair) {
        char* out = layer.x + pair * row;
        if (layer.kernel->wide) {
            const Bfloat16* in = reinterpret_cast<const Bfloat16*>(x) + layer.token[pair] * layer.hidden;
            for (int64_t at = 0; at < layer.hidden; ++at) reinterpret_cast<float*>(out)[at] = Bfloat16::load(in[at]);
        } else {
            std::memcpy(out, x + layer.token[pair] * layer.hidden * size, size_t(layer.hidden * size));
        }
        std::memset(out + layer.hidden * size, 0, size_t((layer.k1 - layer.hidden) * size));
    }
}

void gate_up(const Layer& layer, int64_t expert, int64_t first, int64_t last, const Scratch& scratch) {
    const int64_t rows = layer.start[expert + 1] - layer.start[expert];
    const int64_t panel = layer.panel(layer.k1), panels = layer.k2 / 16;
    const char* weights = layer.w13 + expert * panels * panel;
    const char* x = layer.x + layer.start[expert] * (layer.k1 + kRowPad) * layer.row_size;
    char* inner = layer.inner + layer.start[expert] * (layer.k2 + kRowPad) * layer.row_size;
    const bool direct = directly(layer, rows);
    const float* values = direct ? as_float(layer, x, rows, layer.k1, scratch.rows) : nullptr;
    for (int64_t at = first; at < last; ++at) {
        char* to = inner + at * 16 * layer.row_size;
        if (direct)
            layer.direct->gate_up(values, rows, weights + at * panel, layer.k1, to, layer.k2 + kRowPad, layer.kernel->wide);
        else
            layer.kernel->gate_up(x, rows, readable(layer, weights + at * panel, layer.k1, scratch.wide), layer.k1, to,
                                  layer.k2 + kRowPad);
    }
}

template <class Element>
void round_out(const Layer& layer, const float* sums, int64_t width, int64_t column) {
    Element* out = reinterpret_cast<Element*>(layer.out);
    const int64_t count = layer.hidden - column < width ? layer.hidden - column : width;
    for (int64_t token = 0; token < layer.tokens; ++token)
        for (int64_t at = 0; at < count; ++at)
            out[token * layer.hidden + column + at] = Element::store(sums[token * width + at]);
}

// Columns 32 * first to 32 * last of the output, for every token: no two threads touch the same.
void down(const Layer& layer, int64_t first, int64_t last, const Scratch& scratch) {
    float* sums = scratch.sums;
    const int64_t width = (last - first) * kPanel;
    const int64_t panel = layer.panel(layer.k2), panels = padded(layer.hidden) / kPanel;
    std::memset(sums, 0, size_t(layer.tokens * width) * sizeof(float));
    for (int64_t index = 0; index < layer.used_count; ++index) {
        const int64_t expert = layer.used[index], from = layer.start[expert];
        const char* inner = layer.inner + from * (layer.k2 + kRowPad) * layer.row_size;
        const int64_t rows = layer.start[expert + 1] - from;
        const bool direct = directly(layer, rows);
        const float* values = direct ? as_float(layer, inner, rows, layer.k2, scratch.rows) : nullptr;
        for (int64_t at = first; at < last; ++at) {
            const char* weights = layer.w2 + (expert * panels + at) * panel;
            float* to = sums + (at - first) * kPanel;
            if (direct)
                layer.direct->down(values, rows, weights, layer.k2, layer.scale + from, layer.token + from, to, width);
            else
                layer.kernel->down(inner, rows, readable(layer, weights, layer.k2, scratch.wide), layer.k2,
                                   layer.scale + from, layer.token + from, to, width);
        }
    }
    if (layer.type == kBfloat16) round_out<Bfloat16>(layer, sums, width, first * kPanel);
    else if (layer.type == kFloat16) round_out<Float16>(layer, sums, width, first * kPanel);
    else round_out<Float32>(layer, sums, width, first * kPanel);
}

// Everything that one thread does; `share` runs a loop's turns among all of them and waits for the last.
template <class Share>
void work(const Layer& layer, const char* x, int64_t block, const Scratch& scratch, Share share) {
    if (layer.kernel->begin) layer.kernel->begin();
    constexpr int64_t kRowsAtOnce = 32;
    share((layer.pairs + kRowsAtOnce - 1) / kRowsAtOnce, [&](int64_t turn) {
        const int64_t from = turn * kRowsAtOnce;
        gather(layer, x, from, from + kRowsAtOnce < layer.pairs ? from + kRowsAtOnce : layer.pairs);
    });
    const int64_t panels = layer.k2 / 16, parts = panels < 4 ? panels : 4;
    share(layer.used_count * parts, [&](int64_t turn) {
        const int64_t part = turn % parts;
        gate_up(layer, layer.used[turn / parts], part * panels / parts, (part + 1) * panels / parts, scratch);
    });
    const int64_t columns = padded(layer.hidden) / kPanel;
    share((columns + block - 1) / block, [&](int64_t turn) {
        const int64_t first = turn * block;
        down(layer, first, first + block < columns ? first + block : columns, scratch);
    });
    if (layer.kernel->end) layer.kernel->end();
}

template <class Element>
void pack_panel(const Element* plain, int64_t k, const int64_t* rows, int64_t k_padded, Element* panel) {
    for (int64_t at = 0; at < k_padded; ++at)
        for (int64_t column = 0; column < kPanel; ++column)
            panel[(at / 2 * kPanel + column) * 2 + at % 2] =
                at < k && rows[column] >= 0 ? plain[rows[column] * k + at] : Element{};
}

// One expert's matrix of `rows` output rows over k. Interleaved, its first half are gates and its second ups.
template <class Element>
void pack_expert(const Element* plain, int64_t rows, int64_t k, bool interleaved, Element* packed) {
    const int64_t wide = interleaved ? 2 * padded(rows / 2) : padded(rows), k_padded = padded(k);
    for (int64_t panel = 0; panel < wide / kPanel; ++panel, packed += kPanel * k_padded) {
        int64_t from[kPanel];
        for (int64_t column = 0; column < kPanel; ++column) {
            const int64_t place = interleaved ? panel * 16 + column % 16 : panel * kPanel + column;
            const int64_t count = interleaved ? rows / 2 : rows;
            from[column] = place >= count ? -1 : interleaved && column >= 16 ? count + place : place;
        }
        pack_panel(plain, k, from, k_padded, packed);
    }
}

}  // namespace
}  // namespace coe

using namespace coe;

// Instruction sets that this build has and this CPU and system allow, as bits by number: 0 portable, 1 AVX-512,
// 2 AVX-512 with bfloat16, 3 AMX with bfloat16.
COE_API int coe_isas() {
    static const int isas = 1 | has(kAvx512) << kAvx512 | has(kAvx512Bf16) << kAvx512Bf16 | has(kAmx) << kAmx;
    return isas;
}

// Reads memory as fast as one thread can, and returns something of what it read.
COE_API uint64_t coe_read(const uint64_t* at, int64_t words) {
    uint64_t sums[16] = {};
    for (int64_t word = 0; word + 16 <= words; word += 16)
        for (int lane = 0; lane < 16; ++lane) sums[lane] ^= at[word + lane];
    uint64_t all = 0;
    for (uint64_t sum : sums) all ^= sum;
    return all;
}

COE_API int coe_is_intel() {
#ifdef __x86_64__
    __builtin_cpu_init();
    return __builtin_cpu_is("intel") ? 1 : 0;
#else
    return 0;
#endif
}

COE_API int64_t coe_packed_size(int64_t experts, int64_t rows, int64_t k, int interleaved) {
    return experts * (interleaved ? 2 * padded(rows / 2) : padded(rows)) * padded(k);
}

// packed may not overlap plain.
COE_API void coe_pack(const void* plain, int64_t experts, int64_t rows, int64_t k, int type, int interleaved,
                      void* packed, int threads) {
    const int64_t each = coe_packed_size(1, rows, k, interleaved), plain_each = rows * k;
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (int64_t expert = 0; expert < experts; ++expert) {
        if (type == kFloat32)
            pack_expert(static_cast<const uint32_t*>(plain) + expert * plain_each, rows, k, interleaved,
                        static_cast<uint32_t*>(packed) + expert * each);
        else
            pack_expert(static_cast<const uint16_t*>(plain) + expert * plain_each, rows, k, interleaved,
                        static_cast<uint16_t*>(packed) + expert * each);
    }
    (void)threads;
}

// Bytes of a packed matrix of 8-bit weights. Rows and k are multiples of 32.
COE_API int64_t coe_packed_int8_bytes(int64_t experts, int64_t rows, int64_t k) {
    return experts * rows / kPanel * int8_panel(k);
}

// Quantises bfloat16. packed may not overlap plain.
COE_API void coe_pack_int8(const uint16_t* plain, int64_t experts, int64_t rows, int64_t k, int interleaved, char* packed,
                           int threads) {
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (int64_t expert = 0; expert < experts; ++expert)
        pack_int8(plain + expert * rows * k, rows, k, interleaved, packed + expert * coe_packed_int8_bytes(1, rows, k));
    (void)threads;
}

// The layer. Adds how often each expert is used to histogram[experts], unless that is null. Weights are of 8 bits if
// `int8`, and of the layer's type if not. Returns 0; 1 if `isa` cannot be had here for the type; 2 if there is no memory.
COE_API int coe_fused_moe(void* out, const void* x, const void* w13, const void* w2, const int32_t* ids,
                          const float* weights, int64_t tokens, int64_t hidden, int64_t intermediate, int64_t experts,
                          int64_t top_k, int type, int isa, int threads, int64_t* histogram, int int8) {
    if (int8 && (type != kBfloat16 || hidden % kPanel || intermediate % kPanel)) return 1;
    if (isa < 0 || isa > kAmx || !(coe_isas() >> isa & 1) || (isa != kPortable && type != kBfloat16)) return 1;
    if (tokens == 0) return 0;
    const int64_t slots = tokens * top_k, k1 = padded(hidden), k2 = padded(intermediate), size = size_of(type);
    const Buffer starts((experts + 1) * 8), used(experts * 8), token(slots * 4), scale(slots * 4);
    if (!starts.at || !used.at || !token.at || !scale.at) return 2;
    int64_t* start = starts.as<int64_t>();
    std::memset(start, 0, size_t(experts + 1) * 8);
    for (int64_t slot = 0; slot < slots; ++slot)
        if (ids[slot] >= 0 && ids[slot] < experts) ++start[ids[slot] + 1];
    int64_t used_count = 0;
    for (int64_t expert = 0; expert < experts; ++expert) {
        if (start[expert + 1]) used.as<int64_t>()[used_count++] = expert;
        if (histogram) histogram[expert] += start[expert + 1];
        start[expert + 1] += start[expert];
    }
    const int64_t pairs = start[experts];
    const Kernel* kernel = isa == kAmx           ? amx()
                           : isa == kAvx512Bf16  ? avx512_bf16()
                           : isa == kAvx512      ? avx512()
                                                 : portable(Type(type));
    const int64_t row_size = kernel->wide ? 4 : size;
    for (int64_t slot = 0; slot < slots; ++slot) {
        if (ids[slot] < 0 || ids[slot] >= experts) continue;
        const int64_t pair = start[ids[slot]]++;
        token.as<int32_t>()[pair] = int32_t(slot / top_k);
        scale.as<float>()[pair] = weights[slot];
    }
    for (int64_t expert = experts; expert > 0; --expert) start[expert] = start[expert - 1];
    start[0] = 0;

    const Buffer gathered((pairs + kRowSlack) * (k1 + kRowPad) * row_size), inner((pairs + kRowSlack) * (k2 + kRowPad) * row_size);
    // Sums of a block of columns stay in a core's second-level cache, and every thread has blocks to do.
    const int64_t columns = padded(hidden) / kPanel, fit = 256 * 1024 / (tokens * kPanel * 4);
    const int64_t fair = threads > 1 ? (columns + 2 * threads - 1) / (2 * threads) : columns;
    int64_t block = fit < fair ? fit : fair;
    if (block < 1) block = 1;
    const int64_t sums_each = tokens * block * kPanel, longest = int8 ? (k1 > k2 ? k1 : k2) : 0;
    const int64_t rows_each = int8 ? kDirectRows * (longest + kRowPad) : 0;
    const Buffer sums(threads * sums_each * 4), wide(threads * longest * kPanel * 2), values(threads * rows_each * 4);
    if (!gathered.at || !inner.at || !sums.at || !wide.at || !values.at) return 2;
    const Layer layer = {kernel, type, row_size, tokens, hidden, intermediate, experts, top_k, k1, k2, pairs, start,
                         used.as<int64_t>(), used_count, token.as<int32_t>(), scale.as<float>(), gathered.as<char>(),
                         inner.as<char>(), static_cast<const char*>(w13), static_cast<const char*>(w2),
                         static_cast<char*>(out), int8 != 0, isa == kPortable ? nullptr : avx512_int8()};
    const auto scratch = [&](int64_t thread) {
        return Scratch{sums.as<float>() + thread * sums_each, wide.as<uint16_t>() + thread * longest * kPanel,
                       values.as<float>() + thread * rows_each};
    };
    const char* rows = static_cast<const char*>(x);
#ifdef _OPENMP
    if (threads > 1) {
#pragma omp parallel num_threads(threads)
        work(layer, rows, block, scratch(omp_get_thread_num()), [](int64_t turns, auto turn) {
#pragma omp for schedule(dynamic)
            for (int64_t at = 0; at < turns; ++at) turn(at);
        });
        return 0;
    }
#endif
    work(layer, rows, block, scratch(0), [](int64_t turns, auto turn) {
        for (int64_t at = 0; at < turns; ++at) turn(at);
    });
    return 0;
}
