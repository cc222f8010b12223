/* Vocabulary rows of a text: what features/_wordpiece.py gives. */

#include "native.h"

#include <string.h>

/* Pieces that continue a word are other tokens than the same letters at its start. */
#define CONTINUES 0x9E3779B97F4A7C15ull
#define MAX_WORD 100
#define ROW_BITS 20
#define ROW_MASK ((1ull << ROW_BITS) - 1)

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

PyObject *token_table(PyObject *self, PyObject *vocabulary) {
    Py_ssize_t count = PySequence_Size(vocabulary);
    if (count < 0)
        return NULL;
    if (count > 1 << ROW_BITS) {
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

static int table_from(const Py_buffer *buffer, Table *table) {
    Py_ssize_t size = buffer->len / 8 - 1;
    int bits = 2;
    while (1ll << bits < size)
        bits++;
    if (1ll << bits != size)
        return -1;
    const uint64_t *longest = buffer->buf;
    *table = (Table){longest + 1, size - 1, 64 - bits, *longest <= MAX_WORD ? (Py_ssize_t)*longest : MAX_WORD};
    return 0;
}

Py_ssize_t rows_of(
    const Py_buffer *entries, const Py_buffer *of_marks, PyObject *others, const uint8_t *text, Py_ssize_t length,
    int32_t *out
) {
    const int32_t *marks = of_marks->buf;
    Py_ssize_t count = 0;
    Table table;
    if (of_marks->len != 4 * 128 || table_from(entries, &table)) {
        refused("these are no tables of `token_table`");
        return FAILED;
    }
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
            int64_t row = at - start <= table.longest ? row_of(&table, mixed(hash)) : -1;
            if (row >= 0)
                out[count++] = (int32_t)row;
            else
                count += pieces(&table, text + start, at - start, out + count);
        } else if ((more = looked_up(others, text + start, at - start, out + count)) >= 0) {
            count += more;
        } else {
            return more;
        }
    }
    return count;
}

