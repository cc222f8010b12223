"""The process between coe and one vLLM server: it ends the whole server however coe ends.

Run as a script; it imports nothing of coe. It reads its order as one JSON line from stdin, starts the server
in a session of its own, says the server's process id as one JSON line on stdout, and leaves stdout to the
server. When stdin ends, which it does however coe dies, it stops the server: SIGTERM to its process group,
SIGKILL after `grace_s`, then SIGKILL to every process that is left below it. vLLM starts workers, and a
worker whose parent was killed would otherwise keep its memory for ever.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import time
from typing import Any

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_PR_SET_CHILD_SUBREAPER = 36
_POLL_S = 0.05


def main() -> int:
    """Keep one server; the exit status is the server's, 128 + n for signal n."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # coe decides when the server ends
    libc = ctypes.CDLL(None, use_errno=True)
    # Workers whose parent died become children of this process, so that it can find and end them.
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)
    order: dict[str, Any] = json.loads(sys.stdin.buffer.readline())
    keeper = os.getpid()

    def in_child() -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != keeper:  # the keeper died before the line above
            os._exit(1)

    try:
        # A session of its own, so that one signal reaches the server and all that it starts.
        server = subprocess.Popen(  # noqa: S603  (the operator's own command)
            order["argv"],
            env={**os.environ, **order["env"]},
            cwd=order["cwd"],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=in_child,  # noqa: PLW1509  (this process has one thread)
        )
    except OSError as error:
        print(json.dumps({"error": f"{order['argv'][0]}: {error.strerror}"}), flush=True)
        return 127
    # One write: the server writes to the same pipe.
    os.write(1, json.dumps({"pid": server.pid}).encode() + b"\n")
    _wait(server)
    _stop(server, order["grace_s"])
    status = server.wait()
    return status if status >= 0 else 128 - status


def _wait(server: subprocess.Popen[bytes]) -> None:
    """Until the server ends or coe does."""
    ended = os.pidfd_open(server.pid)
    try:
        while True:
            ready, _, _ = select.select([ended, sys.stdin.buffer], [], [])
            if ended in ready or not os.read(sys.stdin.fileno(), 4096):
                return
    finally:
        os.close(ended)


def _stop(server: subprocess.Popen[bytes], grace_s: float) -> None:
    _signal(server.pid, signal.SIGTERM)
    until = time.monotonic() + grace_s
    # The server may end before its workers: wait for the whole group.
    while time.monotonic() < until and (server.poll() is None or _group_lives(server.pid)):
        _reap(server)
        time.sleep(_POLL_S)
    _signal(server.pid, signal.SIGKILL)
    while left := _children():
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        _reap(server)
        server.poll()
        time.sleep(_POLL_S)


def _signal(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _reap(server: subprocess.Popen[bytes]) -> None:
    """Collect inherited children that have ended; the server's own status is left to `Popen`."""
    for pid in _children():
        if pid != server.pid:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


def _children() -> list[int]:
    pid = os.getpid()
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            return [int(child) for child in file.read().split()]
    except OSError:  # no /proc: the process group is all that is known
        return []


if __name__ == "__main__":
    sys.exit(main())
