"""Ask a server for the status of one URL, over a connection of its own: can it still be reached at all?"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from urllib.parse import urlsplit

from coe.experts._http._connection import Broken


class StatusClient:
    """GETs and looks at nothing but the status.

    Args:
        base_url: http:// or https:// URL.
        headers: sent with every request.
        tls: as of `HttpClient`.
    """

    def __init__(self, base_url: str, headers: Mapping[str, str], tls: ssl.SSLContext | None = None) -> None:
        url = urlsplit(base_url)
        self._host = url.hostname or ""
        self._port = url.port or (443 if url.scheme == "https" else 80)
        self._tls = (tls or ssl.create_default_context()) if url.scheme == "https" else None
        self._prefix = url.path.rstrip("/")
        fixed = {"Host": url.netloc.rpartition("@")[2], **headers, "Connection": "close"}
        self._fixed = "".join(f"{name}: {value}\r\n" for name, value in fixed.items())

    async def status(self, path: str) -> int:
        """The status of a path: under the base URL, or from the server's root if it begins with `/`.

        Raises:
            OSError: cannot connect, or the connection broke.
            Broken: what came is not HTTP.
        """
        where = path if path.startswith("/") else f"{self._prefix}/{path}"
        reader, writer = await asyncio.open_connection(self._host, self._port, ssl=self._tls)
        try:
            writer.write(f"GET {where} HTTP/1.1\r\n{self._fixed}\r\n".encode("latin-1"))
            while True:
                status = _status(await reader.readuntil(b"\r\n"))
                if status >= 200:
                    return status
                while await reader.readuntil(b"\r\n") != b"\r\n":  # an interim response
                    pass
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            raise Broken("the server closed the connection, or did not answer in HTTP") from error
        finally:
            writer.transport.abort()


def _status(line: bytes) -> int:
    """`HTTP/1.1 200 OK` → 200."""
    version, _, rest = line.partition(b" ")
    code = rest[:3]
    if not version.startswith(b"HTTP/1.") or not code.isdigit():
        raise Broken("the server does not answer in HTTP")
    return int(code)
