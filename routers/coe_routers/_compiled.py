"""The compiled twin of the numpy code that reads a prompt (`native/`), where the installation has one.

hatch_build.py compiles it with the package if the machine has a C compiler. Without it everything works, and
decides the same, in more time.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Protocol, TypeAlias, cast

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray


ScoreTables: TypeAlias = """tuple[
    NDArray[np.float32],
    NDArray[np.float32],
    NDArray[np.void],
    bytes,
    NDArray[np.int32],
    Mapping[str | bytes, bytes],
    NDArray[np.int8],
    NDArray[np.float32],
    NDArray[np.float32],
]"""
"""idf, the first `1 + ln count`, packed weights of buckets (`classifiers`), table, marks and other words of
`token_rows`, vectors and scales of `mean_of_rows`, and weights of the embedding, float32[dim, c]."""


class Native(Protocol):
    """What `native/module.c` offers. Arrays come back as bytes.

    Raises `ValueError` for indices out of range and for lengths that do not fit.
    """

    def token_table(self, vocabulary: Sequence[str], /) -> bytes:
        """The table of a vocabulary, at most 2^20 tokens, in which `token_rows` looks."""
        ...

    def token_rows(
        self, lowered: bytes, table: bytes, marks: NDArray[np.int32], others: Mapping[str | bytes, bytes], /
    ) -> bytes | None:
        """Rows of `Reading.lowered`, int32[n].

        `others` gives the rows, int32[k], of words that hold other than letters and digits. `marks`,
        int32[128], says what each other ASCII character gives: its row, -1 for nothing, and -2 where the text
        cannot be read so: the result is None then.
        """
        ...

    def mean_of_rows(
        self, rows: NDArray[np.int32], vectors: NDArray[np.int8], scales: NDArray[np.float32], /
    ) -> bytes:
        """The unit-norm mean, float32[dim], of `vectors[rows] * scales[rows]`; `rows` are int32[n]."""
        ...

    def score(
        self,
        lowered: bytes,
        others: NDArray[np.uint32],
        tokens: bytes | None,
        logits: NDArray[np.float32],
        vector: NDArray[np.float32],
        tables: ScoreTables,
        /,
    ) -> bool | None:
        """Adds both parts of one prompt's logits, and sets `vector` to its embedding, float32[dim].

        Args:
            lowered: `Reading.lowered`.
            others: of `count_ngrams`; among the buckets of words.
            tokens: rows of its tokens, int32[n]; None to find them by the tables.
            logits: float32[c]; to begin with, the bias.
            vector: float32[dim]; of length 0 without an embedder.
            tables: of the encoder and the head.

        Returns:
            Whether there is anything to go by; None where the tokens cannot be found by the tables.
        """
        ...

    def calibrate(
        self,
        logits: NDArray[np.float32],
        known: NDArray[np.bool_],
        columns: int,
        categories: int,
        temperature: float,
        /,
    ) -> tuple[bytes, bytes]:
        """`classification`: probabilities, float32[n, categories], and uncertainty, float32[n]."""
        ...


def _found() -> Native | None:
    try:
        return cast("Native", import_module("coe_routers._native"))
    except ImportError:
        return None


NATIVE = _found()
