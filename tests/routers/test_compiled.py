"""What is compiled against the numpy and Python code that does the same."""

import shutil
import sysconfig
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from coe.contracts import Features
from coe.testing import create, load, pool_view
from coe_routers._compiled import NATIVE
from coe_routers.classifiers._calibrated import classification, classification_in_python
from coe_routers.classifiers._linear import add_in_numpy, add_lexical, pack
from coe_routers.features import BUCKETS, SparseRow, StaticEmbedder, count_ngrams, read, weigh
from coe_routers.features._encoder import weigh_in_numpy
from coe_routers.features._ngrams import count_in_numpy
from coe_routers.features._static import mean_in_numpy, mean_of_rows
from coe_routers.features._token_rows import TokenRows

HAS_COMPILER = (
    any(map(shutil.which, ("cc", "gcc", "clang")))
    and (Path(sysconfig.get_path("include")) / "Python.h").exists()
)
RANDOM = np.random.default_rng(0)
TEXTS = (
    st.text() | st.text("ab 1.\n_é", max_size=40) | st.text(st.characters(max_codepoint=127), max_size=200)
)

needs_native = pytest.mark.skipif(NATIVE is None, reason="this machine has no C compiler")


@pytest.mark.skipif(not HAS_COMPILER, reason="this machine has no C compiler")
def test_it_is_compiled_where_there_is_a_compiler() -> None:
    assert NATIVE is not None


@needs_native
@given(TEXTS, st.lists(st.integers(0, BUCKETS - 1), max_size=30))
@example("ab" * 100_000, [])
def test_n_grams_are_the_same(text: str, others: list[int]) -> None:
    more = np.array(others, np.uint32)
    for found, expected in zip(count_ngrams(read(text), more), count_in_numpy(read(text), more), strict=True):
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


@needs_native
@given(TEXTS, st.sampled_from([1, 40, 5000]))
def test_weights_are_the_same_to_rounding(text: str, often: int) -> None:
    idf = (1 + np.arange(BUCKETS) % 7).astype(np.float32)
    buckets, counts = count_ngrams(read(text))
    found, expected = (function(buckets, counts * often, idf) for function in (weigh, weigh_in_numpy))
    np.testing.assert_allclose(found.values, expected.values, rtol=1e-6)


@needs_native
@given(arrays(np.int32, st.integers(1, 40), elements=st.integers(0, 29)), st.sampled_from([1, 7, 8, 67, 256]))
def test_means_are_the_same_to_rounding(rows: np.ndarray, dim: int) -> None:
    vectors = RANDOM.integers(-128, 128, (30, dim)).astype(np.int8)
    scales = RANDOM.random(30, np.float32)
    np.testing.assert_allclose(
        mean_of_rows(rows, vectors, scales), mean_in_numpy(rows, vectors, scales), atol=1e-6
    )


@needs_native
@given(st.integers(0, 30), st.sampled_from([1, 11, 12, 13, 58]))
def test_sums_of_weights_are_the_same_to_rounding(count: int, columns: int) -> None:
    packed = pack(
        RANDOM.integers(-128, 128, (50, columns)).astype(np.int8), RANDOM.random(50, np.float32) / 100
    )
    row = SparseRow(RANDOM.integers(0, 50, count), RANDOM.random(count, np.float32))
    found, expected = np.ones((2, columns), np.float32)
    add_lexical(found, row, packed)
    add_in_numpy(expected, row, packed)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@needs_native
@given(
    arrays(np.float32, (3, 6), elements=st.floats(-50, 50, width=32)),
    st.integers(1, 6),
    st.floats(0.1, 10),
    arrays(np.bool_, 3),
)
def test_probabilities_are_the_same_bit_by_bit(
    logits: np.ndarray, categories: int, temperature: float, evidence: np.ndarray
) -> None:
    found = classification(logits, categories, temperature, evidence)
    expected = classification_in_python(logits, categories, temperature, evidence)
    np.testing.assert_array_equal(found.probabilities, expected.probabilities)
    np.testing.assert_array_equal(found.uncertainty, expected.uncertainty)


@needs_native
def test_decisions_are_the_same_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["", "?", "Write a function that sorts numbers.", "Ünïcode “quotes” 機械 a_b", "17*23 = ? " * 500]
    texts += [f"{word} the patient's {word}ing fever in 1999?" for word in ("treat", "sue", "integrate")]
    features = [Features(text=text) for text in texts]
    router = create(load("coe.routers", "two-step"))
    compiled, found = router.classifier.classify(features), router.route_batch(features, pool_view("a", "b"))
    for module in ("features._ngrams", "features._encoder", "features._static", "classifiers._linear"):
        monkeypatch.setattr(import_module(f"coe_routers.{module}"), "NATIVE", None)
    monkeypatch.setattr(import_module("coe_routers.classifiers._calibrated"), "NATIVE", None)
    router = create(load("coe.routers", "two-step"))
    plain = router.classifier.classify(features)
    assert isinstance(router.classifier.encoder.embedder._tokens, TokenRows)
    np.testing.assert_allclose(compiled.probabilities, plain.probabilities, atol=2e-6)
    np.testing.assert_allclose(compiled.uncertainty, plain.uncertainty, atol=2e-6)
    assert [(each.category, each.reason, each.expert) for each in found] == [
        (each.category, each.reason, each.expert)
        for each in router.route_batch(features, pool_view("a", "b"))
    ]


def test_what_is_out_of_range_is_refused() -> None:
    if NATIVE is None:
        return
    idf, one = np.ones(4, np.float32), np.ones(1, np.int64)
    packed, total = np.zeros(4, "V16"), np.zeros(3, np.float32)
    vectors = np.zeros((2, 4), np.int8)
    table = NATIVE.token_table(["the"])
    for bad in (-1, 4, 1 << 40):
        buckets = np.array([bad], np.int64)
        with pytest.raises(ValueError, match="out of range"):
            NATIVE.weigh(buckets, one, idf, idf)
        with pytest.raises(ValueError, match="out of range"):
            NATIVE.add_weights(total, buckets, np.ones(1, np.float32), packed, 16)
        with pytest.raises(ValueError, match="out of range"):
            NATIVE.mean_of_rows(np.array([bad % 1000 - 500], np.int32), vectors, np.ones(2, np.float32))
    with pytest.raises(ValueError, match="out of range"):
        NATIVE.count_ngrams(b" some text ", np.array([1 << 18], np.uint32))
    with pytest.raises(ValueError, match="do not fit"):
        NATIVE.add_weights(np.zeros(13, np.float32), one, np.ones(1, np.float32), packed, 16)
    with pytest.raises(ValueError, match="do not fit"):
        NATIVE.calibrate(np.ones(5, np.float32), np.ones(2, np.bool_), 3, 3, 1.0)
    with pytest.raises(ValueError, match="no tables"):
        NATIVE.token_rows(b" the ", table[:-8], np.zeros(128, np.int32), {})
    with pytest.raises(ValueError, match="more tokens than bytes"):
        NATIVE.token_rows("\u00e9".encode(), table, np.zeros(128, np.int32), {"\u00e9".encode(): bytes(12)})
    with pytest.raises(KeyError):
        NATIVE.token_rows("\u00e9".encode(), table, np.zeros(128, np.int32), {})


def test_the_built_in_vectors_are_read_in_place() -> None:
    """A copy would hold eight megabytes twice."""
    vectors = StaticEmbedder.load()._vectors
    assert not vectors.flags.owndata
    assert vectors.flags.c_contiguous
