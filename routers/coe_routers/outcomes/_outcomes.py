"""The columns of recorded outcomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from coe.contracts import Features, ToolFact
from coe.errors import DataError

UNLABELLED = -1
"""Index in `Outcomes.category` of a prompt without a category."""

OPTIONAL_COLUMNS = ("cost_usd", "output_tokens", "response_chars", "latency_s")
"""Columns of `Outcomes` that may be None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """Scores of m experts on the same n prompts, by column.

    Attributes:
        prompt_ids: n unique ids.
        prompts: n texts.
        experts: m names, sorted.
        categories: c names, sorted.
        category: int32[n], index into `categories`, -1 where the row names none.
        scores: float32[n, m] in 0..1, NaN where the expert was not tried on the prompt.
        cost_usd, output_tokens, response_chars, latency_s: float32[n, m], NaN where not recorded; None
            when no row records any.
        tools: the tools that each prompt offered; empty when no row offers any.
    """

    prompt_ids: tuple[str, ...]
    prompts: tuple[str, ...]
    experts: tuple[str, ...]
    categories: tuple[str, ...]
    category: NDArray[np.int32]
    scores: NDArray[np.float32]
    cost_usd: NDArray[np.float32] | None = None
    output_tokens: NDArray[np.float32] | None = None
    response_chars: NDArray[np.float32] | None = None
    latency_s: NDArray[np.float32] | None = None
    tools: tuple[tuple[ToolFact, ...], ...] = ()

    def __len__(self) -> int:
        return len(self.prompts)

    @property
    def labelled(self) -> bool:
        """Whether every row names its category."""
        return len(self) > 0 and bool((self.category >= 0).all())

    def features(self) -> list[Features]:
        """What a router may look at, for each prompt."""
        tools = self.tools or ((),) * len(self)
        return [Features(text=text, tools=offered) for text, offered in zip(self.prompts, tools, strict=True)]

    def rows(self, index: NDArray[np.int64]) -> Outcomes:
        """The rows of `index`: int64[k], each at most once. Experts and categories stay as they are."""
        picked = [int(row) for row in index]
        return replace(
            self,
            prompt_ids=tuple(self.prompt_ids[row] for row in picked),
            prompts=tuple(self.prompts[row] for row in picked),
            category=self.category[index],
            scores=self.scores[index],
            tools=tuple(self.tools[row] for row in picked) if self.tools else (),
            **{name: column[index] for name, column in self._recorded().items()},
        )

    def of_experts(self, names: Sequence[str]) -> Outcomes:
        """The outcomes of these experts only, in this order.

        Raises:
            DataError: an expert has no outcomes here.
        """
        if unknown := sorted(set(names) - set(self.experts)):
            raise DataError(
                f"No outcomes of {', '.join(f'`{name}`' for name in unknown)}.",
                hint=f"Recorded are: {', '.join(self.experts)}.",
            )
        columns = [self.experts.index(name) for name in names]
        return replace(
            self,
            experts=tuple(names),
            scores=self.scores[:, columns],
            **{name: column[:, columns] for name, column in self._recorded().items()},
        )

    def with_experts(self, names: Sequence[str]) -> Outcomes:
        """The outcomes with these experts as columns, in this order; NaN for one without outcomes here."""
        of = [self.experts.index(name) if name in self.experts else -1 for name in names]

        def picked(column: NDArray[np.float32]) -> NDArray[np.float32]:
            return np.concatenate([column, np.full((len(self), 1), np.nan, np.float32)], axis=1)[:, of]

        return replace(
            self,
            experts=tuple(names),
            scores=picked(self.scores),
            **{name: picked(column) for name, column in self._recorded().items()},
        )

    def _recorded(self) -> dict[str, NDArray[np.float32]]:
        """The optional columns that exist, by name."""
        found = {name: getattr(self, name) for name in OPTIONAL_COLUMNS}
        return {name: column for name, column in found.items() if column is not None}


def merge(outcomes: Outcomes, more: Outcomes) -> Outcomes:
    """Add the columns of `more`, matched by prompt id, to `outcomes`: how new experts get their scores.

    Returns:
        `outcomes` with the experts of `more` behind its own. Prompts that `more` does not know are NaN there.

    Raises:
        DataError: an expert is in both, or no prompt id is.
    """
    if both := sorted(set(outcomes.experts) & set(more.experts)):
        raise DataError(
            f"Outcomes of {', '.join(f'`{name}`' for name in both)} exist already.",
            hint="Give the new outcomes another expert name.",
        )
    row_of = {prompt_id: row for row, prompt_id in enumerate(outcomes.prompt_ids)}
    pairs = [(row_of[name], row) for row, name in enumerate(more.prompt_ids) if name in row_of]
    if not pairs:
        raise DataError(
            "The new outcomes share no prompt_id with the recorded ones.",
            hint="Evaluate the new expert on prompts that the router was trained on.",
        )
    to, of = np.array(pairs, dtype=np.int64).T

    def joined(left: NDArray[np.float32] | None, right: NDArray[np.float32] | None) -> NDArray[np.float32]:
        wide = np.full((len(outcomes), len(outcomes.experts) + len(more.experts)), np.nan, dtype=np.float32)
        if left is not None:
            wide[:, : len(outcomes.experts)] = left
        if right is not None:
            wide[to, len(outcomes.experts) :] = right[of]
        return wide

    optional = {
        name: joined(getattr(outcomes, name), getattr(more, name))
        for name in OPTIONAL_COLUMNS
        if getattr(outcomes, name) is not None or getattr(more, name) is not None
    }
    return replace(
        outcomes,
        experts=outcomes.experts + more.experts,
        scores=joined(outcomes.scores, more.scores),
        **optional,
    )
