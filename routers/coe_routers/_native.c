/* The loops over a prompt's bytes, words and weights: what the numpy code beside it does in a hundred calls.

   Optional: `_compiled.py` finds it, hatch_build.py compiles it. Integers are those of the numpy code, floats agree
   to rounding (tests/routers/test_compiled.py). Buffers are contiguous and of the types that `_compiled.py` names;
   every index that comes from outside is checked. The interpreter lock is kept: a call takes microseconds, texts are
   bounded, and taking the lock back from a busy thread can take milliseconds. */

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000
#include <Python.h>

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define BASE 0x100000001B3ull
#define MIX 0xD6E8FEB86659FD93ull
#define PAIR 0xA0761D6478BD642Full
#define GOLDEN 0x9E3779B1u
/* Pieces that continue a word are other tokens than the same letters at its start. */
#define CONTINUES 0x9E3779B97F4A7C15ull

#define WORD_BITS 15
#define BYTE_BITS 16
#define RADIX_BITS 9
#define MAX_WORD 100
#define ROW_BITS 20
#define ROW_MASK ((1ull << ROW_BITS) - 1)

#if defined(__x86_64__) && defined(__GNUC__)
#define HAS_AVX2
#include <immintrin.h>
#endif

static uint64_t mixed(uint64_t hash) {
    hash ^= hash >> 32;
    return hash * MIX;
}

/* Bytes of words: letters and digits, and what else belongs to one, all bytes of characters beyond ASCII among them. */
enum { PLAIN = 1, OTHER = 2 };
static const uint8_t KIND[256] = {
    ['a' ... 'z'] = PLAIN, ['0' ... '9'] = PLAIN, ['_'] = OTHER, [0x80 ... 0xff] = OTHER};

/* --- n-grams --- */

static uint8_t *folded(const uint8_t *text, Py_ssize_t length) {
    uint8_t *copy = malloc(length ? length : 1);
    if (copy != NULL)
        for (Py_ssize_t at = 0; at < length; at++)
            copy[at] = text[at] >= '1' && text[at] <= '9' ? '0' : text[at];
    return copy;
}

/* Buckets of words and pairs of words; returns how many. */
static Py_ssize_t word_buckets(const uint8_t *text, Py_ssize_t length, uint32_t *out) {
    uint64_t before = 0;
    Py_ssize_t count = 0;
    int first = 1;
    for (Py_ssize_t at = 0; at < length;) {
        if (!KIND[text[at]]) {
            at++;
            continue;
        }
        uint64_t hash = 0;
        for (uint64_t power = 1; at < length && KIND[text[at]]; at++, power *= BASE)
            hash += text[at] * power;
        hash = mixed(hash);
        out[count++] = (uint32_t)(hash >> (64 - WORD_BITS));
        if (!first)
            out[count++] = (uint32_t)(mixed(before * PAIR + hash) >> (64 - WORD_BITS));
        before = hash;
        first = 0;
    }
    return count;
}

static Py_ssize_t byte_buckets(const uint8_t *text, Py_ssize_t length, uint32_t *out) {
    Py_ssize_t count = length > 3 ? length - 3 : 0;
    for (Py_ssize_t at = 0; at < count; at++) {
        uint32_t gram = text[at] | (uint32_t)text[at + 1] << 8 | (uint32_t)text[at + 2] << 16 |
                        (uint32_t)text[at + 3] << 24;
        out[at] = (gram * GOLDEN >> (32 - BYTE_BITS)) + (1u << WORD_BITS);
    }
    return count;
}

#define DIGITS (1 << RADIX_BITS)

static void scatter(const uint32_t *keys, Py_ssize_t count, int shift, uint32_t *starts, uint32_t *out) {
    for (uint32_t digit = 0, total = 0; digit < DIGITS; digit++) {
        uint32_t here = starts[digit];
        starts[digit] = total;
        total += here;
    }
    for (Py_ssize_t at = 0; at < count; at++)
        out[starts[keys[at] >> shift & (DIGITS - 1)]++] = keys[at];
}

/* Sorts keys below 2^(2 * RADIX_BITS), using room for as many. */
static void sort(uint32_t *keys, uint32_t *room, Py_ssize_t count) {
    uint32_t low[DIGITS] = {0}, high[DIGITS] = {0};
    for (Py_ssize_t at = 0; at < count; at++) {
        low[keys[at] & (DIGITS - 1)]++;
        high[keys[at] >> RADIX_BITS]++;
    }
    scatter(keys, count, 0, low, room);
    scatter(room, count, RADIX_BITS, high, keys);
}

/* Two arrays of int64: each bucket once, and how often it occurs. Uses room for as many. */
static PyObject *counted(uint32_t *sorted, uint32_t *ends, Py_ssize_t count) {
    Py_ssize_t distinct = 0;
    /* Without branches: whether a bucket comes again cannot be foreseen. */
    for (Py_ssize_t at = 0; at < count; at++) {
        uint32_t here = sorted[at];
        sorted[distinct] = here;
        ends[distinct] = (uint32_t)at + 1;
        distinct += at + 1 == count || sorted[at + 1] != here;
    }
    PyObject *buckets = PyBytes_FromStringAndSize(NULL, distinct * 8);
    PyObject *counts = PyBytes_FromStringAndSize(NULL, distinct * 8);
    if (buckets != NULL && counts != NULL) {
        int64_t *bucket = (int64_t *)PyBytes_AsString(buckets), *often = (int64_t *)PyBytes_AsString(counts);
        for (Py_ssize_t at = 0; at < distinct; at++) {
            bucket[at] = sorted[at];
            often[at] = ends[at] - (at ? ends[at - 1] : 0);
        }
    }
    return Py_BuildValue("(NN)", buckets, counts);
}

static PyObject *count_ngrams(PyObject *self, PyObject *args) {
    Py_buffer lowered, others;
    if (!PyArg_ParseTuple(args, "y*y*", &lowered, &others))
        return NULL;
    PyObject *result = NULL;
    Py_ssize_t length = lowered.len, more = others.len / 4;
    /* Byte n-grams are fewer than bytes, words and pairs no more than bytes. */
    Py_ssize_t most = 2 * length + more + 1;
    uint8_t *text = folded(lowered.buf, length);
    uint32_t *keys = malloc(most * sizeof *keys), *room = malloc(most * sizeof *room);
    if (text == NULL || keys == NULL || room == NULL) {
        PyErr_NoMemory();
        goto end;
    }
    Py_ssize_t count = byte_buckets(text, length, keys);
    count += word_buckets(text, length, keys + count);
    if (count > 0)
        for (Py_ssize_t at = 0; at < more; at++) {
            uint32_t other = ((const uint32_t *)others.buf)[at];
            if (other >> 2 * RADIX_BITS) {
                PyErr_SetString(PyExc_ValueError, "a bucket is out of range");
                goto end;
            }
            keys[count++] = other;
        }
    sort(keys, room, count);
    result = counted(keys, room, count);
end:
    free(text);
    free(keys);
    free(room);
    PyBuffer_Release(&lowered);
    PyBuffer_Release(&others);
    return result;
}

static void normed(float *values, Py_ssize_t count) {
    double squares[4] = {0};
    for (Py_ssize_t at = 0; at < count; at++)
        squares[at & 3] += (double)values[at] * values[at];
    double sum = squares[0] + squares[1] + squares[2] + squares[3];
    float scale = sum > 0 ? (float)(1 / sqrt(sum)) : 0;
    for (Py_ssize_t at = 0; at < count; at++)
        values[at] *= scale;
}

static PyObject *weigh(PyObject *self, PyObject *args) {
    Py_buffer buckets, counts, idf, damped;
    if (!PyArg_ParseTuple(args, "y*y*y*y*", &buckets, &counts, &idf, &damped))
        return NULL;
    const int64_t *bucket = buckets.buf, *often = counts.buf;
    const float *rarity = idf.buf, *damp = damped.buf;
    Py_ssize_t count = buckets.len / 8, known = damped.len / 4, split = 0;
    PyObject *result = NULL;
    if (counts.len != buckets.len) {
        PyErr_SetString(PyExc_ValueError, "there must be one count for each bucket");
        goto end;
    }
    if ((result = PyBytes_FromStringAndSize(NULL, count * 4)) == NULL)
        goto end;
    float *values = (float *)PyBytes_AsString(result);
    for (Py_ssize_t at = 0; at < count; at++) {
        if (bucket[at] < 0 || bucket[at] >= idf.len / 4 || often[at] < 1) {
            Py_CLEAR(result);
            PyErr_SetString(PyExc_ValueError, "a bucket or a count is out of range");
            goto end;
        }
        float factor = often[at] < known ? damp[often[at]] : (float)(1 + log((double)often[at]));
        values[at] = rarity[bucket[at]] * factor;
        split += bucket[at] < 1 << WORD_BITS;
    }
    normed(values, split);
    normed(values + split, count - split);
end:
    PyBuffer_Release(&buckets);
    PyBuffer_Release(&counts);
    PyBuffer_Release(&idf);
    PyBuffer_Release(&damped);
    return result;
}

/* --- tokens --- */

/* A table of tokens: an entry has the upper 44 bits of the hash and the row; its upper bits say where to look, and
   what is taken moves on. The first entry says how long the longest token is. */
typedef struct {
    const uint64_t *entries;
    uint64_t mask;
    int shift;
    Py_ssize_t longest;
} Table;

static int64_t row_of(const Table *table, uint64_t hash) {
    for (uint64_t place = hash >> table->shift;; place++) {
        uint64_t entry = table->entries[place & table->mask];
        if (entry == 0)
            return -1;
        if (((entry ^ hash) & ~ROW_MASK) == 0)
            return entry & ROW_MASK;
    }
}

static PyObject *token_table(PyObject *self, PyObject *vocabulary) {
    Py_ssize_t count = PySequence_Size(vocabulary);
    if (count < 0)
        return NULL;
    if (count >= (Py_ssize_t)ROW_MASK) {
        PyErr_SetString(PyExc_ValueError, "the vocabulary has more than 2^20 tokens");
        return NULL;
    }
    int bits = 2;
    while (1ll << bits < 2 * count)
        bits++;
    PyObject *result = PyBytes_FromStringAndSize(NULL, (1ll + (1ll << bits)) * 8);
    if (result == NULL)
        return NULL;
    uint64_t *longest = (uint64_t *)PyBytes_AsString(result), *entries = longest + 1;
    uint64_t mask = (1ull << bits) - 1;
    memset(longest, 0, (1 + (1ull << bits)) * 8);
    for (Py_ssize_t row = 0; row < count; row++) {
        PyObject *token = PySequence_GetItem(vocabulary, row);
        Py_ssize_t length = 0;
        const char *text = token == NULL ? NULL : PyUnicode_AsUTF8AndSize(token, &length);
        if (text == NULL) {
            Py_XDECREF(token);
            Py_DECREF(result);
            return NULL;
        }
        int continues = length > 2 && text[0] == '#' && text[1] == '#';
        uint64_t hash = continues ? CONTINUES : 0, power = 1;
        Py_ssize_t start = continues ? 2 : 0, at = start;
        for (; at < length && KIND[(uint8_t)text[at]] == PLAIN; at++, power *= BASE)
            hash += (uint8_t)text[at] * power;
        if (at == length && at > start && at - start <= MAX_WORD) {
            hash = mixed(hash);
            uint64_t place = hash >> (64 - bits);
            /* The last of equal tokens has the row, as in a dictionary. */
            while (entries[place & mask] != 0 && ((entries[place & mask] ^ hash) & ~ROW_MASK) != 0)
                place++;
            entries[place & mask] = (hash & ~ROW_MASK) | (uint64_t)row;
            if ((uint64_t)(at - start) > *longest)
                *longest = at - start;
        }
        Py_DECREF(token);
    }
    return result;
}

/* WordPiece: the longest token from the left, again and again. Returns how many; none when a part is unknown. */
static Py_ssize_t pieces(const Table *table, const uint8_t *word, Py_ssize_t length, int32_t *out) {
    Py_ssize_t count = 0;
    if (length > MAX_WORD)
        return 0;
    for (Py_ssize_t start = 0; start < length;) {
        uint64_t hashes[MAX_WORD + 1], power = 1;
        Py_ssize_t most = length - start < table->longest ? length - start : table->longest;
        int64_t row = -1;
        hashes[0] = start ? CONTINUES : 0;
        for (Py_ssize_t at = 0; at < most; at++, power *= BASE)
            hashes[at + 1] = hashes[at] + word[start + at] * power;
        for (; most > 0; most--)
            if ((row = row_of(table, mixed(hashes[most]))) >= 0)
                break;
        if (row < 0)
            return 0;
        out[count++] = (int32_t)row;
        start += most;
    }
    return count;
}

enum { FAILED = -3, GIVE_UP = -2, NOTHING = -1 };

/* Rows of a word with other than letters and digits, as `others[word]` gives them. */
static Py_ssize_t looked_up(PyObject *others, const uint8_t *word, Py_ssize_t length, int32_t *out) {
    Py_ssize_t count = FAILED;
    PyObject *key = PyBytes_FromStringAndSize((const char *)word, length);
    PyObject *rows = key == NULL ? NULL : PyObject_GetItem(others, key);
    if (rows != NULL && PyBytes_Check(rows) && PyBytes_Size(rows) / 4 <= length) {
        count = PyBytes_Size(rows) / 4;
        memcpy(out, PyBytes_AsString(rows), count * 4);
    } else if (rows != NULL) {
        PyErr_SetString(PyExc_ValueError, "a word has more tokens than bytes");
    }
    Py_XDECREF(key);
    Py_XDECREF(rows);
    return count;
}

/* Fills `out` with no more rows than there are bytes; returns how many, GIVE_UP when an ASCII character joins what is
   around it, or FAILED with an exception. */
static Py_ssize_t rows_of(
    const Table *table, const int32_t *marks, PyObject *others, const uint8_t *text, Py_ssize_t length, int32_t *out
) {
    Py_ssize_t count = 0;
    for (Py_ssize_t at = 0; at < length;) {
        if (!KIND[text[at]]) {
            int32_t mark = marks[text[at++]];
            if (mark == GIVE_UP)
                return GIVE_UP;
            if (mark != NOTHING)
                out[count++] = mark;
            continue;
        }
        Py_ssize_t start = at, more;
        uint64_t hash = 0;
        uint8_t kinds = 0;
        for (uint64_t power = 1; at < length && KIND[text[at]]; at++, power *= BASE) {
            kinds |= KIND[text[at]];
            hash += text[at] * power;
        }
        if (kinds == PLAIN) {
            int64_t row = at - start <= table->longest ? row_of(table, mixed(hash)) : -1;
            if (row >= 0)
                out[count++] = (int32_t)row;
            else
                count += pieces(table, text + start, at - start, out + count);
        } else if ((more = looked_up(others, text + start, at - start, out + count)) >= 0) {
            count += more;
        } else {
            return more;
        }
    }
    return count;
}

static PyObject *token_rows(PyObject *self, PyObject *args) {
    Py_buffer lowered, entries, marks;
    PyObject *others, *result = NULL;
    if (!PyArg_ParseTuple(args, "y*y*y*O", &lowered, &entries, &marks, &others))
        return NULL;
    int32_t *rows = malloc((lowered.len + 1) * sizeof *rows);
    int64_t size = entries.len / 8 - 1;
    int bits = 0;
    while (1ll << bits < size)
        bits++;
    if (size < 4 || 1ll << bits != size || marks.len != 4 * 128) {
        PyErr_SetString(PyExc_ValueError, "these are no tables of `token_table`");
        goto end;
    }
    if (rows == NULL) {
        PyErr_NoMemory();
        goto end;
    }
    const uint64_t *longest = entries.buf;
    Table table = {longest + 1, size - 1, 64 - bits, *longest <= MAX_WORD ? (Py_ssize_t)*longest : MAX_WORD};
    Py_ssize_t count = rows_of(&table, marks.buf, others, lowered.buf, lowered.len, rows);
    if (count >= 0) {
        result = PyBytes_FromStringAndSize((const char *)rows, count * 4);
    } else if (count == GIVE_UP) {
        Py_INCREF(Py_None);
        result = Py_None;
    }
end:
    free(rows);
    PyBuffer_Release(&lowered);
    PyBuffer_Release(&entries);
    PyBuffer_Release(&marks);
    return result;
}

/* --- sums --- */

#define AHEAD 8

/* total[c] += factors[i] * rows[i][c], from a column on and in the order of the four rows. */
static void add_four(
    float *total, const int8_t *const rows[4], const float factors[4], Py_ssize_t column, Py_ssize_t width
) {
    for (; column < width; column++)
        for (int each = 0; each < 4; each++)
            total[column] += factors[each] * rows[each][column];
}

#ifdef HAS_AVX2
/* The same, eight columns at once: each column's sum is made in the same order, so it is the same. */
__attribute__((target("avx2"))) static void add_four_wide(
    float *total, const int8_t *const rows[4], const float factors[4], Py_ssize_t width
) {
    Py_ssize_t column = 0;
    for (; column + 8 <= width; column += 8) {
        __m256 sums = _mm256_loadu_ps(total + column);
        for (int each = 0; each < 4; each++) {
            __m128i bytes = _mm_loadl_epi64((const __m128i *)(rows[each] + column));
            __m256 values = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
            sums = _mm256_add_ps(sums, _mm256_mul_ps(_mm256_set1_ps(factors[each]), values));
        }
        _mm256_storeu_ps(total + column, sums);
    }
    add_four(total, rows, factors, column, width);
}
#endif

/* total[c] += sum of factors[i] * table[rows[i], c]. */
static void add_rows(
    float *total, const int8_t *table, Py_ssize_t width, const int64_t *rows, const float *factors, Py_ssize_t count
) {
#ifdef HAS_AVX2
    int wide = __builtin_cpu_supports("avx2");
#endif
    for (Py_ssize_t at = 0; at < count; at += 4) {
        const int8_t *four[4];
        float factor[4];
        for (int each = 0; each < 4; each++) {
            int more = at + each < count;
            four[each] = table + (more ? rows[at + each] * width : 0);
            factor[each] = more ? factors[at + each] : 0;
#ifdef __GNUC__
            /* Rows lie anywhere in megabytes, and what comes is known. */
            if (at + each + AHEAD < count)
                for (Py_ssize_t line = 0; line < width; line += 64)
                    __builtin_prefetch(table + rows[at + each + AHEAD] * width + line);
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

static PyObject *mean_of_rows(PyObject *self, PyObject *args) {
    Py_buffer rows, vectors, scales;
    if (!PyArg_ParseTuple(args, "y*y*y*", &rows, &vectors, &scales))
        return NULL;
    PyObject *result = NULL;
    Py_ssize_t known = scales.len / 4, count = rows.len / 4, dim = known ? vectors.len / known : 0;
    const int32_t *row = rows.buf;
    int64_t *wanted = malloc((count + 1) * sizeof *wanted);
    float *factors = malloc((count + 1) * sizeof *factors);
    if (wanted == NULL || factors == NULL) {
        PyErr_NoMemory();
        goto end;
    }
    for (Py_ssize_t at = 0; at < count; at++) {
        if (row[at] < 0 || row[at] >= known) {
            PyErr_SetString(PyExc_ValueError, "a row is out of range");
            goto end;
        }
        wanted[at] = row[at];
        factors[at] = ((const float *)scales.buf)[row[at]];
    }
    if ((result = PyBytes_FromStringAndSize(NULL, dim * 4)) == NULL)
        goto end;
    float *total = (float *)PyBytes_AsString(result);
    memset(total, 0, dim * 4);
    add_rows(total, vectors.buf, dim, wanted, factors, count);
    normed(total, dim);
end:
    free(wanted);
    free(factors);
    PyBuffer_Release(&rows);
    PyBuffer_Release(&vectors);
    PyBuffer_Release(&scales);
    return result;
}

static PyObject *add_weights(PyObject *self, PyObject *args) {
    Py_buffer total, buckets, values, packed;
    Py_ssize_t width;
    if (!PyArg_ParseTuple(args, "w*y*y*y*n", &total, &buckets, &values, &packed, &width))
        return NULL;
    PyObject *result = NULL;
    const int64_t *bucket = buckets.buf;
    Py_ssize_t count = buckets.len / 8, columns = total.len / 4, known = width > 0 ? packed.len / width : 0;
    /* One column for each byte of a row: what the scale's bytes add up to is left. */
    float *sums = calloc(width > 0 ? width : 1, sizeof *sums), *factors = malloc((count + 1) * sizeof *factors);
    if (sums == NULL || factors == NULL) {
        PyErr_NoMemory();
        goto end;
    }
    if (values.len / 4 != count || columns + 4 > width) {
        PyErr_SetString(PyExc_ValueError, "lengths do not fit");
        goto end;
    }
    for (Py_ssize_t at = 0; at < count; at++) {
        if (bucket[at] < 0 || bucket[at] >= known) {
            PyErr_SetString(PyExc_ValueError, "a bucket is out of range");
            goto end;
        }
        memcpy(&factors[at], (const int8_t *)packed.buf + (bucket[at] + 1) * width - 4, 4);
        factors[at] *= ((const float *)values.buf)[at];
    }
    add_rows(sums, packed.buf, width, bucket, factors, count);
    for (Py_ssize_t column = 0; column < columns; column++)
        ((float *)total.buf)[column] += sums[column];
    Py_INCREF(Py_None);
    result = Py_None;
end:
    free(sums);
    free(factors);
    PyBuffer_Release(&total);
    PyBuffer_Release(&buckets);
    PyBuffer_Release(&values);
    PyBuffer_Release(&packed);
    return result;
}

/* --- probabilities --- */

/* One row of `calibrate`. In double, one after the other, as the Python code does it: the same bit by bit. */
static float calibrated(const float *logits, int columns, int categories, double temperature, float *out) {
    double top = logits[0], total = 0, beyond = 0, entropy = 0;
    for (int column = 1; column < columns; column++)
        top = logits[column] > top ? logits[column] : top;
    for (int column = 0; column < columns; column++) {
        double weight = exp((logits[column] - top) / temperature);
        total += weight;
        if (column >= categories)
            beyond += weight;
    }
    double shared = beyond / categories;
    for (int column = 0; column < categories; column++) {
        double p = (exp((logits[column] - top) / temperature) + shared) / total;
        out[column] = (float)p;
        entropy += p > 0 ? p * log(p) : 0;
    }
    entropy = categories < 2 ? 0 : -entropy / log(categories);
    return (float)(entropy < 1 ? entropy : 1);
}

static PyObject *calibrate(PyObject *self, PyObject *args) {
    Py_buffer logits, known;
    int columns, categories;
    double temperature;
    if (!PyArg_ParseTuple(args, "y*y*iid", &logits, &known, &columns, &categories, &temperature))
        return NULL;
    Py_ssize_t rows = known.len;
    PyObject *probabilities = NULL, *uncertainty = NULL, *result = NULL;
    if (categories < 1 || columns < categories || logits.len != rows * columns * 4) {
        PyErr_SetString(PyExc_ValueError, "lengths do not fit");
        goto end;
    }
    probabilities = PyBytes_FromStringAndSize(NULL, rows * categories * 4);
    uncertainty = PyBytes_FromStringAndSize(NULL, rows * 4);
    if (probabilities == NULL || uncertainty == NULL)
        goto end;
    float *out = (float *)PyBytes_AsString(probabilities), *unsure = (float *)PyBytes_AsString(uncertainty);
    for (Py_ssize_t row = 0; row < rows; row++, out += categories) {
        if (((const uint8_t *)known.buf)[row]) {
            unsure[row] =
                calibrated((const float *)logits.buf + row * columns, columns, categories, temperature, out);
        } else {
            for (int column = 0; column < categories; column++)
                out[column] = (float)(1.0 / categories);
            unsure[row] = 1;
        }
    }
    result = Py_BuildValue("(OO)", probabilities, uncertainty);
end:
    Py_XDECREF(probabilities);
    Py_XDECREF(uncertainty);
    PyBuffer_Release(&logits);
    PyBuffer_Release(&known);
    return result;
}

static PyMethodDef methods[] = {
    {"count_ngrams", count_ngrams, METH_VARARGS, NULL},
    {"weigh", weigh, METH_VARARGS, NULL},
    {"token_table", token_table, METH_O, NULL},
    {"token_rows", token_rows, METH_VARARGS, NULL},
    {"mean_of_rows", mean_of_rows, METH_VARARGS, NULL},
    {"add_weights", add_weights, METH_VARARGS, NULL},
    {"calibrate", calibrate, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_native", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__native(void) { return PyModuleDef_Init(&module); }
