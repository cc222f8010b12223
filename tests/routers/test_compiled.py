"""What is compiled against the numpy and Python code that does the same."""

import shutil
import sysconfig
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from coe.contracts import Features, ToolFact
from coe.testing import create, load, pool_view
from coe_routers._compiled import NATIVE
from coe_routers.classifiers import LinearHead, evidence
from coe_routers.classifiers._calibrated import classification, classification_in_python
from coe_routers.classifiers._scorer import scorer
from coe_routers.features import BUCKETS, Encoder, StaticEmbedder
from coe_routers.features._static import mean_in_numpy, mean_of_rows
from coe_routers.features._token_rows import CompiledTokenRows, TokenRows

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


def small_embedder() -> StaticEmbedder:
    vocabulary = ["the", "a", "##a", "##b", "b", "1", ".", "é"]
    vectors = RANDOM.integers(-128, 128, (len(vocabulary), 20)).astype(np.int8)
    return StaticEmbedder(vocabulary, vectors, RANDOM.random(len(vocabulary), np.float32), "small")


def linear(columns: int, dim: int) -> LinearHead:
    return LinearHead(
        lexical=RANDOM.integers(-128, 128, (BUCKETS, columns)).astype(np.int8),
        lexical_scales=RANDOM.random(BUCKETS, np.float32) / 50,
        dense=RANDOM.random((dim, columns), np.float32) if dim else None,
        bias=RANDOM.random(columns, np.float32),
    )


IDF = (1 + np.arange(BUCKETS) % 7).astype(np.float32)
EMBEDDER = small_embedder()
WAYS = [
    (encoder, head, scorer(encoder, head))
    for encoder, head in [
        (Encoder(IDF, None), linear(1, 0)),
        (Encoder(IDF, None, shape=True), linear(12, 0)),
        (Encoder(IDF, EMBEDDER), linear(11, 20)),
        (Encoder(IDF, EMBEDDER, tools=True, shape=True), linear(58, 20)),
    ]
]


@needs_native
@settings(max_examples=30)
@given(st.lists(TEXTS | st.sampled_from(["ΑΣ b", "a\x00b", "?", "\ud800 a"]), min_size=1, max_size=4))
@example(["ab" * 100_000, "a " * 10_000])
def test_logits_embedding_and_evidence_are_the_same_to_rounding(texts: list[str]) -> None:
    features = [Features(text=text, tools=(ToolFact("weather", "of a city"),)) for text in texts]
    for encoder, head, compiled in WAYS:
        assert compiled is not None
        encoded, found = encoder.encode(features), compiled.score(features)
        np.testing.assert_allclose(found.logits, head.logits(encoded), rtol=1e-5, atol=2e-5)
        np.testing.assert_array_equal(found.evidence, evidence(encoded))
        assert (found.dense is None) is (encoded.dense is None)
        if found.dense is not None and encoded.dense is not None:
            np.testing.assert_allclose(found.dense, encoded.dense, atol=1e-6)
        (alone,) = compiled.score(features[-1:]).logits
        np.testing.assert_array_equal(alone, found.logits[-1])


@needs_native
@given(arrays(np.int32, st.integers(1, 40), elements=st.integers(0, 29)), st.sampled_from([1, 7, 8, 67, 256]))
def test_means_are_the_same_to_rounding(rows: np.ndarray, dim: int) -> None:
    vectors = RANDOM.integers(-128, 128, (30, dim)).astype(np.int8)
    scales = RANDOM.random(30, np.float32)
    np.testing.assert_allclose(
        mean_of_rows(rows, vectors, scales), mean_in_numpy(rows, vectors, scales), atol=1e-6
    )


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
    for module in ("features._static", "classifiers._scorer", "classifiers._calibrated"):
        monkeypatch.setattr(import_module(f"coe_routers.{module}"), "NATIVE", None)
    router = create(load("coe.routers", "two-step"))
    plain = router.classifier.classify(features)
    assert isinstance(router.classifier.encoder.embedder._tokens, TokenRows)
    np.testing.assert_allclose(compiled.probabilities, plain.probabilities, atol=2e-6)
    np.testing.assert_allclose(compiled.uncertainty, plain.uncertainty, atol=2e-6)
    assert [(each.category, each.reason, each.expert) for each in found] == [
        (each.category, each.reason, each.expert)
        for each in router.route_batch(features, pool_view("a", "b"))
    ]


@needs_native
def test_what_does_not_fit_is_refused() -> None:
    assert NATIVE is not None
    vectors, scales = np.zeros((2, 4), np.int8), np.ones(2, np.float32)
    marks, table = np.zeros(128, np.int32), NATIVE.token_table(["the"])
    for row in (-1, 2, 1 << 30):
        with pytest.raises(ValueError, match="out of range"):
            NATIVE.mean_of_rows(np.array([row], np.int32), vectors, scales)
    with pytest.raises(ValueError, match="out of range"):
        NATIVE.mean_of_rows(np.zeros(1, np.int32), vectors, scales.view(np.int8)[:3])  # not one whole scale
    with pytest.raises(ValueError, match="do not fit"):
        NATIVE.calibrate(np.ones(5, np.float32), np.ones(2, np.bool_), 3, 3, 1.0)
    for bad in (table[:-8], b""):
        with pytest.raises(ValueError, match="no tables"):
            NATIVE.token_rows(b" the ", bad, marks, {})
    accent = "\u00e9".encode()
    with pytest.raises(ValueError, match="more tokens than bytes"):
        NATIVE.token_rows(accent, table, marks, {accent: bytes(12)})
    with pytest.raises(KeyError):
        NATIVE.token_rows(accent, table, marks, {})


@needs_native
@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"others": np.array([1 << 15], np.uint32)}, "out of range"),
        ({"tokens": np.array([99], np.int32).tobytes()}, "out of range"),
        ({"logits": np.zeros(70, np.float32)}, "do not fit"),
        ({"vector": np.zeros(21, np.float32)}, "do not fit"),
        ({"idf": IDF[1:]}, "do not fit"),
        ({"packed": np.zeros(5, "V16")}, "do not fit"),
    ],
)
def test_a_score_of_what_does_not_fit_is_refused(change: dict[str, Any], why: str) -> None:
    assert NATIVE is not None
    compiled = WAYS[2][2]
    assert compiled is not None
    names = ("idf", "damped", "packed", "table", "marks", "words", "vectors", "scales", "dense")
    given = dict(zip(names, compiled._tables, strict=True))
    given |= {"others": np.empty(0, np.uint32), "tokens": None}
    given |= {"logits": np.zeros(11, np.float32), "vector": np.zeros(20, np.float32), **change}
    first = [given[name] for name in ("others", "tokens", "logits", "vector")]
    with pytest.raises(ValueError, match=why):
        NATIVE.score(b" some text ", *first, tuple(given[name] for name in names))


def test_the_built_in_vectors_are_read_in_place() -> None:
    """A copy would hold eight megabytes twice."""
    vectors = StaticEmbedder.load()._vectors
    assert not vectors.flags.owndata
    assert vectors.flags.c_contiguous


@needs_native
def test_a_vocabulary_too_large_for_the_table_is_left_to_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(small_embedder().token_rows, CompiledTokenRows)
    monkeypatch.setattr(CompiledTokenRows, "MOST", 7)
    assert isinstance(small_embedder().token_rows, TokenRows)
