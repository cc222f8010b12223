"""When a prompt is `general`: one rule of three limits, calibrated on prompts that were not trained on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from coe.contracts import Reason

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from coe.contracts import Classification


@dataclass(frozen=True, slots=True, kw_only=True)
class Abstention:
    """The rule. The first limit that a prompt exceeds names why it is `general`.

    The prediction set of a prompt holds every category for which the more probable ones together have at most
    `set_mass` of the probability. With `set_mass` a conformal quantile, the set holds the true category of at
    least the share `coverage` of prompts like those that it was calibrated on.

    Attributes:
        uncertainty_limit: of the normalised entropy of the probabilities, 0..1.
        coverage: stated coverage of prediction sets; None where none were calibrated.
        set_mass: conformal quantile for that coverage.
        set_limit: most categories that a prediction set may hold; None for any number.
        distance_limit: of the cosine distance to the nearest region of the training prompts; None for any.

    Source: adaptive prediction sets, Romano et al., arXiv 2006.02544, without randomisation.
    """

    uncertainty_limit: float
    coverage: float | None = None
    set_mass: float | None = None
    set_limit: int | None = None
    distance_limit: float | None = None

    def why(self, descending: Sequence[float], uncertainty: float, distance: float | None) -> Reason | None:
        """Why one prompt is `general`, None when it is of its most probable category.

        Args:
            descending: probabilities of the categories, highest first.
            uncertainty: of the prompt.
            distance: of the prompt; None without an embedder.
        """
        if distance is not None and self.distance_limit is not None and distance > self.distance_limit:
            return Reason.FAR
        if self.set_limit is not None and self.set_size(descending) > self.set_limit:
            return Reason.AMBIGUOUS
        return Reason.UNCERTAIN if uncertainty > self.uncertainty_limit else None

    def set_size(self, descending: Sequence[float]) -> int:
        """How many categories the prediction set of one prompt holds, at least 1."""
        before, limit = 0.0, math.inf if self.set_mass is None else self.set_mass
        for size, probability in enumerate(descending):
            if before > limit:
                return size
            before += probability
        return len(descending)

    def set_sizes(self, probabilities: NDArray[np.float32]) -> NDArray[np.int64]:
        """How many categories each prediction set holds, int64[n]; `probabilities` are float32[n, c]."""
        return np.array([self.set_size(row) for row in _descending(probabilities)], np.int64)

    def reasons(self, found: Classification) -> list[Reason | None]:
        """Why each of n prompts is `general`."""
        descending = _descending(found.probabilities)
        distance: Sequence[float | None]
        distance = [None] * len(descending) if found.distance is None else found.distance.tolist()
        uncertainty: list[float] = found.uncertainty.tolist()
        return [self.why(*facts) for facts in zip(descending, uncertainty, distance, strict=True)]

    def general(self, found: Classification) -> NDArray[np.bool_]:
        """Which of n prompts are `general`, bool[n]."""
        return np.array([reason is not None for reason in self.reasons(found)], np.bool_)


def _descending(probabilities: NDArray[np.float32]) -> list[list[float]]:
    rows: list[list[float]] = probabilities.tolist()
    return [sorted(row, reverse=True) for row in rows]


def mass_before(probabilities: NDArray[np.float32]) -> NDArray[np.float64]:
    """What the categories that are more probable than each one hold together, float64[n, c].

    Equal ones count in the order of the columns.
    """
    order = np.argsort(-probabilities, axis=1, kind="stable")
    descending = np.take_along_axis(probabilities, order, axis=1).astype(np.float64)
    before = np.cumsum(descending, axis=1) - descending
    # The first holds nothing before it, exactly.
    before[:, 0] = 0.0
    mass = np.empty_like(before)
    np.put_along_axis(mass, order, before, axis=1)
    return mass
