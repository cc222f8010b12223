"""The scorers of one task: a head for each capability, over features that they share.

A head's hidden features are what each block of features, and the trees, add to its score.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from coe_dmoerm._bradley_terry import fit_rewards
from coe_dmoerm._libraries import library
from coe_dmoerm._reader import BLOCKS, Raw, Read, Reader, fit_reader
from coe_dmoerm._ridge import MOST_ROWS, Choice, kernels, mixed, primal, solve
from coe_dmoerm._trees import Trees, fit_trees

if TYPE_CHECKING:
    from numpy.typing import NDArray


WHOLE = "preference"
"""The head that is trained on the pairs themselves."""
PARTS = (*BLOCKS, "trees")
_CHOICES = tuple(
    Choice(shares, noise)
    for shares in (
        (1.0, 1.0, 1.0, 1.0, 0.0),
        (1.0, 1.0, 0.3, 0.3, 0.3),
        (1.0, 1.0, 0.1, 0.1, 0.0),
        (0.5, 0.5, 1.0, 1.0, 0.3),
    )
    for noise in (0.5, 2.0)
)
_PENALTIES = (1e-4, 1e-3, 1e-2)


@dataclass(frozen=True, slots=True)
class Lesson:
    """What the heads of a task learn from.

    Attributes:
        raw: features of n items.
        prompts: int64[n], equal for answers to the same prompt.
        names: the rated capabilities.
        ratings: float64[n, a]; NaN where there is none.
        pairs: int64[m, 2], the better and the worse.
        aspects: the capability that each pair was judged by; None for the whole.
    """

    raw: Raw
    prompts: NDArray[np.int64]
    names: tuple[str, ...]
    ratings: NDArray[np.float64]
    pairs: NDArray[np.int64]
    aspects: tuple[str | None, ...]

    def take(self, kept: NDArray[np.bool_]) -> Lesson:
        """Some of the items, and the pairs among them."""
        rows = np.flatnonzero(kept)
        place = np.cumsum(kept) - 1
        whole: Any = kept[self.pairs].all(axis=1)
        return Lesson(
            self.raw.take(rows),
            self.prompts[rows],
            self.names,
            self.ratings[rows],
            place[self.pairs[whole]],
            tuple(aspect for aspect, inside in zip(self.aspects, map(bool, whole), strict=True) if inside),
        )

    def __len__(self) -> int:
        return len(self.raw)


@dataclass(frozen=True, slots=True)
class Settings:
    """What was chosen for a task: how ratings are smoothed, and how strongly pairs are."""

    ridge: Choice
    penalty: float


@dataclass(frozen=True, slots=True)
class Heads:
    """Scorers of h capabilities: rated ones first, then those known from pairs, `WHOLE` last.

    Attributes:
        names: of the capabilities.
        reader: of features.
        weights: float32[d, h] for each block.
        bias: float32[h].
        trees: of the rated capabilities; None when nothing was rated.
    """

    names: tuple[str, ...]
    reader: Reader
    weights: Mapping[str, NDArray[np.float32]]
    bias: NDArray[np.float32]
    trees: Trees | None

    def hidden(self, read: Read) -> NDArray[np.float32]:
        """float32[n, h, 6]: what each of `PARTS` adds."""
        blocks = read.blocks
        found = np.zeros((len(read.standard), len(self.names), len(PARTS)), np.float32)
        for part, name in enumerate(BLOCKS):
            found[:, :, part] = blocks[name] @ self.weights[name]
        if self.trees is not None:
            said = self.trees.predict(read.standard)
            found[:, : said.shape[1], len(BLOCKS)] = said - self.bias[: said.shape[1]]
        return found

    def scores(self, hidden: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32[n, h]: a rated capability in the scale of its ratings, the others in log odds."""
        linear = hidden[:, :, : len(BLOCKS)].sum(axis=2)
        rated = 0 if self.trees is None else self.trees.value.shape[1]
        both = linear.copy()
        both[:, :rated] = (linear[:, :rated] + hidden[:, :rated, len(BLOCKS)]) / 2
        return both + self.bias

    def tensors(self) -> dict[str, NDArray[Any]]:
        """What makes it up."""
        trees = {} if self.trees is None else self.trees.tensors()
        return {
            "bias": self.bias,
            **{f"reader.{name}": value for name, value in self.reader.tensors().items()},
            **{f"weights.{name}": value for name, value in self.weights.items()},
            **{f"trees.{name}": value for name, value in trees.items()},
        }


def heads_of(names: Sequence[str], tensors: Mapping[str, NDArray[Any]]) -> Heads:
    """The heads whose tensors these are. Raises `KeyError` when one is missing."""
    has_trees = "trees.roots" in tensors
    return Heads(
        tuple(names),
        Reader(**{name: tensors[f"reader.{name}"] for name in Reader.__slots__}),
        {name: tensors[f"weights.{name}"] for name in BLOCKS},
        tensors["bias"],
        Trees(**{name: tensors[f"trees.{name}"] for name in Trees.__slots__}) if has_trees else None,
    )


def head_names(lesson: Lesson) -> tuple[str, ...]:
    """Names of the heads that a lesson makes."""
    judged = sorted({aspect for aspect in lesson.aspects if aspect is not None} - set(lesson.names))
    return (*lesson.names, *judged, *([WHOLE] if len(lesson.pairs) else []))


@dataclass(frozen=True, slots=True)
class Study:
    """A lesson that was read.

    Attributes:
        lesson: itself.
        reader: fitted to it.
        read: what the reader makes of it.
        rows: int64[r], the rated items that ratings are learnt from, at most `MOST_ROWS`.
        products: float64[r, r], their inner products, for each block.
    """

    lesson: Lesson
    reader: Reader
    read: Read
    rows: NDArray[np.int64]
    products: Mapping[str, NDArray[np.float64]]

    def take(self, kept: NDArray[np.bool_]) -> Study:
        """Some of the items. The reader stays: what it knows of the others are no ratings."""
        inside = kept[self.rows]
        place = np.cumsum(kept) - 1
        return Study(
            self.lesson.take(kept),
            self.reader,
            self.read.take(np.flatnonzero(kept)),
            place[self.rows[inside]],
            {name: product[np.ix_(inside, inside)] for name, product in self.products.items()},
        )


def study(lesson: Lesson, seed: int) -> Study:
    """Read a lesson."""
    reader, read = fit_reader(lesson.raw, lesson.prompts, np.random.default_rng(seed))
    rated = np.flatnonzero(~np.isnan(lesson.ratings).all(axis=1))
    rows = _at_most(rated, lesson.prompts, np.random.default_rng(seed))
    products = kernels(read.take(rows).blocks) if len(rows) else {}
    return Study(lesson, reader, read, rows, products)


def choose(studied: Study, folds: NDArray[np.int64]) -> Settings:
    """Choose smoothing and penalty by pair accuracy over folds int64[n] of prompts."""
    ridge, penalty = _CHOICES[0], _PENALTIES[-1]
    if len(studied.rows) and len(studied.lesson.pairs):
        ridge = _choose_ridge(studied, folds)
    if len(studied.lesson.pairs):
        penalty = _choose_penalty(studied, ridge, folds)
    return Settings(ridge, penalty)


def fit_heads(studied: Study, settings: Settings, seed: int) -> Heads:
    """Train all heads of a task."""
    lesson, blocks = studied.lesson, studied.read.blocks
    names = head_names(lesson)
    weights = {name: np.zeros((blocks[name].shape[1], len(names)), np.float32) for name in BLOCKS}
    bias = np.zeros(len(names), np.float32)
    trees = None
    if lesson.names:
        _fit_rated(studied, settings.ridge, weights, bias)
        filled = np.where(np.isnan(lesson.ratings), bias[: len(lesson.names)], lesson.ratings)
        trees = fit_trees(studied.read.standard, _centred(filled, lesson.prompts), seed)
    for at, name in enumerate(names):
        if at < len(lesson.names):
            continue
        chosen = [row for row, aspect in enumerate(lesson.aspects) if name == WHOLE or aspect == name]
        found = _fit_pairs(blocks, lesson.pairs[chosen], settings)
        for block in BLOCKS:
            weights[block][:, at] = found[block]
    return Heads(names, studied.reader, weights, bias, trees)


def folds_of(prompts: NDArray[np.int64], count: int, seed: int) -> NDArray[np.int64]:
    """A fold, below `count`, for each item; answers to the same prompt stay together."""
    kinds, place = np.unique(prompts, return_inverse=True)
    turns = np.random.default_rng(seed).permutation(len(kinds)) % count
    return turns[place]


def _centred(targets: NDArray[np.float64], prompts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Targets without what all answers to a prompt share, as far as so few answers can tell."""
    kinds, place, counts = np.unique(prompts, return_inverse=True, return_counts=True)
    mean = targets.mean(axis=0)
    sums = np.zeros((len(kinds), targets.shape[1]))
    np.add.at(sums, place, targets - mean)
    return targets - (sums / (counts[:, None] + 1))[place]


def _fit_rated(
    studied: Study,
    choice: Choice,
    weights: Mapping[str, NDArray[np.float32]],
    bias: NDArray[np.float32],
) -> None:
    """Ridge for each set of capabilities that the same items are rated by."""
    ratings, prompts = studied.lesson.ratings[studied.rows], studied.lesson.prompts[studied.rows]
    known = ~np.isnan(ratings)
    for pattern in {tuple(column) for column in known.T.tolist()}:
        columns = [at for at in range(known.shape[1]) if tuple(known[:, at].tolist()) == pattern]
        kept = np.flatnonzero(np.array(pattern))
        if not len(kept):
            continue
        kernel = mixed(studied.products, choice)[np.ix_(kept, kept)]
        dual, means = solve(kernel, prompts[kept], ratings[kept][:, columns], choice)
        part = studied.read.take(studied.rows[kept]).blocks
        for name, found in primal(part, dual, choice).items():
            weights[name][:, columns] = found
        bias[columns] = means


def _at_most(
    rows: NDArray[np.int64], prompts: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    if len(rows) <= MOST_ROWS:
        return rows
    order = rng.permutation(np.unique(prompts[rows]))
    rank = np.empty(prompts.max() + 1, np.int64)
    rank[order] = np.arange(len(order))
    return np.sort(rows[np.argsort(rank[prompts[rows]], kind="stable")][:MOST_ROWS])


def _fit_pairs(
    blocks: Mapping[str, Any], pairs: NDArray[np.int64], settings: Settings
) -> dict[str, NDArray[np.float32]]:
    """Bradley–Terry weights of each block, float32[d]."""
    scales = np.sqrt(np.maximum(settings.ridge.shares, 0))
    used = [
        (name, scale) for name, scale in zip(BLOCKS, scales.tolist(), strict=True) if scale and name != "bent"
    ]
    sparse = library("scipy.sparse")
    joined: Any = sparse.hstack([sparse.csr_array(blocks[name] * scale) for name, scale in used]).tocsr()
    found = fit_rewards(joined, pairs, settings.penalty)
    weights = {name: np.zeros(blocks[name].shape[1], np.float32) for name in BLOCKS}
    first = 0
    for name, scale in used:
        size = blocks[name].shape[1]
        weights[name] = (found[first : first + size] * scale).astype(np.float32)
        first += size
    return weights


def _choose_ridge(studied: Study, folds: NDArray[np.int64]) -> Choice:
    """The choice whose prediction of the mean rating orders most held-back pairs rightly."""
    lesson, rows = studied.lesson, studied.rows
    targets = np.nanmean(lesson.ratings[rows], axis=1, keepdims=True)
    mine, prompts = folds[rows], lesson.prompts[rows]
    row_of = np.full(len(lesson), -1)
    row_of[rows] = np.arange(len(rows))
    pairs = row_of[lesson.pairs]
    pairs = pairs[(pairs >= 0).all(axis=1)]

    def accuracy(choice: Choice) -> float:
        kernel = mixed(studied.products, choice)
        said = np.zeros(len(rows))
        for fold in range(int(mine.max()) + 1):
            inside, outside = mine != fold, mine == fold
            if not inside.any() or not outside.any():
                continue
            dual, _ = solve(kernel[np.ix_(inside, inside)], prompts[inside], targets[inside], choice)
            said[outside] = (kernel[np.ix_(outside, inside)] @ dual)[:, 0]
        return pair_accuracy(said, pairs)

    return max(_CHOICES, key=accuracy) if len(pairs) else _CHOICES[0]


def _choose_penalty(studied: Study, ridge: Choice, folds: NDArray[np.int64]) -> float:
    pairs, blocks = studied.lesson.pairs, studied.read.blocks
    side = folds[pairs[:, 0]]
    held = side == 0
    if held.all() or not held.any():
        return _PENALTIES[-1]

    def accuracy(penalty: float) -> float:
        found = _fit_pairs(blocks, pairs[~held], Settings(ridge, penalty))
        said = sum((blocks[name] @ found[name] for name in BLOCKS), np.zeros(len(studied.lesson)))
        return pair_accuracy(said, pairs[held])

    return max(_PENALTIES, key=accuracy)


def pair_accuracy(rewards: NDArray[Any], pairs: NDArray[np.int64]) -> float:
    """Share of pairs [m, 2] whose first has the higher reward; equal rewards count half."""
    lead = rewards[pairs[:, 0]] - rewards[pairs[:, 1]]
    return float(((lead > 0) + 0.5 * (lead == 0)).mean())


def without_capabilities(lesson: Lesson) -> Lesson:
    """The same with one capability: the mean of the ratings."""
    if not lesson.names:
        return dataclasses.replace(lesson, aspects=(None,) * len(lesson.aspects))
    rated = ~np.isnan(lesson.ratings).all(axis=1)
    mean = np.full((len(lesson), 1), np.nan)
    mean[rated, 0] = np.nanmean(lesson.ratings[rated], axis=1)
    return dataclasses.replace(lesson, names=("rating",), ratings=mean, aspects=(None,) * len(lesson.aspects))
