"""Records, and a journal in a folder of the test's own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from coe.config import JournalConfig
from coe.contracts import Candidate, Excluded, Ranked
from coe.journal import Attempt, Journal, Likely, Record

Open = Callable[..., Journal]
Make = Callable[..., Record]


def make(number: int = 0, **fields: Any) -> Record:
    given: dict[str, Any] = {
        "id": f"dec_{number}",
        "time": 1_750_000_000.25 + number,
        "model": "auto",
        "category": "math",
        "categories": (Likely("math", 0.75), Likely("coding", 0.125)),
        "uncertainty": 0.5,
        "reason": "category",
        "chosen": "a",
        "propensity": 1.0,
        "ranked": (Ranked("a", 0.5), Ranked("b")),
        "excluded": (Excluded("c", "cannot do vision"),),
        "revision": "r1",
        "cache": "miss",
        "route_us": 120,
        "attempts": (Attempt("a", "", 0.25),),
        "candidates": (
            Candidate(expert="a", reward=0.5, chosen=True),
            Candidate(expert="b", error="cancelled"),
        ),
        "expert": "a",
        "status": 200,
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "cost_usd": 0.001,
        "first_byte_us": 900,
        "total_us": 1000 + number,
        "session": "0123456789abcdef",
        "sent_bytes": 321,
    }
    return Record(**{**given, **fields})


@pytest.fixture(scope="session")
def record() -> Make:
    """Makes records that differ by their number; all fields are set, so that each is seen to survive."""
    return make


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the test's journal is."""
    return tmp_path / "journal"


@pytest.fixture
def open_in(folder: Path) -> Iterator[Open]:
    """Make a journal with these settings; it is closed with the test."""
    with ExitStack() as stack:

        def opened(**settings: Any) -> Journal:
            config = JournalConfig(dir=folder, **settings)
            return stack.enter_context(closing(Journal(folder, config, time.monotonic, time.time)))

        yield opened
