"""The SDK: decide only (`Router`), or have it answered too (`Client`, `AsyncClient`), here or at a server."""

from coe.client._answer import Answer, Routing
from coe.client._async import AsyncClient, AsyncStream
from coe.client._backend import DEFAULT_URL, Backend, Exchange, Prompt
from coe.client._router import Router
from coe.client._sync import Client, Stream

__all__ = [
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
