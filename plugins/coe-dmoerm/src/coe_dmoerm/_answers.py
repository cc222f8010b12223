"""Rows of several experts' answers to one prompt, and the journal's candidates as outcomes of a router."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from coe.errors import DataError
from coe_dmoerm._bradley_terry import sigmoid
from coe_dmoerm._calibrate import Answered
from coe_dmoerm._items import Item, rows_of
from coe_dmoerm._scored import Scorer


def read_answered(paths: Sequence[Path], experts: Sequence[str], scorer: Scorer | None) -> Answered:
    """Read `{prompt, context?, task?, scores, rewards? | answers?, cost_usd?}` rows; all but texts by expert.

    Args:
        paths: JSON Lines files.
        experts: names, the cheapest first. Rows that lack one of them are left out.
        scorer: gives the rewards of `answers`; without it, rows bring `rewards`.

    Raises:
        DataError: a file cannot be read, or a row is wrong; with file, line and field.
    """
    scores: list[list[float]] = []
    rewards: list[list[float]] = []
    usd: list[list[float]] = []
    items: list[Item] = []
    for path in paths:
        for where, row in rows_of(path):
            given = _numbers(row, "scores", where)
            if wrong := [name for name, score in given.items() if not 0 <= score <= 1]:
                raise DataError(f"{where}: `scores.{wrong[0]}` must be 0 to 1, found {given[wrong[0]]!r}.")
            said = _numbers(row, "rewards", where) if scorer is None else {}
            texts = {} if scorer is None else _texts(row, "answers", where)
            if not all(name in given and (name in said or name in texts) for name in experts):
                continue
            scores.append([given[name] for name in experts])
            costs = _numbers(row, "cost_usd", where) if "cost_usd" in row else dict.fromkeys(experts, 1.0)
            if missing := [name for name in experts if name not in costs]:
                raise DataError(f"{where}: `cost_usd` says nothing of `{missing[0]}`.")
            usd.append([costs[name] for name in experts])
            if scorer is None:
                rewards.append([said[name] for name in experts])
                continue
            prompt, context, task = (row.get(name) for name in ("prompt", "context", "task"))
            items += [
                Item("", task and str(task), str(prompt or ""), str(context or ""), texts[name], {})
                for name in experts
            ]
    if scorer is not None:
        flat = [each.reward for each in scorer.score(items)]
        rewards = np.array(flat).reshape(-1, len(experts)).tolist()
    shape = (-1, len(experts))
    return Answered(
        tuple(experts), *(np.array(each, float).reshape(shape) for each in (rewards, scores, usd))
    )


def outcomes_of(path: Path) -> Iterator[dict[str, Any]]:
    """What the journal says of candidates, as rows that `coe train` reads.

    A candidate's score is the probability that it is preferred to the request's other ones, by the
    Bradley–Terry model: the mean of σ(own reward − other's). It lies in 0..1 and does not depend on what is
    added to all rewards. Of several answers of one expert the mean counts. Requests with answers of one
    expert only, and those whose prompt was not kept, are left out.

    Raises:
        DataError: the file cannot be read, or a row is no record of the journal.
    """
    for where, row in rows_of(path):
        if not isinstance(row.get("id"), str):
            raise DataError(f"{where}: `id` must be a text: expected a record of `coe journal tail --json`.")
        candidates: Any = row.get("candidates") or []
        try:
            rewards: list[tuple[str, float, float | None]] = [
                (str(each["expert"]), float(each["reward"]), each.get("cost_usd"))
                for each in candidates
                if each.get("reward") is not None and not each.get("error")
            ]
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            raise DataError(f"{where}: `candidates` is not the journal's: {error!r}.") from error
        experts = sorted({name for name, _, _ in rewards})
        if len(experts) < 2 or not isinstance(row.get("prompt"), str):
            continue
        won = [
            _mean(sigmoid(np.array([own - other for name, other, _ in rewards if name != mine])).tolist())
            for mine, own, _ in rewards
        ]
        found: dict[str, Any] = {"prompt_id": row["id"], "prompt": row["prompt"]}
        if isinstance(row.get("category"), str):
            found["category"] = row["category"]
        found["scores"] = {
            name: round(
                _mean([value for value, each in zip(won, rewards, strict=True) if each[0] == name]), 6
            )
            for name in experts
        }
        costs = {
            name: [float(usd) for each, _, usd in rewards if each == name and usd is not None]
            for name in experts
        }
        if known := {name: _mean(each) for name, each in costs.items() if each}:
            found["cost_usd"] = known
        yield found


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _object(row: Mapping[str, Any], field: str, where: str) -> Mapping[str, Any]:
    value: Any = row.get(field)
    if not isinstance(value, dict):
        raise DataError(f"{where}: `{field}` must be an object by expert, found {type(value).__name__}.")
    return cast("Mapping[str, Any]", value)


def _numbers(row: Mapping[str, Any], field: str, where: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, value in _object(row, field, where).items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise DataError(f"{where}: `{field}.{name}` must be a number, found {value!r}.")
        found[name] = float(value)
    return found


def _texts(row: Mapping[str, Any], field: str, where: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in _object(row, field, where).items():
        if not isinstance(value, str):
            raise DataError(f"{where}: `{field}.{name}` must be a text, found {type(value).__name__}.")
        found[name] = value
    return found
