"""The OpenAI-compatible HTTP surface: raw ASGI, bytes in and bytes out."""

from coe.gateway._app import Gateway
from coe.gateway._built import Built, build
from coe.gateway._exposure import refuse_open
from coe.gateway._log import log_to_stderr
from coe.gateway._metrics import Metrics
from coe.gateway._serve import serve
from coe.gateway._starting import starting

__all__ = [
    "Built",
    "Gateway",
    "Metrics",
    "build",
    "log_to_stderr",
    "refuse_open",
    "serve",
    "starting",
]
