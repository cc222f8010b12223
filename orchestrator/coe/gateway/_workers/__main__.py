"""Started by a supervisor: `python -m coe.gateway._workers LINK LISTENER`, both inherited descriptors."""

from __future__ import annotations

import signal
import socket
import sys

from coe.gateway._workers._worker import work


def main() -> None:
    """Serve until the supervisor says stop, or is gone."""
    # Signals for the whole group are the supervisor's to read.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    link, listener = (socket.socket(fileno=int(number)) for number in sys.argv[1:3])
    work(link, listener)


main()
