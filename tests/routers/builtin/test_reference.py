"""The classifier that ships against the plain way to compute the same: loops over n-grams and words."""

import math
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coe.contracts import Features
from coe.testing import create, load
from coe_routers.classifiers import LinearHead, TrainedClassifier
from coe_routers.features import StaticEmbedder, windows
from coe_routers.features._ngrams import WORD_BUCKETS
from coe_routers.features._static import BUILTIN
from coe_routers.features._wordpiece import WordPiece
from coe_routers.store import read_tensors

MASK = (1 << 64) - 1
CLASSIFIER: TrainedClassifier = create(load("coe.routers", "two-step")).classifier
TOKENS = WordPiece({token: row for row, token in enumerate(StaticEmbedder.load().vocabulary)})
VECTORS = read_tensors(BUILTIN / "model.safetensors")

CODE = "def f(x_1: list[int]) -> bool:\n\treturn x_1[0] == 0xFF and not {'a': 2**8}  # naïve\n\n" * 3
LETTER = "Dear Ms O’Neill — I don’t think “17*23 = 391” is wrong; see §4. Café 機械学習 привет ΟΔΟΣ\u00a0!"


def reference(text: str) -> np.ndarray:
    """Logits, float64[c]."""
    head, idf = CLASSIFIER.head, CLASSIFIER.encoder.idf
    assert isinstance(head, LinearHead)
    assert head.lexical is not None
    assert head.lexical_scales is not None
    assert head.dense is not None
    assert idf is not None
    logits = head.bias.astype(np.float64)
    counted = ngrams(windows(text))
    for words in (True, False):
        part = {
            bucket: (1 + math.log(count)) * float(idf[bucket])
            for bucket, count in counted.items()
            if (bucket < WORD_BUCKETS) == words
        }
        norm = math.sqrt(sum(value**2 for value in part.values()))
        for bucket, value in part.items():
            logits += value / norm * float(head.lexical_scales[bucket]) * head.lexical[bucket]
    rows = TOKENS.rows(windows(text))
    vectors = VECTORS["vectors"][rows] * VECTORS["scales"][rows, None].astype(np.float64)
    total = vectors.sum(axis=0)
    return logits + (total / norm @ head.dense if (norm := np.linalg.norm(total)) > 0 else 0)


def ngrams(text: str) -> Counter[int]:
    folded = " ".join(text.lower().split()).encode("utf-8", "replace")
    data = b" " + bytes(ord("0") if ord("0") <= code <= ord("9") else code for code in folded) + b" "
    counted = Counter(
        WORD_BUCKETS + ((int.from_bytes(data[start : start + 4], "little") * 0x9E3779B1 & 0xFFFFFFFF) >> 16)
        for start in range(len(data) - 3)
    )
    inside = bytes(code if code >= 0x80 or chr(code).isalnum() or code == ord("_") else 32 for code in data)
    hashes = [
        mixed(sum(code * pow(0x100000001B3, place, 1 << 64) for place, code in enumerate(word)))
        for word in inside.split(b" ")
        if word
    ]
    pairs = [mixed(first * 0xA0761D6478BD642F + second) for first, second in pairwise(hashes)]
    counted.update(value >> 49 for value in (*hashes, *pairs))
    return counted


def mixed(value: int) -> int:
    value &= MASK
    return (value ^ (value >> 32)) * 0xD6E8FEB86659FD93 & MASK


def found(text: str) -> np.ndarray:
    return CLASSIFIER.head.logits(CLASSIFIER.encoder.encode([Features(text=text)]))[0]


@settings(max_examples=60, deadline=None)
@given(
    st.text(max_size=200) | st.lists(st.sampled_from([*CODE.split(" "), *LETTER.split(" ")])).map(" ".join)
)
def test_any_text(text: str) -> None:
    np.testing.assert_allclose(found(text), reference(text), atol=2e-5)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n",
        "x",
        "?",
        CODE,
        LETTER,
        "lone \ud800 surrogate",
        "a\x00b",
        "ab" * 6000,
        f"{CODE}{LETTER}" * 60,
    ],
)
def test_this_text(text: str) -> None:
    np.testing.assert_allclose(found(text), reference(text), atol=2e-5)
