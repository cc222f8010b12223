"""Expertise tree: prompts are split only where another expert becomes the best one, significantly.

Source of the idea: Expertise Trees (arXiv 2305.01063), which grow a tree where experts' merits differ over
the input space. Splits and test are our own: one half of the rows proposes a split and the experts of its
sides, the other half tests it, so that the choice among many splits does not count as evidence.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from coe_routers.alternatives._linear import encode
from coe_routers.alternatives._prediction import Floats, Prediction, closeness
from coe_routers.alternatives._saved import About, read, write
from coe_routers.alternatives._targets import filled
from coe_routers.classifiers import evidence
from coe_routers.scores import score_table

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from coe.contracts import Embedder, Features
    from coe_routers.artifact import EmbedderRef, FindEmbedder
    from coe_routers.features import Encoder
    from coe_routers.outcomes import Outcomes

KIND = "tree-router"
FACTS = ("length", "lines", "digits", "tools")
"""Plain facts beside the embedding: logarithms of characters, lines and tools, share of digits."""
DIRECTIONS = 8
"""Principal directions of a node's embeddings that splits are tried along."""
QUANTILES = np.linspace(0.1, 0.9, 9)
MAX_DEPTH = 6
LEAST_ROWS = 30
"""Fewest rows on each side of a split, in each half."""


class TreeAbout(About):
    """Facts of a saved tree: one entry for each inner node."""

    children: tuple[tuple[int, int], ...]
    thresholds: tuple[float, ...]
    leaves: int
    overall: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """A binary tree over prompts with expected scores at its leaves.

    Attributes:
        experts: m names.
        encoder: gives the embedding.
        directions: float32[s, dim + facts], what an inner node looks along.
        thresholds: float64[s]; larger goes right.
        children: left and right of each inner node: an inner node's number, or ~leaf.
        value: float32[l, m], shrunken expected scores of each leaf.
        overall: float64[m], shrunken expected scores over all prompts.
    """

    experts: tuple[str, ...]
    encoder: Encoder
    directions: NDArray[np.float32]
    thresholds: tuple[float, ...]
    children: tuple[tuple[int, int], ...]
    value: NDArray[np.float32]
    overall: Floats

    def predict(self, features: Sequence[Features]) -> Prediction:
        """Predict for n prompts. The category is the leaf, `leaf-0` and so on."""
        encoded = self.encoder.encode(features)
        assert encoded.dense is not None
        found = evidence(encoded)
        inputs = np.hstack([encoded.dense, plain_facts(features)])
        leaf = np.array([self.leaf(row) for row in inputs])
        score = np.where(found[:, None], self.value[leaf].astype(np.float64), self.overall)
        return Prediction(
            score,
            score,
            np.where(found, closeness(score), 1.0),
            found,
            tuple(f"leaf-{number}" for number in leaf.tolist()),
        )

    def leaf(self, row: NDArray[np.float32]) -> int:
        """Number of the leaf of one input, float32[dim + facts]."""
        place = 0 if self.children else ~0
        while place >= 0:
            right = float(row @ self.directions[place]) > self.thresholds[place]
            place = self.children[place][right]
        return ~place

    def save(self, path: Path, embedder: EmbedderRef, facts: Mapping[str, Any] | None = None) -> str:
        """Write it. Returns the revision."""
        about = TreeAbout(
            experts=self.experts,
            embedder=embedder,
            children=self.children,
            thresholds=self.thresholds,
            leaves=len(self.value),
            overall=tuple(self.overall.tolist()),
            facts=dict(facts or {}),
        )
        return write(path, KIND, about, self.encoder, {"directions": self.directions, "value": self.value})


def load_tree(path: Path, find: FindEmbedder) -> tuple[Tree, str]:
    """Load an expertise tree and its revision. Raises `ArtifactError`."""
    about, saved = read(path, KIND, TreeAbout, find)
    dim = saved.encoder.embedder.dim if saved.encoder.embedder else 0
    model = Tree(
        experts=about.experts,
        encoder=saved.encoder,
        directions=saved.tensor("directions", (len(about.children), dim + len(FACTS)), path),
        thresholds=about.thresholds,
        children=about.children,
        value=saved.tensor("value", (about.leaves, len(about.experts)), path),
        overall=np.array(about.overall),
    )
    return model, saved.revision


def plain_facts(features: Sequence[Features]) -> NDArray[np.float32]:
    """`FACTS` of each prompt, float32[n, 4]."""
    found = [
        (
            math.log1p(len(each.text)),
            math.log1p(each.text.count("\n")),
            sum(char.isdigit() for char in each.text) / max(len(each.text), 1),
            math.log1p(len(each.tools)),
        )
        for each in features
    ]
    return np.array(found, np.float32).reshape(len(features), len(FACTS))


@dataclass(frozen=True, slots=True)
class _Split:
    direction: NDArray[np.float32]
    threshold: float
    p_value: float
    experts: tuple[int, int]


class _Grower:
    """Grows a tree on inputs float32[n, d] and scores float64[n, m]; `proposing` is bool[n]."""

    def __init__(
        self, inputs: NDArray[np.float32], scores: Floats, proposing: NDArray[np.bool_], alpha: float
    ) -> None:
        self._inputs, self._scores, self._proposing, self._alpha = inputs, scores, proposing, alpha
        self.splits: list[_Split] = []
        self.children: list[tuple[int, int]] = []
        self.leaf_rows: list[NDArray[np.int64]] = []

    def grow(self, rows: NDArray[np.int64], depth: int) -> int:
        """Grow below a node; returns its number, or ~leaf."""
        # Each level may test as many nodes as it has: together they err with probability alpha at most.
        split = self._split(rows, self._alpha / 2**depth) if depth < MAX_DEPTH else None
        if split is None:
            self.leaf_rows.append(rows)
            return ~(len(self.leaf_rows) - 1)
        number = len(self.splits)
        self.splits.append(split)
        self.children.append((0, 0))
        right = self._inputs[rows] @ split.direction > split.threshold
        self.children[number] = (self.grow(rows[~right], depth + 1), self.grow(rows[right], depth + 1))
        return number

    def _split(self, rows: NDArray[np.int64], alpha: float) -> _Split | None:
        own = rows[self._proposing[rows]]
        others = rows[~self._proposing[rows]]
        if min(len(own), len(others)) < 2 * LEAST_ROWS:
            return None
        best, found = 1e-9, None
        for direction in _directions(self._inputs[own]):
            along = self._inputs[own] @ direction
            order = np.argsort(along, kind="stable")
            left = np.cumsum(self._scores[own[order]], axis=0)
            total = left[-1]
            for quantile in QUANTILES:
                place = int(quantile * len(own))
                if (
                    min(place, len(own) - place) < LEAST_ROWS
                    or along[order[place - 1]] == along[order[place]]
                ):
                    continue
                gain = left[place - 1].max() + (total - left[place - 1]).max() - total.max()
                if gain > best:
                    middle = float(along[order[place - 1]] + along[order[place]]) / 2
                    sides = int(left[place - 1].argmax()), int((total - left[place - 1]).argmax())
                    best, found = gain, (direction, middle, sides, int(total.argmax()))
        if found is None:
            return None
        direction, threshold, sides, single = found
        right = self._inputs[others] @ direction > threshold
        if min(int(right.sum()), int((~right).sum())) < LEAST_ROWS:
            return None
        scores = self._scores[others]
        lead = np.where(right, scores[:, sides[1]], scores[:, sides[0]]) - scores[:, single]
        p_value = _p_value(lead)
        return _Split(direction, threshold, p_value, sides) if p_value < alpha else None


def fit_tree(
    outcomes: Outcomes, *, embedder: Embedder, seed: int, alpha: float = 0.05
) -> tuple[Tree, Mapping[str, Any]]:
    """Grow a tree. Without a significant split it has one leaf: the best single expert answers everything.

    Args:
        outcomes: recorded scores.
        embedder: gives the vectors that are split.
        seed: of the halves.
        alpha: a split must be better than its node's best expert with this chance of error, shared by the
            nodes of a level.

    Raises:
        DataError: fewer than two experts have scores.
    """
    scores = filled(outcomes)
    encoder, encoded = encode(outcomes, embedder, ngrams=False)
    assert encoded.dense is not None
    inputs = np.hstack([encoded.dense, plain_facts(outcomes.features())])
    # Equal prompts fall into one half, or the same prompt would propose a split and test it.
    names, place = np.unique(np.array(outcomes.prompts), return_inverse=True)
    proposing = (np.random.default_rng(seed).permutation(len(names)) % 2 == 0)[place]
    grower = _Grower(inputs, scores, proposing, alpha)
    grower.grow(np.arange(len(scores)), 0)
    leaf = np.empty(len(scores), np.int64)
    for number, rows in enumerate(grower.leaf_rows):
        leaf[rows] = number
    leaves = tuple(f"leaf-{number}" for number in range(len(grower.leaf_rows)))
    table = score_table(outcomes.scores, leaf, categories=leaves, experts=outcomes.experts)
    empty = np.zeros((0, inputs.shape[1]), np.float32)
    tree = Tree(
        experts=outcomes.experts,
        encoder=encoder,
        directions=np.stack([split.direction for split in grower.splits]) if grower.splits else empty,
        thresholds=tuple(split.threshold for split in grower.splits),
        children=tuple(grower.children),
        value=table.value.astype(np.float32),
        overall=table.share @ table.value,
    )
    facts = {
        "prompts": len(scores),
        "alpha": alpha,
        "seed": seed,
        "splits": [
            {
                "along": _named(split.direction),
                "p_value": split.p_value,
                "experts": [outcomes.experts[e] for e in split.experts],
            }
            for split in grower.splits
        ],
        "leaf_prompts": [len(rows) for rows in grower.leaf_rows],
    }
    return tree, facts


def _directions(inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Principal directions of the embeddings, then each plain fact by itself: float32[k, dim + facts]."""
    dim = inputs.shape[1] - len(FACTS)
    vectors = inputs[:, :dim] - inputs[:, :dim].mean(axis=0)
    _, found = np.linalg.eigh(vectors.T @ vectors)
    principal = found[:, ::-1][:, :DIRECTIONS].T
    made = np.zeros((len(principal) + len(FACTS), inputs.shape[1]), np.float32)
    made[: len(principal), :dim] = principal
    made[len(principal) :, dim:] = np.eye(len(FACTS))
    return made


def _named(direction: NDArray[np.float32]) -> str:
    facts = direction[-len(FACTS) :]
    return FACTS[int(facts.argmax())] if facts.any() else "meaning"


def _p_value(lead: Floats) -> float:
    """One-sided: chance of such a mean lead float64[n] if there were none, by the normal approximation."""
    error = float(lead.std(ddof=1)) / math.sqrt(len(lead))
    if error == 0.0:
        return 1.0
    return 0.5 * math.erfc(float(lead.mean()) / error / math.sqrt(2.0))
