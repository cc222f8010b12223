/* Hashed words, pairs of words and byte 4-grams of a text: the buckets of `count_ngrams` in features/_ngrams.py. */

#include "native.h"

#include <stdlib.h>

#define PAIR 0xA0761D6478BD642Full
#define GOLDEN 0x9E3779B1u

const uint8_t KIND[256] = {['a' ... 'z'] = PLAIN, ['0' ... '9'] = PLAIN, ['_'] = OTHER, [0x80 ... 0xff] = OTHER};

/* Places of what was counted, found by bucket: 0 for none, or one more than the place. */
typedef struct {
    Counted *out;
    uint32_t *places;
    uint32_t mask;
    const float *idf;
    const int8_t *packed;
    Py_ssize_t width;
} Counter;

static inline void count(Counter *counter, uint32_t bucket) {
    Counted *out = counter->out;
    uint32_t at = bucket * GOLDEN >> 8 & counter->mask, place;
    while ((place = counter->places[at]) != 0) {
        if (out->buckets[place - 1] == (int32_t)bucket) {
            out->counts[place - 1]++;
            return;
        }
        at = (at + 1) & counter->mask;
    }
    out->buckets[out->distinct] = (int32_t)bucket;
    out->counts[out->distinct] = 1;
    counter->places[at] = (uint32_t)++out->distinct;
#ifdef __GNUC__
    __builtin_prefetch(counter->idf + bucket);
    __builtin_prefetch(counter->packed + bucket * counter->width);
#endif
}

static inline uint8_t folded(uint8_t byte) { return byte >= '1' && byte <= '9' ? '0' : byte; }

/* Words and pairs of words; returns how many words. */
static Py_ssize_t count_words(Counter *counter, const uint8_t *text, Py_ssize_t length) {
    uint64_t before = 0;
    Py_ssize_t words = 0;
    for (Py_ssize_t at = 0; at < length;) {
        if (!KIND[text[at]]) {
            at++;
            continue;
        }
        uint64_t hash = 0;
        for (uint64_t power = 1; at < length && KIND[text[at]]; at++, power *= BASE)
            hash += folded(text[at]) * power;
        hash = mixed(hash);
        count(counter, (uint32_t)(hash >> (64 - WORD_BITS)));
        if (words++)
            count(counter, (uint32_t)(mixed(before * PAIR + hash) >> (64 - WORD_BITS)));
        before = hash;
    }
    return words;
}

static void count_bytes(Counter *counter, const uint8_t *text, Py_ssize_t length) {
    uint32_t gram = 0;
    for (Py_ssize_t at = 0; at < length; at++) {
        /* The first byte is the lowest. */
        gram = gram >> 8 | (uint32_t)folded(text[at]) << 24;
        if (at >= 3)
            count(counter, (gram * GOLDEN >> (32 - BYTE_BITS)) + (1u << WORD_BITS));
    }
}

int count_ngrams(
    const uint8_t *text, Py_ssize_t length, const uint32_t *others, Py_ssize_t more, const float *idf,
    const int8_t *packed, Py_ssize_t width, Counted *out
) {
    /* Byte n-grams are fewer than bytes, words and pairs together no more than bytes: one place stays free. */
    Py_ssize_t most = 2 * length + more + 1, size = 1024;
    while (size < most)
        size *= 2;
    *out = (Counted){malloc(most * sizeof *out->buckets), malloc(most * sizeof *out->counts), 0, 0};
    Counter counter = {out, calloc(size, sizeof *counter.places), (uint32_t)size - 1, idf, packed, width};
    int failed = out->buckets == NULL || out->counts == NULL || counter.places == NULL;
    if (failed) {
        PyErr_NoMemory();
    } else if (count_words(&counter, text, length) > 0 || length > 3) {
        for (Py_ssize_t at = 0; at < more && !failed; at++) {
            if ((failed = others[at] >> WORD_BITS != 0))
                refused("a bucket is out of range");
            else
                count(&counter, others[at]);
        }
        out->of_words = out->distinct;
        count_bytes(&counter, text, length);
    }
    free(counter.places);
    return failed ? -1 : 0;
}

void release_counted(Counted *counted) {
    free(counted->buckets);
    free(counted->counts);
}
