"""The same client twice: at a server, and in process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from coe import Client


@pytest.fixture(scope="module", params=["at a server", "in process"])
def client(request: pytest.FixtureRequest, pool_file: Path) -> Iterator[Client]:
    """A client of the pool."""
    if request.param == "in process":
        opened = Client.open(pool_file, timeout_s=30)
    else:
        opened = Client(request.getfixturevalue("server_url"), timeout_s=30)
    with opened:
        yield opened
