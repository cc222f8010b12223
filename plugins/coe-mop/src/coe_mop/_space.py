"""The space in which inputs are near or far: what they say, how they are spelled, what they look like.

Meaning alone does not tell tasks apart: a sum and a difference of the same numbers mean nearly the same, and
a list of options looks like one whatever it is about. So three blocks are laid side by side: the embedder's
vector, hashed character n-grams, and a dozen facts about the shape. Principal components of the user's own
inputs reduce them to a few dimensions in which distances can be trusted.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from coe.contracts import Embedder

ALGORITHM = "space/2"
"""Changes when the same tensors would place an input elsewhere."""

_SLOTS = 4096
_BYTES = 8000  # of an input are read: what decides the region is told at its beginning or not at all
_WEIGHTS = (0.7, 0.7, 1.0)  # spelling, meaning, shape; see docs/mop.md for how little they matter
_DIM = 32
_SAMPLE = 4000
_MULTIPLIERS = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F), np.uint64(0x165667B19E3779F9))
_NUMBER = re.compile(r"\d{1,15}(?:\.\d{1,15})?")
_MOST_NUMBERS = 50
_SHIFT = np.uint64(52)  # the upper 12 bits: 4,096 slots


@dataclass(frozen=True, slots=True)
class Space:
    """Places inputs. Made by `fit_space`; its tensors are part of the bundle.

    Attributes:
        idf: float32[4096], weight of each n-gram slot.
        shape_mean, shape_scale: float32[14].
        mean: float32[d], of all blocks side by side.
        axes: float32[d, dim], principal components, orthonormal columns.
    """

    idf: NDArray[np.float32]
    shape_mean: NDArray[np.float32]
    shape_scale: NDArray[np.float32]
    mean: NDArray[np.float32]
    axes: NDArray[np.float32]

    def place(self, texts: Sequence[str], embedder: Embedder) -> NDArray[np.float32]:
        """float32[n, dim]: where the inputs lie."""
        if not texts:
            return np.zeros((0, self.axes.shape[1]), np.float32)
        parts = [
            _side_by_side(texts[at : at + 512], embedder, self.idf, self.shape_mean, self.shape_scale)
            for at in range(0, len(texts), 512)
        ]
        return np.vstack([(part - self.mean) @ self.axes for part in parts]).astype(np.float32)


def fit_space(texts: Sequence[str], embedder: Embedder, rng: np.random.Generator) -> Space:
    """Learn the space from inputs (from 4,000 of them, evenly taken, when there are more).

    Args:
        texts: at least one.
        embedder: meaning.
        rng: for the randomised principal components.
    """
    picked = np.linspace(0, len(texts) - 1, min(len(texts), _SAMPLE)).astype(int)
    sample: list[str] = [texts[int(at)] for at in picked]
    seen = (_spelling(sample) > 0).sum(axis=0)
    idf = (np.log((1 + len(sample)) / (1 + seen)) + 1).astype(np.float32)
    looks = shapes(sample)
    mean, scale = looks.mean(axis=0), looks.std(axis=0) + np.float32(0.1)
    whole = _side_by_side(sample, embedder, idf, mean, scale)
    centre = whole.mean(axis=0)
    axes = _components(whole - centre, _DIM, rng)
    return Space(idf, mean, scale, centre.astype(np.float32), axes)


def _side_by_side(
    texts: Sequence[str],
    embedder: Embedder,
    idf: NDArray[np.float32],
    shape_mean: NDArray[np.float32],
    shape_scale: NDArray[np.float32],
) -> NDArray[np.float32]:
    counts = _spelling(texts)
    spelling = np.where(counts > 0, 1 + np.log(np.maximum(counts, 1)), 0) * idf
    spelling /= np.maximum(np.linalg.norm(spelling, axis=1, keepdims=True), 1e-9)
    shape = np.clip((shapes(texts) - shape_mean) / shape_scale, -3, 3) / np.sqrt(len(shape_mean))
    blocks = (spelling, embedder.embed(texts), shape)
    return np.hstack([block * weight for block, weight in zip(blocks, _WEIGHTS, strict=True)]).astype(
        np.float32
    )


def _spelling(texts: Sequence[str]) -> NDArray[np.float32]:
    """float32[n, 4096]: counts of hashed byte 1- to 3-grams, letters in lower case."""
    counts = np.zeros((len(texts), _SLOTS), np.float32)
    for row, text in enumerate(texts):
        read = np.frombuffer(text.lower().encode(errors="replace")[:_BYTES], np.uint8).astype(np.uint64)
        code = np.zeros(len(read), np.uint64)
        for size, multiplier in enumerate(_MULTIPLIERS):
            if len(read) <= size:
                break
            code = code[: len(read) - size] * np.uint64(256) + read[size:] + np.uint64(1)
            counts[row] += np.bincount((code * multiplier) >> _SHIFT, minlength=_SLOTS)
    return counts


def shapes(texts: Sequence[str]) -> NDArray[np.float32]:
    """float32[n, 14]: length, words, lines, how much is digits, capitals, signs …, how its numbers go on."""
    return np.array([_facts(text[:_BYTES]) for text in texts], np.float32)


def _facts(text: str) -> list[float]:
    size, words = max(len(text), 1), text.split()
    digits = sum(map(str.isdigit, text))
    letters_and_spaces = sum(map(str.isalnum, text)) + sum(map(str.isspace, text))
    return [
        float(np.log1p(size)),
        float(np.log1p(len(words))),
        float(np.log1p(text.count("\n"))),
        digits / size,
        sum(map(str.isupper, text)) / size,
        (len(text) - letters_and_spaces) / size,
        min(sum(map(len, words)) / max(len(words), 1), 15.0) / 5,
        10 * text.count(",") / size,
        10 * sum(map(text.count, ".?!")) / size,
        10 * text.count('"') / size,
        float(text[-1:] in (".", "?", "!")),
        float(text[:1].isupper()),
        *_numbers(text),
    ]


def _numbers(text: str) -> tuple[float, float]:
    """Share of steps from number to number that go down, less those up; first number over last, in logs.

    That tells operations apart of which only the numbers are shown: a difference begins with the larger one.
    """
    found = [float(number) for number in islice((each[0] for each in _NUMBER.finditer(text)), _MOST_NUMBERS)]
    if len(found) < 2:
        return 0.0, 0.0
    down = sum((before > after) - (before < after) for before, after in pairwise(found))
    ratio = math.log1p(found[0]) - math.log1p(found[-1])
    return down / (len(found) - 1), max(-3.0, min(ratio, 3.0))


def _components(centred: NDArray[np.float32], most: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """float32[d, dim]: leading right singular vectors by a randomised range finder, signs fixed.

    Source: Halko, Martinsson, Tropp, "Finding structure with randomness", 2011, algorithm 4.4.
    """
    dim = min(most, *centred.shape)
    basis = rng.standard_normal((centred.shape[1], min(dim + 16, *centred.shape))).astype(np.float32)
    found = np.linalg.qr(centred @ basis)[0]
    for _ in range(4):
        found = np.linalg.qr(centred @ np.linalg.qr(centred.T @ found)[0])[0]
    axes = np.linalg.svd(found.T @ centred, full_matrices=False)[2][:dim]
    signs = np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])
    return np.ascontiguousarray((axes * np.where(signs == 0, 1, signs)[:, None]).T.astype(np.float32))
