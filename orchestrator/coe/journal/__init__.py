"""The journal: one record per served request, in append-only files that survive crashes.

What the gateway needs:

    journal = open_journal(config.journal, config.base_dir, time.monotonic, time.time)   # None when it is off
    journal.add(Record(id=…, time=…, …))                # microseconds; never waits, never raises
    journal.stats()                                     # counters for metrics
    journal.close()                                     # all that was added is in the file

and what reads it: `Reader(folder)`, `Follower(folder)`, `summarise(records)`.

A folder holds segments of several processes side by side: `START-PID-N.jsonl` while it is written, `.parquet`
(or `.jsonl.gz` without pyarrow) later. `python -m coe.journal FOLDER` makes that change; a journal starts it
by itself when it is quiet, at the lowest priority.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from coe.journal._journal import Journal, JournalStats, open_journal
from coe.journal._record import MAX_PROMPT_CHARACTERS, SCHEMA, Attempt, Likely, Line, Record, session_hash

if TYPE_CHECKING:
    from coe.journal._follow import Follower
    from coe.journal._read import Reader
    from coe.journal._summary import Share, Spread, Summary, summarise

__all__ = [
    "MAX_PROMPT_CHARACTERS",
    "SCHEMA",
    "Attempt",
    "Follower",
    "Journal",
    "JournalStats",
    "Likely",
    "Line",
    "Reader",
    "Record",
    "Share",
    "Spread",
    "Summary",
    "open_journal",
    "session_hash",
    "summarise",
]

_READING = {
    "Follower": "_follow",
    "Reader": "_read",
    "Share": "_summary",
    "Spread": "_summary",
    "Summary": "_summary",
    "summarise": "_summary",
}
"""Where to find what only readers use: a gateway, which writes, starts sooner without it."""


def __getattr__(name: str) -> Any:
    if name in _READING:
        return getattr(importlib.import_module(f"coe.journal.{_READING[name]}"), name)
    raise AttributeError(f"module 'coe.journal' has no attribute '{name}'")
