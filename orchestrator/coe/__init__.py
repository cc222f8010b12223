"""coe: one endpoint in front of many experts.

`Router` decides which expert should answer a prompt; `Client` and `AsyncClient` have it answered too, in this
process or by a server. Importing this package imports none of them: each is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from coe.client import AsyncClient, Client, Router

    __version__: str

__all__ = ["AsyncClient", "Client", "Router", "__version__"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("coe-router")
    if name in __all__:
        from coe import client

        return getattr(client, name)
    raise AttributeError(f"module 'coe' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
