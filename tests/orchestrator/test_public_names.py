"""What `import coe` gives, and how little it costs."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys

import pytest

import coe
import coe.client


def test_the_names_of_coe() -> None:
    assert coe.__all__ == ["AsyncClient", "Client", "Router", "__version__"]
    assert set(coe.__all__) <= set(dir(coe))
    assert coe.__version__ == importlib.metadata.version("coe-router")
    assert (coe.Router, coe.Client, coe.AsyncClient) == (
        coe.client.Router,
        coe.client.Client,
        coe.client.AsyncClient,
    )


def test_the_names_of_the_client() -> None:
    assert coe.client.__all__ == [
        "DEFAULT_URL",
        "Answer",
        "AsyncClient",
        "AsyncStream",
        "Backend",
        "Client",
        "Exchange",
        "Prompt",
        "Router",
        "Routing",
        "Stream",
    ]


def test_there_is_nothing_else() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Gateway'"):
        _ = coe.Gateway  # pyright: ignore[reportAttributeAccessIssue]  (that is what is tested)


def test_importing_coe_imports_nothing_of_it() -> None:
    code = "import coe, sys; print([name for name in sys.modules if name.startswith(('coe.', 'pydantic'))])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_an_in_process_client_imports_no_http_library() -> None:
    code = "import sys; from coe import Client; print({'httpx', 'uvloop'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
