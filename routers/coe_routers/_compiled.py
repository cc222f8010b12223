"""The compiled twin of the numpy code that reads a prompt (`_native.c`), where the installation has one.

hatch_build.py compiles it with the package if the machine has a C compiler. Without it everything works, and
decides the same, in more time.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray


class Native(Protocol):
    """What `_native.c` offers. Arrays come back as bytes. Raises `ValueError` for indices out of range."""

    def count_ngrams(self, lowered: bytes, others: NDArray[np.uint32], /) -> tuple[bytes, bytes]:
        """`count_ngrams` of `Reading.lowered` and other buckets, uint32[k]: int64[m] and int64[m]."""
        ...

    def weigh(
        self,
        buckets: NDArray[np.int64],
        counts: NDArray[np.int64],
        idf: NDArray[np.float32],
        damped: NDArray[np.float32],
        /,
    ) -> bytes:
        """The values of `weigh`, float32[m]; `damped` holds the first `1 + ln count`, float32[k]."""
        ...

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

    def add_weights(
        self,
        total: NDArray[np.float32],
        buckets: NDArray[np.int64],
        values: NDArray[np.float32],
        packed: NDArray[np.void],
        width: int,
        /,
    ) -> None:
        """Adds the packed weights of buckets, `width` bytes each with the scale last, times their values."""
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
