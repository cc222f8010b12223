"""Conversion of closed segments in a process of its own: it costs a gateway neither time nor memory."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

from coe.journal._segments import LIVE, files, is_live

_log = logging.getLogger("coe.journal")


class Compactor:
    """Starts `python -m coe.journal FOLDER`, one at a time.

    Attributes:
        failures: children that ended with an error.
    """

    def __init__(self, folder: Path) -> None:
        # -P: nothing is imported from the working directory.
        self._command = [sys.executable, "-P", "-m", "coe.journal", str(folder)]
        self._folder = folder
        self._child: subprocess.Popen[bytes] | None = None
        self.failures = 0

    def run(self) -> None:
        """Start it unless it runs or has nothing to do. What closes meanwhile is converted the next time."""
        if self._running():
            return
        try:
            if all(is_live(each) for each in files(self._folder) if each.suffix == LIVE):
                return
            self._child = subprocess.Popen(  # noqa: S603 - our own interpreter and module, no shell.
                self._command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
        except OSError as error:
            self._fail(error.strerror or str(error))

    def stop(self) -> None:
        """End a child that runs. The segment in its hands stays as it was."""
        if self._child is not None:
            self._child.terminate()
            self._child.wait()

    def _running(self) -> bool:
        if self._child is None:
            return False
        code = self._child.poll()
        if code is None:
            return True
        self._child = None
        if code != 0:
            self._fail(f"exit code {code}")
        return False

    def _fail(self, why: str) -> None:
        self.failures += 1
        _log.error(
            "journal segments were not converted: %s; to see more run %s", why, " ".join(self._command)
        )
