"""New records as they are written."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from coe.journal._record import Record, decode
from coe.journal._segments import LIVE, files


class Follower:
    """Hands out what is written to a journal after it was made. Close it.

    Args:
        folder: the journal; it need not exist yet.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[Path, BinaryIO] = {}
        self._rest: dict[Path, bytes] = {}
        self._open_new()
        for path, file in self._files.items():
            # A line that is half written now belongs to what comes.
            self._rest[path] = file.read().rpartition(b"\n")[2]

    def read(self) -> list[Record]:
        """The records since the last call, in the order in which each process wrote them.

        A segment that is closed, converted or removed between two calls is read to its end first.
        """
        self._open_new()
        records: list[Record] = []
        for path, file in list(self._files.items()):
            # Looked up before it is read: nothing is written to a segment that has been removed.
            gone = not path.exists()
            whole, _, self._rest[path] = (self._rest[path] + file.read()).rpartition(b"\n")
            found = (decode(line) for line in whole.splitlines())
            records += [record for record in found if record is not None]
            if gone:
                file.close()
                del self._files[path], self._rest[path]
        return records

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()
        self._files.clear()

    def _open_new(self) -> None:
        for each in files(self._folder):
            if each.suffix == LIVE and each.path not in self._files:
                try:
                    self._files[each.path] = each.path.open("rb")
                except FileNotFoundError:
                    continue
                self._rest[each.path] = b""
