"""Needs FAISS, which is in the environment of `make test-all`."""

import numpy as np
import pytest

from coe.errors import ArtifactError, PluginError
from coe_routers.classifiers import NeighbourHead
from coe_routers.classifiers._neighbours import EXACT_UPTO
from coe_routers.features import Encoded


def clusters(count: int, dim: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors around three axes, and which one."""
    random = np.random.default_rng(0)
    labels = np.arange(count) % 3
    vectors = np.eye(dim)[labels] + random.normal(scale=0.15, size=(count, dim))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32), labels.astype(np.int64)


@pytest.mark.heavy
@pytest.mark.parametrize("count", [30, EXACT_UPTO + 3000])
def test_neighbours_vote_for_their_column(count: int) -> None:
    pytest.importorskip("faiss")
    vectors, labels = clusters(count)
    head = NeighbourHead.fit(vectors, labels, 3, 5)
    logits = head.logits(Encoded(None, vectors[:300]))
    assert (logits.argmax(axis=1) == labels[:300]).mean() > 0.98


@pytest.mark.heavy
def test_a_prompt_far_from_all_examples_gets_equal_votes() -> None:
    pytest.importorskip("faiss")
    vectors, labels = clusters(30)
    far = np.zeros((1, 16), np.float32)
    far[0, 9] = -1
    logits = NeighbourHead.fit(vectors, labels, 3, 5).logits(Encoded(None, far))
    assert np.ptp(logits) < 0.01


@pytest.mark.heavy
def test_the_saved_head_votes_alike_and_foreign_labels_are_refused() -> None:
    pytest.importorskip("faiss")
    vectors, labels = clusters(60)
    head = NeighbourHead.fit(vectors, labels, 3, 5)
    encoded = Encoded(None, vectors[:9])
    again = NeighbourHead.from_tensors(head.tensors(), 3, 16, 5)
    np.testing.assert_array_equal(again.logits(encoded), head.logits(encoded))
    with pytest.raises(ArtifactError, match="60 vectors of 16 dimensions for 59 labels"):
        NeighbourHead.from_tensors({**head.tensors(), "labels": labels[:59]}, 3, 16, 5)
    with pytest.raises(ArtifactError, match="cannot be read"):
        NeighbourHead.from_tensors({**head.tensors(), "index": np.zeros(9, np.uint8)}, 3, 16, 5)


def test_without_the_extra_the_message_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "faiss", None)
    vectors, labels = clusters(9)
    with pytest.raises(PluginError, match=r"coe-router\[faiss\]"):
        NeighbourHead.fit(vectors, labels, 3, 5)
