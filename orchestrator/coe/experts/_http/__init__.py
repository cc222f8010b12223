"""A thin HTTP/1.1 client for the hot path: pooled keep-alive connections over asyncio and httptools.

General HTTP libraries cost several times the CPU of the whole gateway per request (docs/performance.md), and
the gateway needs little: POST one body to a configured server, get the reply whole or as it arrives. No
redirects, no cookies, no decompression, no proxies.
"""

from coe.experts._http._client import HttpClient, Response
from coe.experts._http._connection import Broken, Silent
from coe.experts._http._status import StatusClient

__all__ = ["Broken", "HttpClient", "Response", "Silent", "StatusClient"]
