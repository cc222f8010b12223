"""How well rewards order answers that people compared."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from coe_dmoerm._items import UNNAMED, Data
from coe_dmoerm._libraries import library

if TYPE_CHECKING:
    from numpy.typing import NDArray

_RESAMPLES = 1000


def evaluate(data: Data, rewards: NDArray[np.float64], seed: int = 0) -> dict[str, Any]:
    """Pair accuracy, rank correlation and what length has to do with it, for each task and in all.

    Args:
        data: rated items and pairs.
        rewards: float64[n], of the items.
        seed: of the resampling of prompts behind the 95 % intervals.
    """
    whole = _judge(data, rewards, seed)
    tasks = {
        task: _judge(
            data.of_task(task),
            rewards[[row for row, item in enumerate(data.items) if (item.task or UNNAMED) == task]],
            seed,
        )
        for task in data.tasks
    }
    return {"items": len(data.items), "ties_left_out": data.ties, **whole, "tasks": tasks}


def pair_outcomes(data: Data, rewards: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 for each pair whose better answer has the higher reward, ½ for equal ones: float64[m]."""
    lead = np.array([rewards[pair.better] - rewards[pair.worse] for pair in data.pairs])
    return (lead > 0) + 0.5 * (lead == 0)


def prompt_interval(values: NDArray[np.float64], prompts: Sequence[object], seed: int) -> list[float]:
    """95 % bootstrap interval of the mean of values float64[m]; whole prompts are drawn."""
    kinds: dict[object, int] = {}
    place = np.array([kinds.setdefault(prompt, len(kinds)) for prompt in prompts])
    sums = np.bincount(place, values, len(kinds))
    counts = np.bincount(place, minlength=len(kinds))
    drawn = np.random.default_rng(seed).integers(len(kinds), size=(_RESAMPLES, len(kinds)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    return [round(float(each), 4) for each in np.quantile(means, [0.025, 0.975])]


def pair_prompts(data: Data) -> list[object]:
    """The prompt of each pair."""
    return [(data.items[pair.better].prompt, data.items[pair.better].context) for pair in data.pairs]


def _judge(data: Data, rewards: NDArray[np.float64], seed: int) -> dict[str, Any]:
    found: dict[str, Any] = {"pairs": len(data.pairs)}
    if data.pairs:
        right = pair_outcomes(data, rewards)
        found["pair_accuracy"] = round(float(right.mean()), 4)
        found["pair_accuracy_ci95"] = prompt_interval(right, pair_prompts(data), seed)
        found["length"] = _length(data, rewards, right)
    rated = [row for row, item in enumerate(data.items) if item.aspects]
    if len(rated) > 1:
        ratings = np.array([data.items[row].rating for row in rated])
        found["rank_correlation"] = _rounded(rank_correlation(rewards[rated], ratings))
        found["rank_correlation_within_prompts"] = _rounded(_within_prompts(data, rewards, rated))
    return found


def rank_correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Spearman's; NaN when one of them is constant."""
    stats = library("scipy.stats")
    ranks: list[NDArray[np.float64]] = [stats.rankdata(each) for each in (one, other)]
    if any(float(np.ptp(each)) == 0 for each in ranks):
        return float("nan")
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _within_prompts(data: Data, rewards: NDArray[np.float64], rated: Sequence[int]) -> float:
    """Mean over prompts of three answers or more."""
    by_prompt: dict[object, list[int]] = defaultdict(list)
    for row in rated:
        by_prompt[data.items[row].prompt, data.items[row].context].append(row)
    found = [
        rank_correlation(rewards[rows], np.array([data.items[row].rating for row in rows]))
        for rows in by_prompt.values()
        if len(rows) > 2
    ]
    known = [each for each in found if not np.isnan(each)]
    return float(np.mean(known)) if known else float("nan")


def _length(data: Data, rewards: NDArray[np.float64], right: NDArray[np.float64]) -> dict[str, Any]:
    """How often the longer answer is preferred by people and by the reward, and accuracy either way."""
    words = np.array([len(item.response.split()) for item in data.items])
    longer = np.array([words[pair.better] - words[pair.worse] for pair in data.pairs])
    unlike = longer != 0
    if not unlike.any():
        return {}
    lead = np.array([rewards[pair.better] - rewards[pair.worse] for pair in data.pairs])
    liked = np.where(lead == 0, 0.5, (np.sign(lead) == np.sign(longer)).astype(float))
    return {
        "longer_preferred_by_people": round(float((longer[unlike] > 0).mean()), 4),
        "longer_preferred_by_reward": round(float(liked[unlike].mean()), 4),
        "accuracy_when_longer_is_better": _mean(right[longer > 0]),
        "accuracy_when_shorter_is_better": _mean(right[longer < 0]),
    }


def _mean(values: NDArray[np.float64]) -> float | None:
    return round(float(values.mean()), 4) if len(values) else None


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 4)
