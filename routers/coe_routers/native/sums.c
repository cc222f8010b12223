/* Sums of rows of bytes, each times its factor. */

#include "native.h"

#include <math.h>

#if defined(__x86_64__) && defined(__GNUC__)
#define HAS_AVX2
#include <immintrin.h>
#endif

/* How many rows ahead memory is fetched. */
#define AHEAD 8

void normed(float *values, Py_ssize_t count) {
    double squares[4] = {0};
    for (Py_ssize_t at = 0; at < count; at++)
        squares[at & 3] += (double)values[at] * values[at];
    double sum = squares[0] + squares[1] + squares[2] + squares[3];
    float scale = sum > 0 ? (float)(1 / sqrt(sum)) : 0;
    for (Py_ssize_t at = 0; at < count; at++)
        values[at] *= scale;
}

/* total[c] += sum of factors[i] * rows[i][c] over four rows, from a column on. */
static void add_four(
    float *total, const int8_t *const rows[4], const float factors[4], Py_ssize_t column, Py_ssize_t width
) {
    for (; column < width; column++) {
        float parts[4];
        for (int each = 0; each < 4; each++)
            parts[each] = factors[each] * rows[each][column];
        total[column] += (parts[0] + parts[1]) + (parts[2] + parts[3]);
    }
}

#ifdef HAS_AVX2
/* The same, eight columns at once: each column's sum is made in the same order, so it is the same. */
__attribute__((target("avx2"))) static void add_four_wide(
    float *total, const int8_t *const rows[4], const float factors[4], Py_ssize_t width
) {
    Py_ssize_t column = 0;
    for (; column + 8 <= width; column += 8) {
        __m256 parts[4];
        for (int each = 0; each < 4; each++) {
            __m128i bytes = _mm_loadl_epi64((const __m128i *)(rows[each] + column));
            __m256 values = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
            parts[each] = _mm256_mul_ps(_mm256_set1_ps(factors[each]), values);
        }
        __m256 sums = _mm256_add_ps(_mm256_add_ps(parts[0], parts[1]), _mm256_add_ps(parts[2], parts[3]));
        _mm256_storeu_ps(total + column, _mm256_add_ps(_mm256_loadu_ps(total + column), sums));
    }
    add_four(total, rows, factors, column, width);
}
#endif

void add_rows(
    float *total, const int8_t *table, Py_ssize_t width, const int32_t *rows, const float *factors, Py_ssize_t count
) {
#ifdef HAS_AVX2
    int wide = __builtin_cpu_supports("avx2");
#endif
    for (Py_ssize_t at = 0; at < count; at += 4) {
        const int8_t *four[4];
        float factor[4];
        for (int each = 0; each < 4; each++) {
            int more = at + each < count;
            four[each] = table + (more ? (Py_ssize_t)rows[at + each] * width : 0);
            factor[each] = more ? factors[at + each] : 0;
#ifdef __GNUC__
            /* Rows lie anywhere in megabytes, and what comes is known. */
            if (at + each + AHEAD < count)
                for (Py_ssize_t line = 0; line < width; line += 64)
                    __builtin_prefetch(table + (Py_ssize_t)rows[at + each + AHEAD] * width + line);
#endif
        }
#ifdef HAS_AVX2
        if (wide) {
            add_four_wide(total, four, factor, width);
            continue;
        }
#endif
        add_four(total, four, factor, 0, width);
    }
}

