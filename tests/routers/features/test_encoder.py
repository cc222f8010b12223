import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from coe.contracts import Features
from coe_routers.features import BUCKETS, Encoder, count_ngrams, inverse_document_frequency, read, weigh
from coe_routers.features._ngrams import WORD_BUCKETS

TRAINED = ["the cat sat", "the dog sat", "the bird flew"]


def idf() -> np.ndarray:
    return inverse_document_frequency([count_ngrams(read(text))[0] for text in TRAINED])


def test_frequent_ngrams_weigh_less_and_unseen_ones_most() -> None:
    weights = idf()
    everywhere = np.intersect1d(count_ngrams(read(TRAINED[0]))[0], count_ngrams(read(TRAINED[2]))[0])
    unseen = np.setdiff1d(
        np.arange(BUCKETS), np.concatenate([count_ngrams(read(text))[0] for text in TRAINED])
    )
    assert weights[everywhere].max() == 1.0
    assert weights[unseen].min() == weights.max() > weights[count_ngrams(read("flew"))[0]].min()


@given(st.text(min_size=1))
def test_words_and_bytes_have_unit_norm_each(text: str) -> None:
    row = weigh(*count_ngrams(read(text)), np.ones(BUCKETS, np.float32))
    for part in (row.values[row.buckets < WORD_BUCKETS], row.values[row.buckets >= WORD_BUCKETS]):
        assert len(part) == 0 or abs(float(part @ part) - 1) < 1e-4


def test_repeated_words_are_damped() -> None:
    ones = np.ones(BUCKETS, np.float32)
    for often in (8, 4095, 4096, 100_000):
        row = weigh(np.array([1, 2]), np.array([1, often]), ones)
        np.testing.assert_allclose(row.values[1] / row.values[0], 1 + np.log(often), rtol=1e-6)


def test_parts_can_be_switched_off() -> None:
    encoded = Encoder(idf(), None).encode([Features(text="a cat"), Features(text="")])
    assert encoded.dense is None
    assert encoded.lexical is not None
    assert [len(row.buckets) > 0 for row in encoded.lexical] == [True, False]
    assert len(encoded) == 2
