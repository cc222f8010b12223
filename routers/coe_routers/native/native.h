/* What the files share. Texts are `Reading.lowered`; arrays are contiguous and of the types named. */

#ifndef COE_NATIVE_H
#define COE_NATIVE_H

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000
#include <Python.h>

#include <stdint.h>

#define BASE 0x100000001B3ull
#define WORD_BITS 15
#define BYTE_BITS 16
#define BUCKETS ((1 << WORD_BITS) + (1 << BYTE_BITS))

/* Bytes of words: letters and digits, and what else belongs to one; bytes of characters beyond ASCII do. */
enum { PLAIN = 1, OTHER = 2 };
extern const uint8_t KIND[256];

static inline uint64_t mixed(uint64_t hash) {
    hash ^= hash >> 32;
    return hash * 0xD6E8FEB86659FD93ull;
}

/* ngrams.c: distinct buckets, those of words first, and how often each occurs. */
typedef struct {
    int32_t *buckets;
    uint32_t *counts;
    Py_ssize_t distinct, of_words;
} Counted;

/* Returns 0, or -1 with an exception; `release_counted` frees in both cases. What a new bucket
   needs later, of `idf` and of `packed`, is fetched meanwhile. */
int count_ngrams(
    const uint8_t *text, Py_ssize_t length, const uint32_t *others, Py_ssize_t more, const float *idf,
    const int8_t *packed, Py_ssize_t width, Counted *out
);
void release_counted(Counted *counted);

/* tokens.c */
enum { FAILED = -3, GIVE_UP = -2, NOTHING = -1 };
PyObject *token_table(PyObject *self, PyObject *vocabulary);
/* Fills `out` with no more rows than there are bytes; returns how many, GIVE_UP when an ASCII character joins what is
   around it, or FAILED with an exception. */
Py_ssize_t rows_of(
    const Py_buffer *table, const Py_buffer *marks, PyObject *others, const uint8_t *text, Py_ssize_t length,
    int32_t *out
);

/* sums.c */
/* total[c] += sum of factors[i] * table[rows[i], c]. */
void add_rows(
    float *total, const int8_t *table, Py_ssize_t width, const int32_t *rows, const float *factors, Py_ssize_t count
);
/* Makes the norm 1; leaves zeros. */
void normed(float *values, Py_ssize_t count);

static inline void *refused(const char *why) {
    PyErr_SetString(PyExc_ValueError, why);
    return NULL;
}

#endif
