"""The `static` embedder: one vector per token, averaged. No network to run, numpy only.

Source: vectors distilled from sentence-transformers/all-MiniLM-L6-v2 with model2vec
(https://github.com/MinishLab/model2vec): every token through the encoder, PCA, weights by frequency.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from coe.errors import ArtifactError
from coe_routers._compiled import NATIVE
from coe_routers.features._reading import Reading, read
from coe_routers.features._token_rows import CompiledTokenRows, TokenRows
from coe_routers.store import read_folder, read_tensors

if TYPE_CHECKING:
    from numpy.typing import NDArray

KIND = "static-embedder"
BUILTIN = Path(__file__).parents[1] / "builtin" / "static"


class StaticEmbedder:
    """Mean of token vectors, unit norm.

    Args:
        vocabulary: the token of each row.
        vectors: int8[rows, dim].
        scales: float32[rows]; row r is `vectors[r] * scales[r]`.
        fingerprint: hash of all that.
    """

    def __init__(
        self,
        vocabulary: Sequence[str],
        vectors: NDArray[np.int8],
        scales: NDArray[np.float32],
        fingerprint: str,
    ) -> None:
        self._vocabulary = vocabulary
        if NATIVE is None or len(vocabulary) > CompiledTokenRows.MOST:
            self._tokens = TokenRows(vocabulary)
        else:
            self._tokens = CompiledTokenRows(NATIVE, vocabulary)
        self._vectors = vectors
        self._scales = scales
        self._fingerprint = fingerprint

    @classmethod
    def load(cls, path: Path = BUILTIN) -> StaticEmbedder:
        """Load from an artifact folder; the built-in one by default. Raises `ArtifactError`."""
        folder = read_folder(path, KIND)
        tensors = read_tensors(path / "model.safetensors")
        vocabulary = (path / "vocab.txt").read_text(encoding="utf-8").split("\n")
        vectors, scales = tensors.get("vectors"), tensors.get("scales")
        if vectors is None or scales is None or not len(vocabulary) == len(vectors) == len(scales):
            raise ArtifactError(f"{path} does not hold one vector and one scale for each token.")
        return cls(vocabulary, vectors, scales, folder.revision)

    @property
    def fingerprint(self) -> str:
        """Hash of the vectors and the vocabulary."""
        return self._fingerprint

    @property
    def vocabulary(self) -> Sequence[str]:
        """The token of each row."""
        return self._vocabulary

    @property
    def vectors(self) -> NDArray[np.int8]:
        """int8[rows, dim]; a row times its scale is the vector of its token."""
        return self._vectors

    @property
    def scales(self) -> NDArray[np.float32]:
        """float32[rows]."""
        return self._scales

    @property
    def token_rows(self) -> TokenRows | CompiledTokenRows:
        """What finds the rows of a text."""
        return self._tokens

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return int(self._vectors.shape[1])

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """float32[n, dim], unit norm; zero for a text without a known token."""
        return self.embed_readings([read(text) for text in texts])

    def embed_readings(self, readings: Sequence[Reading]) -> NDArray[np.float32]:
        """The same for texts that were read already."""
        embedded = np.zeros((len(readings), self.dim), np.float32)
        for place, reading in enumerate(readings):
            rows = self._tokens.rows(reading)
            if len(rows):
                embedded[place] = mean_of_rows(rows, self._vectors, self._scales)
        return embedded

    def tokens(self, text: str) -> NDArray[np.int32]:
        """Rows of the text's tokens, int32[n]: words first, then punctuation."""
        return self._tokens.rows(read(text))


def mean_of_rows(
    rows: NDArray[np.int32], vectors: NDArray[np.int8], scales: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The mean of some rows of `vectors` times their scales, with unit norm: float32[dim]."""
    if NATIVE is None:
        return mean_in_numpy(rows, vectors, scales)
    return np.frombuffer(NATIVE.mean_of_rows(rows, vectors, scales), np.float32)


def mean_in_numpy(
    rows: NDArray[np.int32], vectors: NDArray[np.int8], scales: NDArray[np.float32]
) -> NDArray[np.float32]:
    """`mean_of_rows` where nothing is compiled."""
    total = scales.take(rows).dot(vectors.take(rows, axis=0).astype(np.float32))
    norm = math.sqrt(total.dot(total))
    return total * np.float32(1 / norm) if norm > 0 else total
