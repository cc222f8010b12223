"""Experts built as coe builds them, on a small server with vLLM's interface."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from coe.contracts import Expert
from coe.testing import build, create, load

FAKE = Path(__file__).parent / "fake"


def launched(**launch: Any) -> dict[str, Any]:
    """Keys of a `vllm` expert that launches the fake server."""
    env = {"PYTHONPATH": str(FAKE), **launch.pop("env", {})}
    return {
        "model": "some/model",
        "launch": {"python": sys.executable, "env": env, "stop_grace_s": 5, **launch},
        "poll_s": 0.05,
    }


def make_expert(kind: str, name: str, keys: dict[str, Any], **given: Any) -> Any:
    """An expert from its keys, through its entry point."""
    return create(load("coe.experts", kind), name, keys, build(**given))


@pytest.fixture
def make() -> Callable[..., Expert]:
    """`make_expert`."""
    return make_expert


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What vLLM is asked once is kept for these tests, and not among the user's files."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COE_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield
