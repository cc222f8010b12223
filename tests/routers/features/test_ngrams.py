from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coe_routers.features import BUCKETS, count_ngrams, read
from coe_routers.features._ngrams import WORD_BUCKETS

MASK = (1 << 64) - 1


def reference(text: str) -> Counter[int]:
    """The same hashing, one n-gram after the other."""
    folded = " ".join(text.lower().split()).encode("utf-8", "replace")
    data = b" " + bytes(ord("0") if chr(code).isdigit() and code < 128 else code for code in folded) + b" "
    counted: Counter[int] = Counter()
    for start in range(len(data) - 3):
        packed = int.from_bytes(data[start : start + 4], "little")
        counted[WORD_BUCKETS + ((packed * 0x9E3779B1 & 0xFFFFFFFF) >> 16)] += 1
    words: list[bytes] = []
    word = b""
    for code in data:
        if code >= 0x80 or chr(code).isalnum() or chr(code) == "_":
            word += bytes([code])
        elif word:
            words.append(word)
            word = b""
    hashes = [
        mixed(sum(code * pow(0x100000001B3, place, 1 << 64) for place, code in enumerate(each)))
        for each in words
    ]
    pairs = [mixed(first * 0xA0761D6478BD642F + second) for first, second in pairwise(hashes)]
    counted.update(value >> 49 for value in (*hashes, *pairs))
    return counted


def mixed(value: int) -> int:
    value &= MASK
    return (value ^ (value >> 32)) * 0xD6E8FEB86659FD93 & MASK


TEXTS = st.text() | st.text("ab 1.\n_é", max_size=40) | st.text(st.characters(), max_size=80)


@given(TEXTS)
def test_equals_the_loop_over_ngrams(text: str) -> None:
    buckets, counts = count_ngrams(read(text))
    assert dict(zip(buckets.tolist(), counts.tolist(), strict=True)) == reference(text)


@given(TEXTS)
def test_buckets_are_sorted_distinct_and_in_range(text: str) -> None:
    buckets, counts = count_ngrams(read(text))
    assert buckets.dtype == counts.dtype == np.int64
    assert (np.diff(buckets) > 0).all()
    assert ((buckets >= 0) & (buckets < BUCKETS)).all()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What is 17*23?", "what is 40*51?"),
        ("a\t b\n\n c", "A B C"),
        ("lone \ud800 surrogate", "lone ? surrogate"),
        ("ÀÉ\u2003\u00a0Ω", "àé ω"),
        ("\x1c\x1fa\v\fb \r", "a b"),
    ],
)
def test_case_digits_and_white_space_make_no_difference(one: str, other: str) -> None:
    for left, right in zip(count_ngrams(read(one)), count_ngrams(read(other)), strict=True):
        np.testing.assert_array_equal(left, right)


def test_word_order_makes_a_difference() -> None:
    assert count_ngrams(read("dog bites man"))[0].tolist() != count_ngrams(read("man bites dog"))[0].tolist()


def test_nothing_gives_nothing() -> None:
    for text in ("", " \n\t "):
        buckets, counts = count_ngrams(read(text))
        assert len(buckets) == len(counts) == 0


def test_a_megabyte_without_a_space_is_read_up_to_the_limit() -> None:
    buckets, counts = count_ngrams(read("ab" * 500_000))
    assert len(buckets) < 20
    assert counts.sum() < 2 * (1 << 17)
