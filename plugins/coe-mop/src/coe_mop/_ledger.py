"""Every call that was made, and its answer: what makes a run resumable and its budget hard.

A file of JSON lines: a header, then `{"call": key}` before each call and `{"answer": text, "key": key}`
after. A call whose answer never came (crash, failure) stays counted: the budget bounds what is really asked.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, cast

from coe.errors import ArtifactError, DataError

SCHEMA = 1


class BudgetSpent(DataError):
    """No call is left."""


class Ledger:
    """Calls spent and answers kept. Use as a context manager.

    Args:
        path: the file, made when it is not there; None keeps everything in memory only.
        base: who answers; a file of another base is refused.
        budget: calls that may be spent in all, those in the file included.

    Raises:
        ArtifactError: the file is another's, or cannot be read.
    """

    def __init__(self, path: Path | None, base: str, budget: int) -> None:
        self.budget = budget
        self.spent = 0
        self._answers: dict[str, str] = {}
        self._path = path
        self._base = base
        self._file: IO[str] | None = None

    def __enter__(self) -> Self:
        if self._path is not None:
            whole = self._read(self._path) if self._path.exists() else 0
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # The answers are the user's data: for nobody else on this machine.
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            os.ftruncate(descriptor, whole)  # a line that a crash cut short
            self._file = os.fdopen(descriptor, "a", encoding="utf-8")
            if not whole:
                self._write({"coe-mop-calls": SCHEMA, "base": self._base})
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def known(self, key: str) -> str | None:
        """The answer of a call that was made before."""
        return self._answers.get(key)

    def spend(self, key: str) -> None:
        """Count a call that is about to be made. Raises `BudgetSpent` when none is left."""
        if self.spent >= self.budget:
            raise BudgetSpent(
                f"The budget of {self.budget} calls is spent.",
                hint="Failed and interrupted calls count. A larger --budget goes on with the kept answers.",
            )
        self.spent += 1
        self._write({"call": key})

    def keep(self, key: str, answer: str) -> None:
        """Keep the answer of a call."""
        self._answers[key] = answer
        self._write({"key": key, "answer": answer})

    def _write(self, line: Mapping[str, Any]) -> None:
        if self._file is not None:
            self._file.write(json.dumps(line, ensure_ascii=False) + "\n")
            self._file.flush()

    def _read(self, path: Path) -> int:
        """Read the file; return the bytes of its whole lines."""
        raw = path.read_bytes()
        whole = raw.rfind(b"\n") + 1
        try:
            lines = [cast("dict[str, Any]", json.loads(line)) for line in raw[:whole].splitlines()]
            header = lines[0] if lines else None
            if header is not None and (header["coe-mop-calls"], header["base"]) != (SCHEMA, self._base):
                raise ArtifactError(
                    f"{path} keeps the calls of `{header['base']}` in schema {header['coe-mop-calls']}, not "
                    f"those of `{self._base}` in schema {SCHEMA}.",
                    hint="Remove it, or name another with --calls.",
                )
            for line in lines[1:]:
                if "call" in line:
                    self.spent += 1
                else:
                    self._answers[line["key"]] = line["answer"]
        except (ValueError, KeyError, TypeError) as error:
            raise ArtifactError(f"{path} does not hold kept calls: {error!r}.") from error
        return whole


def key_of(payload: Mapping[str, Any]) -> str:
    """What a call is known by."""
    return hashlib.sha256(json.dumps(payload, sort_keys=True, ensure_ascii=False).encode()).hexdigest()[:32]
