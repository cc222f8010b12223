"""Nearest neighbours by cosine through FAISS (extra: `faiss`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from coe.errors import ArtifactError
from coe_routers._extras import library

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from coe_routers.features import Encoded

EXACT_UPTO = 20_000
"""Up to so many examples all are compared; beyond, an inverted file of 8-bit vectors is searched in part."""
_PROBED_LISTS = 16
_TRAINING_VECTORS_PER_LIST = 64
_SHARPNESS = 20.0
_FLOOR = 1e-3


class NeighbourHead:
    """Examples with labels; a prompt's neighbours vote, near ones more.

    Args:
        index: FAISS index over unit vectors, inner product.
        labels: int32[m], the column of each example.
        columns: how many there are.
        neighbours: how many vote.
    """

    def __init__(self, index: Any, labels: NDArray[np.int32], columns: int, neighbours: int) -> None:
        self._index = index
        self._labels = labels
        self.columns = columns
        self.neighbours = neighbours

    @classmethod
    def fit(
        cls, vectors: NDArray[np.float32], labels: NDArray[np.int64], columns: int, neighbours: int
    ) -> NeighbourHead:
        """Index float32[m, dim] unit vectors with labels int64[m]. Raises `PluginError` without FAISS."""
        faiss = library("faiss", "faiss")
        count, dim = vectors.shape
        if count <= EXACT_UPTO:
            index: Any = faiss.IndexFlatIP(dim)
        else:
            lists = int(4 * np.sqrt(count))
            index = faiss.index_factory(dim, f"IVF{lists},SQ8", faiss.METRIC_INNER_PRODUCT)
            step = max(1, count // (_TRAINING_VECTORS_PER_LIST * lists))
            index.train(np.ascontiguousarray(vectors[::step]))
            index.nprobe = _PROBED_LISTS
        index.add(np.ascontiguousarray(vectors))
        return cls(index, labels.astype(np.int32), columns, min(neighbours, count))

    @classmethod
    def from_tensors(
        cls, tensors: Mapping[str, NDArray[Any]], columns: int, dim: int, neighbours: int
    ) -> NeighbourHead:
        """The saved head. Raises `ArtifactError` when the index does not fit its labels."""
        faiss = library("faiss", "faiss")
        try:
            index: Any = faiss.deserialize_index(tensors["index"])
        except (RuntimeError, KeyError) as error:
            raise ArtifactError(f"The index of neighbours cannot be read: {error}.") from error
        labels = tensors["labels"]
        if index.ntotal != len(labels) or index.d != dim or not len(labels) or labels.max() >= columns:
            raise ArtifactError(
                f"The index of neighbours holds {index.ntotal} vectors of {index.d} dimensions for "
                f"{len(labels)} labels and an embedder of {dim} dimensions."
            )
        return cls(index, labels, columns, neighbours)

    def logits(self, encoded: Encoded) -> NDArray[np.float32]:
        """Logarithm of the votes, float32[n, columns]. A prompt without a near neighbour gets equal ones."""
        votes = np.full((len(encoded), self.columns), _FLOOR, np.float32)
        assert encoded.dense is not None
        for row in range(len(encoded)):
            similarity, places = self._index.search(encoded.dense[row : row + 1], self.neighbours)
            found = places[0] >= 0
            weights = np.exp(_SHARPNESS * (similarity[0][found] - 1))
            np.add.at(votes[row], self._labels[places[0][found]], weights)
        return np.log(votes)

    def tensors(self) -> Mapping[str, NDArray[Any]]:
        """The index as bytes, and the labels."""
        faiss = library("faiss", "faiss")
        return {"index": faiss.serialize_index(self._index), "labels": self._labels}
