"""The mixture beside what it is compared with, on the same held-back examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from coe_mop._bundle import MIXTURE, SINGLE, Bundle
from coe_mop._caller import Ask, Caller
from coe_mop._examples import Example
from coe_mop._prompts import Prompt
from coe_mop._search import Scored
from coe_mop._statistics import paired_interval, wilson

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from coe.contracts import Embedder


@dataclass(frozen=True, slots=True)
class Policies:
    """Scores of every policy.

    Attributes:
        scores: by policy, float64[n]; the mixture's is `mop`.
        chars: by policy, mean length of its prompts in characters.
        tasks: of each example, None where the file says nothing.
        seed: of the intervals.
    """

    scores: Mapping[str, NDArray[np.float64]]
    chars: Mapping[str, float]
    tasks: Sequence[str | None]
    seed: int

    def rows(self) -> list[dict[str, Any]]:
        """For each policy: mean, interval, the mixture's lead over it with interval, prompt length."""
        mixture = self.scores[MIXTURE]
        rows: list[dict[str, Any]] = []
        for name, scores in self.scores.items():
            lead = mixture - scores
            rows.append(
                {
                    "policy": name,
                    "score": float(scores.mean()),
                    "ci95": wilson(scores),
                    "mop_lead": float(lead.mean()),
                    "mop_lead_ci95": paired_interval(lead, self.seed),
                    "prompt_chars": self.chars[name],
                }
            )
        return rows

    def by_task(self) -> dict[str, dict[str, Any]]:
        """For each task: examples, and each policy's mean. Examples without a task count as `all`."""
        names = np.array([task or "all" for task in self.tasks])
        return {
            str(task): {
                "examples": int((names == task).sum()),
                "scores": {name: float(scores[names == task].mean()) for name, scores in self.scores.items()},
            }
            for task in sorted(set(names.tolist()))
        }

    def win_rates(self) -> dict[str, float]:
        """Share of tasks on which the mixture does better than each other policy; a tie is half."""
        tasks = [each["scores"] for each in self.by_task().values()]
        return {
            name: float(
                np.mean(
                    [(task[MIXTURE] > task[name]) + 0.5 * (task[MIXTURE] == task[name]) for task in tasks]
                )
            )
            for name in self.scores
            if name != MIXTURE
        }


async def compare(
    bundle: Bundle,
    embedder: Embedder,
    examples: Sequence[Example],
    caller: Caller,
    scored: Scored,
    max_tokens: int,
    seed: int,
) -> Policies:
    """Ask the base about every example under every policy: at most six calls each.

    Raises:
        BudgetSpent: no call is left.
        ExpertError: the base failed.
    """
    routed = bundle.route([each.input for each in examples], embedder)
    mixed = [
        bundle.prompt_for(region, margin)
        for region, margin in zip(routed.region.tolist(), routed.margin.tolist(), strict=True)
    ]
    prompts: dict[str, Sequence[Prompt]] = {
        name: [prompt] * len(examples) for name, prompt in {**bundle.baselines, SINGLE: bundle.single}.items()
    }
    prompts[MIXTURE] = mixed
    scores: dict[str, NDArray[np.float64]] = {}
    for name, own in prompts.items():
        # By prompt, because servers keep the prefix that calls have in common.
        order = sorted(range(len(examples)), key=lambda at: (own[at].instruction, own[at].demos, at))
        answers = await caller.ask_all(
            [Ask(own[at].messages(examples[at].input), max_tokens) for at in order]
        )
        found = np.zeros(len(examples), np.float64)
        for at, answer in zip(order, answers, strict=True):
            found[at] = scored(answer, examples[at])
        scores[name] = found
    chars = {name: float(np.mean([prompt.chars for prompt in own])) for name, own in prompts.items()}
    return Policies(scores, chars, [each.task for each in examples], seed)
