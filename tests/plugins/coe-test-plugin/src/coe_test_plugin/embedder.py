"""An embedder that counts letters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from coe.contracts import Build


class LettersSettings(BaseModel):
    """How many bins the letters fall into."""

    dim: int = Field(default=64, ge=2)


def create_letters(name: str, settings: LettersSettings, build: Build) -> Letters:
    """The plugin's factory."""
    return Letters(settings.dim)


class Letters:
    """Histogram of code points modulo `dim`."""

    def __init__(self, dim: int) -> None:
        self._dim = dim

    @property
    def fingerprint(self) -> str:
        """The one setting."""
        return f"letters-{self._dim}"

    @property
    def dim(self) -> int:
        """Number of bins."""
        return self._dim

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """float32[n, dim], unit norm or zero."""
        rows = np.zeros((len(texts), self._dim), np.float32)
        for row, text in zip(rows, texts, strict=True):
            for character, count in Counter(text).items():
                row[ord(character) % self._dim] += count
            row /= np.linalg.norm(row) or 1
        return rows
