import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coe.contracts import Features
from coe_routers.features import BUCKETS, Encoder, count_ngrams, inverse_document_frequency, read
from coe_routers.features._ngrams import WORD_BUCKETS
from coe_routers.features._shape import shape_buckets


@given(st.text(max_size=300))
def test_buckets_are_words_and_pairs_of_six_facts(text: str) -> None:
    buckets = shape_buckets(text)
    assert buckets.shape == (21,)
    assert buckets.dtype == np.uint32
    assert (buckets < WORD_BUCKETS).all()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("who sings it", "Who sings it"),
        ("Who sings it", "Who sings it?"),
        ("who sings it", "WHO SINGS IT"),
        ("who sings it", "who sings it and when was it recorded for the first time"),
        ("who sings it", "who\nsings it"),
        ("who sings it", "who  sings it"),
    ],
)
def test_texts_that_are_typed_differently_differ(one: str, other: str) -> None:
    assert set(shape_buckets(one).tolist()) != set(shape_buckets(other).tolist())


def test_words_do_not_matter() -> None:
    np.testing.assert_array_equal(shape_buckets("who sings it"), shape_buckets("how dance we"))


@given(st.text(max_size=300))
def test_shape_is_counted_beside_the_n_grams(text: str) -> None:
    plain, counts = count_ngrams(read(text))
    both, more = count_ngrams(read(text), shape_buckets(text))
    if not len(plain):
        assert not len(both)
        return
    assert set(both.tolist()) == set(plain.tolist()) | set(shape_buckets(text).tolist())
    assert more.sum() == counts.sum() + 21
    assert (np.diff(both) > 0).all()


def test_an_encoder_reads_the_shape_only_when_told_to() -> None:
    texts = ["who sings it", "Who sings it"]
    idf = inverse_document_frequency([count_ngrams(read(text))[0] for text in texts])
    features = [Features(text=text) for text in texts]
    for shape in (False, True):
        rows = Encoder(idf, None, shape=shape).encode(features).lexical
        assert rows is not None
        assert (rows[0].buckets.tolist() == rows[1].buckets.tolist()) is not shape
    assert idf.shape == (BUCKETS,)
