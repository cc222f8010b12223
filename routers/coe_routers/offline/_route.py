"""Routing a file of prompts: streamed, in batches, resumed where it stopped."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TextIO

import msgspec

from coe.contracts import Card, Decision, ExpertState, Features, PoolView, Router, ToolFact
from coe.errors import DataError
from coe_routers.outcomes import PromptRow, read_prompts

_BATCH = 256


def route_file(
    router: Router, cards: Iterable[Card], source: Path, target: Path, *, say: Callable[[int], None]
) -> tuple[int, int]:
    """Route every prompt of `source` and append one line of JSON for each to `target`.

    Lines that `target` holds already are kept and their prompts skipped, so an interrupted run goes on where
    it stopped; a half-written last line is dropped.

    Args:
        router: decides.
        cards: of the experts that may be chosen.
        source: prompts (or outcomes), as `coe_routers.outcomes.read_prompts` reads them.
        target: decisions; `prompt_id, category, uncertainty, expert, reason, ranked, revision`.
        say: told of how many are done, batch by batch.

    Returns:
        How many were routed now, and how many were there before.

    Raises:
        DataError: a prompt cannot be read, or `target` holds something else or decisions of another router.
    """
    states = {card.name: ExpertState(card) for card in cards}
    view = PoolView(experts=states, digest="offline")
    done = _resume(target, router.revision)
    count = 0
    with target.open("a", encoding="utf-8") as out:
        fresh = (row for row in read_prompts(source) if str(row.prompt_id) not in done)
        for batch in _batches(fresh):
            _write(out, batch, router.route_batch([_features(row) for row in batch], view))
            count += len(batch)
            say(count)
    return count, len(done)


def _write(out: TextIO, batch: list[PromptRow], decisions: list[Decision]) -> None:
    for row, decision in zip(batch, decisions, strict=True):
        line = {
            "prompt_id": str(row.prompt_id),
            "category": decision.category,
            "uncertainty": decision.uncertainty,
            "expert": decision.expert,
            "reason": decision.reason.value,
            "ranked": [each.expert for each in decision.ranked],
            "revision": decision.revision,
        }
        out.write(json.dumps(line, ensure_ascii=False) + "\n")
    out.flush()


class _Line(msgspec.Struct):
    prompt_id: str
    revision: str


def _resume(target: Path, revision: str) -> set[str]:
    """Ids of the prompts that are routed already; cuts off a half-written last line."""
    if not target.exists():
        return set()
    done: set[str] = set()
    whole = 0
    with target.open("rb+") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.endswith(b"\n"):
                break
            try:
                found = msgspec.json.decode(line, type=_Line)
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                raise DataError(f"{target}:{number}: not a decision: {error}.") from error
            if found.revision != revision:
                raise DataError(
                    f"{target}:{number}: decided by another router ({found.revision[:12]}…).",
                    hint="Name another output file.",
                )
            done.add(found.prompt_id)
            whole += len(line)
        lines.truncate(whole)
    return done


def _features(row: PromptRow) -> Features:
    tools = tuple(ToolFact(tool.name, tool.description) for tool in row.tools or ())
    return Features(text=row.prompt, tools=tools)


def _batches(rows: Iterator[PromptRow]) -> Iterator[list[PromptRow]]:
    while batch := list(itertools.islice(rows, _BATCH)):
        yield batch
