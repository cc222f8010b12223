/* The loops over a prompt's bytes, words and weights: what the numpy code beside them does in a hundred calls.

   Optional: `_compiled.py` finds it and says what each function takes, hatch_build.py compiles it. The results agree
   with the numpy code to rounding (tests/routers/test_compiled.py). Every index that comes from outside is checked.
   The interpreter lock is kept: a call takes microseconds, texts are bounded, and taking the lock back from a busy
   thread can take milliseconds. */

#include "native.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static PyObject *token_rows(PyObject *self, PyObject *args) {
    Py_buffer lowered, table, marks;
    PyObject *others, *result = NULL;
    if (!PyArg_ParseTuple(args, "y*y*y*O", &lowered, &table, &marks, &others))
        return NULL;
    int32_t *rows = malloc((lowered.len + 1) * sizeof *rows);
    Py_ssize_t count =
        rows == NULL ? NOTHING : rows_of(&table, &marks, others, lowered.buf, lowered.len, rows);
    if (count >= 0) {
        result = PyBytes_FromStringAndSize((const char *)rows, count * 4);
    } else if (count == GIVE_UP) {
        Py_INCREF(Py_None);
        result = Py_None;
    } else if (count == NOTHING) {
        PyErr_NoMemory();
    }
    free(rows);
    PyBuffer_Release(&lowered);
    PyBuffer_Release(&table);
    PyBuffer_Release(&marks);
    return result;
}

/* The unit-norm mean of vectors[rows] * scales[rows], float32[dim]. Returns 0, or -1 with an exception. */
static int mean(
    const int32_t *rows, Py_ssize_t count, const Py_buffer *vectors, const Py_buffer *scales, float *out,
    Py_ssize_t dim
) {
    Py_ssize_t known = scales->len / 4;
    float *factors = malloc((count + 1) * sizeof *factors);
    if (factors == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t at = 0; at < count; at++) {
        if (rows[at] < 0 || rows[at] >= known) {
            free(factors);
            refused("a row is out of range");
            return -1;
        }
        factors[at] = ((const float *)scales->buf)[rows[at]];
    }
    memset(out, 0, dim * sizeof *out);
    add_rows(out, vectors->buf, dim, rows, factors, count);
    normed(out, dim);
    free(factors);
    return 0;
}

static PyObject *mean_of_rows(PyObject *self, PyObject *args) {
    Py_buffer rows, vectors, scales;
    if (!PyArg_ParseTuple(args, "y*y*y*", &rows, &vectors, &scales))
        return NULL;
    Py_ssize_t known = scales.len / 4, dim = known ? vectors.len / known : 0;
    PyObject *result = PyBytes_FromStringAndSize(NULL, dim * 4);
    if (result != NULL &&
        mean(rows.buf, rows.len / 4, &vectors, &scales, (float *)PyBytes_AsString(result), dim))
        Py_CLEAR(result);
    PyBuffer_Release(&rows);
    PyBuffer_Release(&vectors);
    PyBuffer_Release(&scales);
    return result;
}

/* `weigh`, and each value times the scale of its bucket's packed weights. */
static void factors_of(
    const Counted *counted, const float *idf, const float *damped, Py_ssize_t known, const int8_t *packed,
    Py_ssize_t width, float *out
) {
    for (Py_ssize_t at = 0; at < counted->distinct; at++) {
        uint32_t often = counted->counts[at];
        out[at] = idf[counted->buckets[at]] * (often < known ? damped[often] : (float)(1 + log((double)often)));
    }
    normed(out, counted->of_words);
    normed(out + counted->of_words, counted->distinct - counted->of_words);
    for (Py_ssize_t at = 0; at < counted->distinct; at++) {
        float scale;
        memcpy(&scale, packed + ((Py_ssize_t)counted->buckets[at] + 1) * width - 4, 4);
        out[at] *= scale;
    }
}

/* Adds the n-grams' part of the logits. Returns how many buckets the text has, or -1 with an exception. */
static Py_ssize_t add_lexical(
    const Py_buffer *lowered, const Py_buffer *others, const Py_buffer *idf, const Py_buffer *damped,
    const Py_buffer *packed, float *logits, Py_ssize_t columns
) {
    Py_ssize_t width = packed->len / BUCKETS, distinct = -1;
    if (idf->len != 4 * BUCKETS || packed->len != width * BUCKETS || width < columns + 4) {
        refused("lengths do not fit");
        return -1;
    }
    Counted counted;
    int failed = count_ngrams(
        lowered->buf, lowered->len, others->buf, others->len / 4, idf->buf, packed->buf, width, &counted
    );
    /* A column for each byte of a row: what the bytes of scales add up to is left. */
    float *sums = calloc(width, sizeof *sums), *factors = malloc((counted.distinct + 1) * sizeof *factors);
    if (!failed && sums != NULL && factors != NULL) {
        distinct = counted.distinct;
        factors_of(&counted, idf->buf, damped->buf, damped->len / 4, packed->buf, width, factors);
        add_rows(sums, packed->buf, width, counted.buckets, factors, distinct);
        for (Py_ssize_t column = 0; column < columns; column++)
            logits[column] += sums[column];
    } else if (!failed) {
        PyErr_NoMemory();
    }
    free(sums);
    free(factors);
    release_counted(&counted);
    return distinct;
}

/* Adds vector @ weights, float32[dim, columns], to the logits. Returns whether the vector has anything but zeros. */
static int add_dense(
    const float *vector, Py_ssize_t dim, const float *weights, float *restrict logits, Py_ssize_t columns
) {
    int anything = 0;
    for (Py_ssize_t at = 0; at < dim; at++, weights += columns) {
        anything |= vector[at] != 0;
        for (Py_ssize_t column = 0; column < columns; column++)
            logits[column] += vector[at] * weights[column];
    }
    return anything;
}

static PyObject *score(PyObject *self, PyObject *args) {
    Py_buffer lowered, others, logits, vector, idf, damped, packed, table, marks, vectors, scales, dense;
    PyObject *words, *given, *result = NULL;
    if (!PyArg_ParseTuple(
            args, "y*y*Ow*w*(y*y*y*y*y*Oy*y*y*)", &lowered, &others, &given, &logits, &vector, &idf, &damped, &packed,
            &table, &marks, &words, &vectors, &scales, &dense
        ))
        return NULL;
    Py_ssize_t columns = logits.len / 4, dim = vector.len / 4, count = 0, known = scales.len / 4;
    int32_t *rows = malloc((lowered.len + 1) * sizeof *rows);
    const int32_t *tokens = rows;
    if (rows == NULL) {
        PyErr_NoMemory();
        goto end;
    }
    if (vectors.len != known * dim || dense.len != dim * columns * 4) {
        refused("lengths do not fit");
        goto end;
    }
    if (PyBytes_Check(given)) {
        tokens = (const int32_t *)PyBytes_AsString(given);
        count = PyBytes_Size(given) / 4;
    } else if (dim) {
        count = rows_of(&table, &marks, words, lowered.buf, lowered.len, rows);
    }
    if (count == GIVE_UP) {
        Py_INCREF(Py_None);
        result = Py_None;
    }
    if (count < 0 || mean(tokens, count, &vectors, &scales, vector.buf, dim))
        goto end;
    int anything = add_dense(vector.buf, dim, dense.buf, logits.buf, columns);
    Py_ssize_t distinct = add_lexical(&lowered, &others, &idf, &damped, &packed, logits.buf, columns);
    if (distinct >= 0)
        result = PyBool_FromLong(anything || distinct > 0);
end:
    free(rows);
    Py_buffer *buffers[] = {&lowered, &others, &logits, &vector,  &idf,    &damped,
                            &packed,  &table,  &marks,  &vectors, &scales, &dense};
    for (size_t each = 0; each < sizeof buffers / sizeof *buffers; each++)
        PyBuffer_Release(buffers[each]);
    return result;
}

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
        refused("lengths do not fit");
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
    {"token_table", token_table, METH_O, NULL},
    {"token_rows", token_rows, METH_VARARGS, NULL},
    {"mean_of_rows", mean_of_rows, METH_VARARGS, NULL},
    {"score", score, METH_VARARGS, NULL},
    {"calibrate", calibrate, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_native", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__native(void) { return PyModuleDef_Init(&module); }
