// The loops of AVX-512: up to 12 rows by 32 columns of sums are kept in 24 registers. Included by a file that defines
//   Row:      an activation, as it is kept between the two products;
//   Weights:  a pair in K of 32 columns, loaded by `load(const char*)`;
//   add(row, at, weights, left, right): left += and right += two products of the row from `at`;
//   store(Row*, __m512): 16 activations.

namespace coe {
namespace {

constexpr int kRows = 12;

// The products of Rows rows with one panel. Few rows need several sums each, to hide the latency of the additions.
template <int Rows>
inline void product(const Row* x, const char* panel, int64_t k, __m512* left, __m512* right) {
    constexpr int kSums = Rows == 1 ? 4 : Rows <= 3 ? 2 : 1;
    __m512 l[kSums][Rows], r[kSums][Rows];
    for (int sum = 0; sum < kSums; ++sum)
        for (int row = 0; row < Rows; ++row) l[sum][row] = r[sum][row] = _mm512_setzero_ps();
    for (int64_t at = 0; at < k; at += 2 * kSums) {
#pragma GCC unroll 4
        for (int sum = 0; sum < kSums; ++sum, panel += 128) {
            fetch(panel);
            fetch(panel + 64);
            const Weights weights = load(panel);
#pragma GCC unroll 12
            for (int row = 0; row < Rows; ++row) add(x + row * (k + kRowPad), at + 2 * sum, weights, l[sum][row], r[sum][row]);
        }
    }
    for (int row = 0; row < Rows; ++row) {
        left[row] = l[0][row];
        right[row] = r[0][row];
        for (int sum = 1; sum < kSums; ++sum) {
            left[row] = _mm512_add_ps(left[row], l[sum][row]);
            right[row] = _mm512_add_ps(right[row], r[sum][row]);
        }
    }
}

template <int Rows>
void gate_up_rows(const Row* x, const char* panel, int64_t k, Row* inner, int64_t ld) {
    __m512 gate[Rows], up[Rows];
    product<Rows>(x, panel, k, gate, up);
    for (int row = 0; row < Rows; ++row) store(inner + row * ld, swiglu(gate[row], up[row]));
}

template <int Rows>
void down_rows(const Row* x, const char* panel, int64_t k, const float* scale, const int32_t* tokens, float* sums,
               int64_t ld) {
    __m512 left[Rows], right[Rows];
    product<Rows>(x, panel, k, left, right);
    for (int row = 0; row < Rows; ++row) add_scaled(sums + tokens[row] * ld, scale[row], left[row], right[row]);
}

#define COE_ROWS(name) \
    {nullptr, name<1>, name<2>, name<3>, name<4>, name<5>, name<6>, name<7>, name<8>, name<9>, name<10>, name<11>, name<12>}
constexpr decltype(&gate_up_rows<1>) kGateUp[kRows + 1] = COE_ROWS(gate_up_rows);
constexpr decltype(&down_rows<1>) kDown[kRows + 1] = COE_ROWS(down_rows);
#undef COE_ROWS

// Rows in blocks of nearly the same size, so that none is left with too few to keep the units busy.
template <class Call>
inline void blocks(int64_t rows, Call call) {
    const int64_t count = (rows + kRows - 1) / kRows;
    for (int64_t block = 0, start = 0; block < count; ++block) {
        const int64_t stop = (block + 1) * rows / count;
        call(start, int(stop - start));
        start = stop;
    }
}

void gate_up(const void* x, int64_t rows, const void* panel, int64_t k, void* inner, int64_t ld) {
    blocks(rows, [=](int64_t start, int count) {
        kGateUp[count](static_cast<const Row*>(x) + start * (k + kRowPad), static_cast<const char*>(panel), k,
                       static_cast<Row*>(inner) + start * ld, ld);
    });
}

void down(const void* inner, int64_t rows, const void* panel, int64_t k, const float* scale, const int32_t* tokens,
          float* sums, int64_t ld) {
    blocks(rows, [=](int64_t start, int count) {
        kDown[count](static_cast<const Row*>(inner) + start * (k + kRowPad), static_cast<const char*>(panel), k, scale + start,
                     tokens + start, sums, ld);
    });
}

}  // namespace
}  // namespace coe
