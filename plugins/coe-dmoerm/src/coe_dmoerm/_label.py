"""Preference labels by capability, from an expert as judge.

Each pair is judged twice, the answers in both orders; a label is kept when the two verdicts name the same
answer. Every call is written down before it is made, and its verdict after: a run that was interrupted goes
on where it was, and the budget bounds what was really asked.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal, cast

from coe.contracts import Context, Expert, Startable
from coe.errors import ArtifactError, DataError, ExpertError, ExpertProtocolError
from coe.wire import chat_request
from coe_dmoerm._items import rows_of

SCHEMA = 1
_TENANT = "coe-rewards"
_DIGIT = re.compile(r"[12]")
_ASK = """\
Question:
{prompt}

Answer 1:
{first}

Answer 2:
{second}

Which answer is better in this respect: {respect}?
Reply with one digit, 1 or 2."""

Outcome = Literal["a", "b", "disagree", "no verdict"]


@dataclass(frozen=True, slots=True)
class Question:
    """A pair to be judged.

    Attributes:
        row: as the file has it.
        prompt, one, other: what was asked, and the answers a and b.
        authors: names of who gave the answers, where the file says so.
    """

    row: Mapping[str, Any]
    prompt: str
    one: str
    other: str
    authors: frozenset[str]


@dataclass(slots=True)
class Labelled:
    """What became of the pairs.

    Attributes:
        rows: kept labels, rows for `coe rewards train`.
        outcomes: of each capability, how many pairs ended how.
        calls: made in all, earlier runs included.
        complete: whether every pair was judged; False when the budget ended first.
    """

    rows: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    outcomes: dict[str, dict[Outcome, int]] = field(default_factory=dict[str, dict[Outcome, int]])
    calls: int = 0
    complete: bool = True

    def agreement(self, capability: str) -> float | None:
        """Share of the pairs with two verdicts whose verdicts agreed."""
        found = self.outcomes[capability]
        kept = found.get("a", 0) + found.get("b", 0)
        judged = kept + found.get("disagree", 0)
        return kept / judged if judged else None


def read_questions(paths: Sequence[Path]) -> list[Question]:
    """Read `{prompt, response_a, response_b, …}` rows; `model_a`, `model_b` or `models` name the authors.

    Raises:
        DataError: a file cannot be read, or a row is wrong; with file, line and field.
    """
    found: list[Question] = []
    for path in paths:
        for where, row in rows_of(path):
            for name in ("prompt", "response_a", "response_b"):
                if not isinstance(row.get(name), str):
                    raise DataError(f"{where}: `{name}` must be a text.")
            named = [row.get("model_a"), row.get("model_b"), *str(row.get("models") or "").split("_")]
            authors = frozenset(str(each) for each in named if each)
            found.append(Question(row, row["prompt"], row["response_a"], row["response_b"], authors))
    if not found:
        raise DataError(f"{', '.join(map(str, paths))}: no pair.")
    return found


def own_answers(questions: Sequence[Question], judge: Expert) -> int:
    """How many pairs hold an answer of the judge itself, which it is known to favour."""
    name = judge.card.name.lower()
    return sum(any(name == author.lower() for author in each.authors) for each in questions)


class Verdicts:
    """Calls spent and verdicts kept, in a file of JSON lines.

    Args:
        file: open for appending.
        spent: calls that were made before.
        known: texts that the judge gave, by key.
        budget: calls in all.
    """

    def __init__(self, file: IO[str], spent: int, known: dict[str, str], budget: int) -> None:
        self._file = file
        self.spent = spent
        self.known = known
        self._budget = budget

    @property
    def left(self) -> int:
        """Calls that may still be made."""
        return self._budget - self.spent

    def spend(self, key: str) -> None:
        """Count a call that is about to be made."""
        self.spent += 1
        self._write({"call": key})

    def keep(self, key: str, text: str, facts: Mapping[str, Any]) -> None:
        """Keep what the judge said."""
        self.known[key] = text
        self._write({"key": key, "said": text, **facts})

    def _write(self, row: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(row, ensure_ascii=False) + "\n")
        self._file.flush()


@contextmanager
def open_verdicts(path: Path, judge: str, budget: int) -> Generator[Verdicts, None, None]:
    """The file of an earlier run, or a new one.

    Raises:
        ArtifactError: it holds another judge's verdicts, or something else.
    """
    spent, known, whole = 0, dict[str, str](), 0
    if path.exists():
        raw = path.read_bytes()
        whole = raw.rfind(b"\n") + 1  # a line that a crash cut short is dropped
        try:
            lines = [cast("dict[str, Any]", json.loads(line)) for line in raw[:whole].splitlines()]
            if lines and (lines[0]["coe-rewards-verdicts"], lines[0]["judge"]) != (SCHEMA, judge):
                raise ArtifactError(
                    f"{path} keeps verdicts of `{lines[0]['judge']}`, not of `{judge}`.",
                    hint="Remove it, or name another with --calls.",
                )
            for line in lines[1:]:
                if "call" in line:
                    spent += 1
                else:
                    known[line["key"]] = line["said"]
        except (ValueError, KeyError, TypeError) as error:
            raise ArtifactError(f"{path} does not hold kept verdicts: {error!r}.") from error
    # What the judge said is the user's data: for nobody else on this machine.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    os.ftruncate(descriptor, whole)
    with os.fdopen(descriptor, "a", encoding="utf-8") as file:
        if not whole:
            file.write(json.dumps({"coe-rewards-verdicts": SCHEMA, "judge": judge}) + "\n")
        yield Verdicts(file, spent, known, budget)


async def label(
    questions: Sequence[Question],
    capabilities: Mapping[str, str],
    judge: Expert,
    verdicts: Verdicts,
    *,
    clock: Callable[[], float],
    timeout_s: float = 120,
    concurrency: int = 4,
    say: Callable[[int], None] = lambda _: None,
) -> Labelled:
    """Have every pair judged by every capability, as far as the budget goes.

    Args:
        questions: the pairs.
        capabilities: what is asked about, by name.
        judge: who is asked.
        verdicts: budget and memory.
        clock: monotonic seconds.
        timeout_s: longest time for one call.
        concurrency: calls at once.
        say: told the calls made after each.

    Raises:
        ExpertError: a call failed. Verdicts that came are kept.
    """
    if isinstance(judge, Startable):
        await judge.start()
    gate = asyncio.Semaphore(concurrency)

    async def ask(question: Question, capability: str, *, swapped: bool) -> str | None:
        first, second = (question.other, question.one) if swapped else (question.one, question.other)
        respect = capabilities[capability]
        content = _ASK.format(prompt=question.prompt, first=first, second=second, respect=respect)
        key = hashlib.sha256(content.encode()).hexdigest()[:32]
        if key in verdicts.known:
            return verdicts.known[key]
        if verdicts.left <= 0:
            return None
        verdicts.spend(key)
        said = await _said(
            judge,
            content,
            Context(tenant=_TENANT, request_id=key, deadline=clock() + timeout_s, clock=clock),
        )
        verdicts.keep(key, said, {"capability": capability, "swapped": swapped})
        say(verdicts.spent)
        return said

    async def judged(question: Question, capability: str) -> Outcome | None:
        # Both orders of a pair before the next pair: half a pair is worth nothing when the budget ends.
        async with gate:
            straight = await ask(question, capability, swapped=False)
            if straight is None:
                return None
            swapped = await ask(question, capability, swapped=True)
            return None if swapped is None else agreed(straight, swapped)

    wanted = [(question, capability) for capability in capabilities for question in questions]
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(judged(*each)) for each in wanted]
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    found = Labelled(outcomes={capability: {} for capability in capabilities}, calls=verdicts.spent)
    for (question, capability), task in zip(wanted, tasks, strict=True):
        outcome = task.result()
        if outcome is None:
            found.complete = False
            continue
        counts = found.outcomes[capability]
        counts[outcome] = counts.get(outcome, 0) + 1
        if outcome in ("a", "b"):
            found.rows.append({**question.row, "label": outcome, "aspect": capability})
    return found


def agreed(straight: str, swapped: str) -> Outcome:
    """What two raw verdicts come to: the first digit 1 or 2 of each; the second saw the answers swapped."""
    one, other = _DIGIT.search(straight), _DIGIT.search(swapped)
    if one is None or other is None:
        return "no verdict"
    if one.group() == other.group():
        return "disagree"
    return "a" if one.group() == "1" else "b"


async def _said(judge: Expert, content: str, context: Context) -> str:
    payload = {
        "model": judge.card.name,
        "messages": [{"role": "user", "content": content}],
        "max_tokens": 8,
        "temperature": 0,
    }
    try:
        async with asyncio.timeout(context.remaining_s()):
            reply = await judge.complete(chat_request(payload), context)
    except TimeoutError:
        raise ExpertError(f"`{judge.card.name}` did not answer in time.", expert=judge.card.name) from None
    try:
        choice = cast("dict[str, Any]", json.loads(reply.body or b""))["choices"][0]
        return str(choice["message"]["content"] or "")
    except (ValueError, KeyError, IndexError, TypeError) as error:
        name = judge.card.name
        raise ExpertProtocolError(f"`{name}` gave no chat completion: {error!r}.", expert=name) from error
