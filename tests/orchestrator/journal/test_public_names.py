"""What coe.journal exports."""

from __future__ import annotations

import coe.journal


def test_exported_names() -> None:
    assert sorted(coe.journal.__all__) == [
        "Attempt",
        "Follower",
        "Journal",
        "JournalStats",
        "Likely",
        "Line",
        "MAX_PROMPT_CHARACTERS",
        "Reader",
        "Record",
        "SCHEMA",
        "Share",
        "Spread",
        "Summary",
        "open_journal",
        "session_hash",
        "summarise",
    ]
