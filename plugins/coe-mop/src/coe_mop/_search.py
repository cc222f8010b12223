"""Region-based joint search: instructions from other regions, tried with each region's demonstrations.

Source: Mixture-of-Prompts, arXiv 2407.00256. Unlike in its published code, every region sees all others, the
empty instruction is always a candidate, and candidates of a region are compared on the same items.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from coe_mop._caller import Ask, Caller
from coe_mop._examples import Example
from coe_mop._plan import Plan
from coe_mop._prompts import Prompt, cleaned, proposal
from coe_mop._regions import pick_near
from coe_mop.choice import choose_per_region

if TYPE_CHECKING:
    from numpy.typing import NDArray

PROPOSAL_TOKENS = 96
_SHOWN = 5
_KEPT = 4
_LEAST_ITEMS = 5

Scored = Callable[[str, Example], float]
"""(answer, example) to a score in 0..1."""


@dataclass(frozen=True, slots=True)
class Ground:
    """What the search works on.

    Attributes:
        pool, pool_region: examples that may be shown, and their regions int64[p].
        validation, points, region: examples for scoring, where they lie float32[v, dim], regions int64[v].
        centroids: float32[k, dim].
        demos: (input, output) pairs of each region.
    """

    pool: Sequence[Example]
    pool_region: NDArray[np.int64]
    validation: Sequence[Example]
    points: NDArray[np.float32]
    region: NDArray[np.int64]
    centroids: NDArray[np.float32]
    demos: Sequence[tuple[tuple[str, str], ...]]


@dataclass(frozen=True, slots=True)
class Found:
    """The outcome.

    Attributes:
        instructions: of each region.
        scores: validation scores float64[c] of each region's prompt.
        single: the instruction that did best over all regions.
        tried: every instruction that was tried in the regions, the empty one first.
    """

    instructions: tuple[str, ...]
    scores: tuple[NDArray[np.float64], ...]
    single: str
    tried: tuple[str, ...]


class Searcher:
    """Finds instructions with at most the calls of its plan.

    Args:
        caller: asks the base.
        plan: how many calls for what.
        scored: how answers are scored.
        max_tokens: longest answer when scoring.
        seed: of samples and drawn proposals.
    """

    def __init__(self, caller: Caller, plan: Plan, scored: Scored, max_tokens: int, seed: int) -> None:
        self._caller = caller
        self._plan = plan
        self._scored = scored
        self._max_tokens = max_tokens
        self._seed = seed

    async def joint(
        self, ground: Ground, *, identities: bool = False, search: Literal["joint", "independent"] = "joint"
    ) -> Found:
        """An instruction for every region.

        Args:
            ground: examples and regions.
            identities: every second proposal is an expert identity.
            search: `independent` proposes from each region's own examples and keeps what does best without
                demonstrations: the ablation of the joint search.
        """
        k = len(ground.centroids)
        rng = np.random.default_rng([self._seed, 1])
        samples: list[list[Example]] = []
        about: list[int] = []
        for number in range(self._plan.proposals):
            region = number % k
            inside = ground.pool_region == region
            wanted = np.flatnonzero(inside if search == "independent" else ~inside)
            samples.append(_sample(ground.pool, wanted, rng))
            about.append(region)
        proposed = await self._propose(samples, identities=identities, offset=0)
        screened = await self.screen(
            list(dict.fromkeys(filter(None, proposed))), ground.validation, self._plan.screened
        )
        tried = ("", *(text for text, _ in screened[:_KEPT]))
        items = [_items(ground, region, self._plan.checked) for region in range(k)]
        scores = await self._try(tried, items, ground)
        where = np.repeat(np.arange(k), [len(each) for each in items])
        lengths = np.array([len(text) for text in tried], np.float64)
        chosen = choose_per_region(scores, where, k, cost=lengths)
        if search == "independent":
            chosen = _own_best(tried, screened, proposed, about, chosen)
        overall = int(choose_per_region(scores, np.zeros(len(scores), np.int64), 1, cost=lengths)[0])
        picked: list[int] = chosen.tolist()
        return Found(
            instructions=tuple(tried[each] for each in picked),
            scores=tuple(scores[where == region, chosen[region]] for region in range(k)),
            single=tried[overall],
            tried=tried,
        )

    async def one_for_all(self, pool: Sequence[Example], validation: Sequence[Example]) -> str:
        """The APE baseline: one instruction without demonstrations, by as many calls.

        Source: Automatic Prompt Engineer, arXiv 2211.01910.
        """
        rng = np.random.default_rng([self._seed, 2])
        everything = np.arange(len(pool))
        samples = [_sample(pool, everything, rng) for _ in range(self._plan.proposals)]
        proposed = await self._propose(samples, identities=False, offset=10_000)
        screened = await self.screen(
            list(dict.fromkeys(filter(None, proposed))), validation, self._plan.ape_screened
        )
        return screened[0][0] if screened else ""

    async def screen(
        self, instructions: Sequence[str], items: Sequence[Example], count: int
    ) -> list[tuple[str, float]]:
        """Instructions with their mean score without demonstrations, best first, shorter before longer."""
        asked = [(text, item) for text in instructions for item in items[:count]]
        scores = await self.answer_scores([(Prompt(text), item) for text, item in asked])
        means = (
            scores.reshape(len(instructions), -1).mean(axis=1) if len(asked) else np.zeros(len(instructions))
        )
        ranked = sorted(
            zip(instructions, means.tolist(), strict=True), key=lambda each: (-each[1], len(each[0]))
        )
        return [(text, float(mean)) for text, mean in ranked]

    async def answer_scores(self, asked: Sequence[tuple[Prompt, Example]]) -> NDArray[np.float64]:
        """float64[n]: how the base scores on each item under its prompt."""
        answers = await self._caller.ask_all(
            [Ask(prompt.messages(item.input), self._max_tokens) for prompt, item in asked]
        )
        return np.array(
            [self._scored(answer, item) for answer, (_, item) in zip(answers, asked, strict=True)], np.float64
        )

    async def _propose(
        self, samples: Sequence[Sequence[Example]], *, identities: bool, offset: int
    ) -> list[str]:
        asks = [
            Ask(
                proposal(sample, identity=identities and number % 2 == 1),
                PROPOSAL_TOKENS,
                seed=1 + (self._seed * 100_003 + offset + number) % 2_000_000_000,
            )
            for number, sample in enumerate(samples)
        ]
        return [cleaned(answer) for answer in await self._caller.ask_all(asks)]

    async def _try(
        self, tried: Sequence[str], items: Sequence[Sequence[int]], ground: Ground
    ) -> NDArray[np.float64]:
        """float64[items of all regions, tried]. Items of one prompt are neighbours: servers keep prefixes."""
        asked = [
            (Prompt(text, ground.demos[region]), ground.validation[item])
            for region, own in enumerate(items)
            for text in tried
            for item in own
        ]
        flat = await self.answer_scores(asked)
        parts: list[NDArray[np.float64]] = []
        at = 0
        for own in items:
            size = len(own) * len(tried)
            parts.append(flat[at : at + size].reshape(len(tried), len(own)).T)
            at += size
        return np.vstack(parts)


def _sample(pool: Sequence[Example], wanted: NDArray[np.int64], rng: np.random.Generator) -> list[Example]:
    source = wanted if len(wanted) else np.arange(len(pool))  # one region: there is no other
    return [pool[at] for at in rng.permutation(source)[:_SHOWN].tolist()]


def _items(ground: Ground, region: int, count: int) -> list[int]:
    """Validation items of a region, the same for every candidate.

    A region with very few gets the nearest of others besides. No more than that: they are questions that its
    demonstrations are not for, and would favour instructions that help there.
    """
    everything = np.arange(len(ground.validation))
    own = everything[ground.region == region][:count]
    missing = min(count, _LEAST_ITEMS) - len(own)
    if missing <= 0:
        return own.tolist()
    rest = np.setdiff1d(everything, own)
    return [*own.tolist(), *pick_near(ground.points, ground.centroids[region], rest, missing)]


def _own_best(
    tried: Sequence[str],
    screened: Sequence[tuple[str, float]],
    proposed: Sequence[str],
    about: Sequence[int],
    chosen: NDArray[np.int64],
) -> NDArray[np.int64]:
    """For each region, the proposal from its own examples that screened best, if it was tried."""
    best = chosen.copy()
    for region in range(len(chosen)):
        own = {text for text, source in zip(proposed, about, strict=True) if source == region}
        ranked = [text for text, _ in screened if text in own and text in tried]
        best[region] = tried.index(ranked[0]) if ranked else 0
    return best
