"""A pool with good and bad experts, and `coe serve` over it as a process, for the SDK and the commands."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from coe.testing import FakeUpstream, Fault

MODEL_FAULTS = (
    Fault.REJECTED,
    Fault.OVERLOADED,
    Fault.SERVER_ERROR,
    Fault.MALFORMED,
    Fault.ERROR_FRAME,
    Fault.TRUNCATED,
    Fault.ENDLESS,
    Fault.HANG,
)

POOL = """\
server: {port: 0}
breaker: {failures: 100000}
plugins: {allow: [coe-test-plugin]}
experts:
  alpha:
    kind: echo
    prefix: "A: "
    card: {domains: [math], context_window: 500, input_usd_per_mtok: 0.5, output_usd_per_mtok: 2, params_b: 8}
  beta:
    kind: echo
    prefix: "B: "
    card: {domains: [writing, general], capabilities: [chat, stream]}
  down: {kind: openai, base_url: "http://127.0.0.1:9/v1", model: x, routable: false}
"""
FAULTY = '  {name}: {{kind: openai, base_url: "{url}", model: {name}, routable: false}}\n'
ROUTERS = """\
routers:
  auto: {kind: first}
  topical: {kind: two-step}
  fallen: {kind: first, experts: [down, beta]}
"""


@pytest.fixture(scope="session")
def upstream() -> Iterator[FakeUpstream]:
    """What the faulty experts ask; each of them fails in the way that its name says."""
    with FakeUpstream(faults={fault.value: fault for fault in MODEL_FAULTS}) as fake:
        yield fake


@pytest.fixture(scope="session")
def pool_file(upstream: FakeUpstream, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The configuration of the pool: `alpha`, `beta`, and experts that fail."""
    faulty = "".join(FAULTY.format(name=fault.value, url=upstream.base_url) for fault in MODEL_FAULTS)
    path = tmp_path_factory.mktemp("pool") / "coe.yaml"
    path.write_text(POOL + faulty + ROUTERS)
    return path


@pytest.fixture(scope="session")
def server_url(pool_file: Path) -> Iterator[str]:
    """Address of a `coe serve` process over the pool."""
    command = [sys.executable, "-c", "from coe.cli import main; main()", "serve", "-c", str(pool_file)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        greeting = process.stderr.readline()
        assert "coe serves http://" in greeting, greeting + process.stderr.read()
        yield greeting.split()[2].removesuffix("/v1")
        process.terminate()
