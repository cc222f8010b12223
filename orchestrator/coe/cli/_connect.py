"""Commands that ask a server, or the experts of this process."""

from __future__ import annotations

import logging
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.status import Status

from coe.cli._options import load_config
from coe.client import Client
from coe.config import ServerConfig, find

UrlOption = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", help="Ask the coe server there instead.", show_default=False),
]
KeyOption = Annotated[
    str | None,
    typer.Option(
        "--api-key",
        metavar="KEY",
        envvar="COE_API_KEY",
        help="For a server that wants one.",
        show_default=False,
    ),
]
ModelOption = Annotated[str, typer.Option("--model", help="A virtual model, or an expert by name.")]
PromptArgument = Annotated[str, typer.Argument(metavar="PROMPT", help="The prompt; - reads it from stdin.")]

_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - compared, not bound
_LIVE_TIMEOUT_S = 1.0
_SMALL = (
    "They are prompts on SmolLM2-135M, a very small model: good for seeing routing work, not for answers to "
    "rely on. Add a real model with `coe init`."
)


def read_prompt(prompt: str) -> str:
    """The prompt, or what stdin holds when it is `-`."""
    return sys.stdin.read() if prompt == "-" else prompt


def client_for(url: str | None, config: Path | None, key: str | None, console: Console) -> Client:
    """A client of the server at `url`, else of one that runs where the configuration says, else in process.

    Args:
        url: what the user named.
        config: the configuration that the user named.
        key: for a server that wants one.
        console: told what was chosen, where the user did not say.

    Raises:
        UserError: the configuration is wrong, or something that it names cannot be built.
    """
    if url is not None:
        return Client(url, api_key=key)
    settings = load_config(config)
    address = _address(settings.server)
    if settings.server.port and _is_live(address):
        console.print(f"Asking the server at {address}.", style="dim")
        return Client(address, api_key=key)
    console.print(f"No server at {address}: the experts run in this process.", style="dim")
    if find(config) is None:
        console.print(_SMALL, style="dim")
    return Client.open(settings)


@contextmanager
def waiting(console: Console, for_what: str) -> Generator[None]:
    """Show that something is waited for, and what experts say of their start (downloads, loading)."""
    logger = logging.getLogger("coe.experts")
    before = logger.level
    with console.status(for_what) as status:
        handler = _Progress(status, console)
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        try:
            yield
        finally:
            logger.setLevel(before)
            logger.removeHandler(handler)


class _Progress(logging.Handler):
    """Log records as the words beside the spinner; as lines where there is no terminal."""

    def __init__(self, status: Status, console: Console) -> None:
        super().__init__(logging.INFO)
        self._status = status
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        if self._console.is_terminal:
            self._status.update(record.getMessage())
        else:
            self._console.print(record.getMessage(), markup=False)


def _address(server: ServerConfig) -> str:
    host = _ANY_ADDRESS.get(server.host, server.host)
    return f"http://[{host}]:{server.port}" if ":" in host else f"http://{host}:{server.port}"


def _is_live(address: str) -> bool:
    import httpx  # 60 ms that commands without a server need not pay

    try:
        response = httpx.get(f"{address}/health/live", timeout=_LIVE_TIMEOUT_S)
    except httpx.HTTPError:
        return False
    return response.is_success and '"live"' in response.text
