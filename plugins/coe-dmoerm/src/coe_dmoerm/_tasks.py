"""The outer layer: which task an answer belongs to, where nobody says."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from coe_dmoerm._facts import tokens_of
from coe_dmoerm._items import UNNAMED
from coe_dmoerm._libraries import library

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from coe_dmoerm._items import Item

_SLOTS = 1 << 12
_TOKENS = 300
_CHARS = 4000
_MOST = 6000


@dataclass(frozen=True, slots=True)
class TaskRouter:
    """Tells tasks apart by words and pairs of words of prompt, context and answer, counted apart.

    Attributes:
        tasks: t names.
        weights: float32[3 · 4096, t].
        bias: float32[t].
    """

    tasks: tuple[str, ...]
    weights: NDArray[np.float32]
    bias: NDArray[np.float32]

    def tensors(self) -> dict[str, NDArray[Any]]:
        """What is saved of it beside `tasks`."""
        return {"router.weights": self.weights, "router.bias": self.bias}

    @classmethod
    def of(cls, tasks: Sequence[str], tensors: Mapping[str, NDArray[Any]]) -> TaskRouter:
        """From `tensors()`. Raises `KeyError` where one is missing."""
        return cls(tuple(tasks), tensors["router.weights"], tensors["router.bias"])

    def probabilities(self, items: Sequence[Item]) -> NDArray[np.float32]:
        """float32[n, t]."""
        logits = _rows(items) @ self.weights + self.bias
        found = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-np.inf))
        return found / found.sum(axis=1, keepdims=True)


def fit_router(items: Sequence[Item], tasks: Sequence[str], own: Sequence[str], seed: int) -> TaskRouter:
    """Learn to tell `tasks` apart; `own` is each item's."""
    if len(tasks) == 1:
        return TaskRouter(tuple(tasks), np.zeros((3 * _SLOTS, 1), np.float32), np.zeros(1, np.float32))
    picked: list[int] = np.random.default_rng(seed).permutation(len(items))[:_MOST].tolist()
    linear = library("sklearn.linear_model")
    model: Any = linear.LogisticRegression(C=30.0, class_weight="balanced", max_iter=300)
    places = {task: at for at, task in enumerate(tasks)}
    labels = np.array([places[own[row]] for row in picked])
    model.fit(_rows([items[row] for row in picked]), labels)
    weights = np.zeros((3 * _SLOTS, len(tasks)), np.float32)
    bias = np.full(len(tasks), -np.inf, np.float32)
    coefficients, intercepts = model.coef_, model.intercept_
    if len(intercepts) == 1:  # two classes: one column, for the second
        coefficients = np.vstack([-coefficients, coefficients]) / 2
        intercepts = np.concatenate([-intercepts, intercepts]) / 2
    for at, label in enumerate(model.classes_.tolist()):
        weights[:, label], bias[label] = coefficients[at], intercepts[at]
    return TaskRouter(tuple(tasks), weights, bias)


def routed(
    router: TaskRouter, known: Collection[str], items: Sequence[Item]
) -> tuple[list[str], list[float]]:
    """The task of each item and how sure that is: its own where that is known, else the router's choice."""
    if list(known) == [UNNAMED]:
        return [UNNAMED] * len(items), [1.0] * len(items)
    tasks = [item.task or "" for item in items]
    confidences = [1.0] * len(items)
    lost = [row for row, task in enumerate(tasks) if task not in known]
    if lost:
        likely = router.probabilities([items[row] for row in lost])
        for at, row in enumerate(lost):
            best = int(likely[at].argmax())
            tasks[row], confidences[row] = router.tasks[best], float(likely[at, best])
    return tasks, confidences


def _rows(items: Sequence[Item]) -> Any:
    columns: list[NDArray[np.int64]] = []
    values: list[NDArray[np.float64]] = []
    for item in items:
        hashed = np.array(
            [
                part * _SLOTS + zlib.crc32(gram.encode(errors="replace")) % _SLOTS
                for part, text in enumerate((item.prompt, item.context, item.response))
                for gram in _grams(text)
            ],
            np.int64,
        )
        slots, counts = np.unique(hashed, return_counts=True)
        row = np.log1p(counts)
        columns.append(slots)
        values.append(row / max(float(np.linalg.norm(row)), 1e-9))
    starts = np.cumsum([0, *map(len, columns)])
    return library("scipy.sparse").csr_array(
        (np.concatenate([np.zeros(0), *values]), np.concatenate([starts[:0], *columns]), starts),
        shape=(len(items), 3 * _SLOTS),
    )


def _grams(text: str) -> list[str]:
    tokens = tokens_of(text[:_CHARS])[:_TOKENS]
    length = f"<{len(tokens).bit_length()}>"
    return [length, *tokens, *(f"{one} {other}" for one, other in itertools.pairwise(tokens))]
