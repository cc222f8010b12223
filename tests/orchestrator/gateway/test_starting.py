"""What keeps a start short."""

from __future__ import annotations

import gc
import os
import subprocess
import sys

import pytest

from coe.gateway import Metrics, starting

_THREADS = "OPENBLAS_NUM_THREADS"


def test_serve_imports_only_what_its_configuration_needs() -> None:
    """What plugins need, numpy among it, comes with them."""
    code = "import coe.cli._serve, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    late = {
        "rich",
        "prometheus_client",
        "opentelemetry",
        "redis",
        "httpx",
        "numpy",
        "coe.tenants",
        "coe.gateway._tracing",
        "coe.gateway._openapi",
        "coe.gateway._workers",
        "coe.journal._summary",
    }
    assert {"coe.gateway._serve", "coe.journal._journal"} <= loaded
    assert loaded & late == set()


def test_blas_gets_one_thread_and_the_environment_stays_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(_THREADS, raising=False)
    with starting():
        assert os.environ[_THREADS] == "1"
        assert not gc.isenabled()
    assert _THREADS not in os.environ
    assert gc.isenabled()


def test_what_the_environment_says_of_threads_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(_THREADS, "7")
    with starting():
        assert os.environ[_THREADS] == "7"
    assert os.environ[_THREADS] == "7"


def test_metrics_can_be_read_again_and_again() -> None:
    metrics = Metrics()
    metrics.reloaded("applied")
    assert metrics.exposition() == metrics.exposition()
    metrics.reloaded("applied")
    assert b'coe_config_reloads_total{outcome="applied"} 2.0' in metrics.exposition()
