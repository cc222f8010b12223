"""A client's backend: a coe server."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import aclosing, contextmanager
from typing import Any
from urllib.parse import unquote

import httpx
import msgspec

from coe.client._backend import Exchange
from coe.client._errors import told_error
from coe.engine import Routed, routed_from
from coe.errors import (
    CoeError,
    ConfigError,
    ExpertOverloaded,
    ExpertProtocolError,
    ExpertTimeout,
    ExpertUnavailable,
)
from coe.wire import ModelInfo, ModelList

_PREFIX = "x-coe-"
_CONNECT_TIMEOUT_S = 5.0
_anything = msgspec.json.Decoder(dict[str, Any])
_model_list = msgspec.json.Decoder(ModelList)


class AtServer:
    """Asks a coe server over HTTP.

    Args:
        url: its address, with or without `/v1`.
        api_key: sent as a bearer token.
        timeout_s: longest silence while an answer is awaited.

    Raises:
        ConfigError: `url` is no URL.
    """

    def __init__(self, url: str, api_key: str | None, timeout_s: float) -> None:
        self._url = url.rstrip("/").removesuffix("/v1")
        if not _is_address(self._url):
            raise ConfigError(f"`{url}` is no URL of a server; expected one like http://127.0.0.1:8642.")
        self._http = httpx.AsyncClient(
            base_url=self._url,
            headers={"authorization": f"Bearer {api_key}"} if api_key else {},
            timeout=httpx.Timeout(timeout_s, connect=min(timeout_s, _CONNECT_TIMEOUT_S)),
        )

    async def complete(self, payload: dict[str, Any], session: str | None) -> Exchange:
        """Have it answered."""
        response = await self._send("POST", "/v1/chat/completions", payload, session)
        facts = _header_facts(response.headers)
        if payload.get("stream"):
            return Exchange(facts=facts, chunks=self._chunks(response))
        return Exchange(facts=facts, body=await self._body(response))

    async def route(self, payload: dict[str, Any], session: str | None) -> Routed:
        """Decide only."""
        body = await self._body(await self._send("POST", "/v1/route", payload, session))
        try:
            return routed_from(_anything.decode(body))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise self._nonsense(f"no decision ({error})") from error

    async def models(self) -> list[ModelInfo]:
        """What `model` may be."""
        body = await self._body(await self._send("GET", "/v1/models"))
        try:
            return _model_list.decode(body).data
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise self._nonsense(f"no list of models ({error})") from error

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _send(
        self, method: str, path: str, payload: dict[str, Any] | None = None, session: str | None = None
    ) -> httpx.Response:
        """A response with status 200, its body still to be read; any other status is raised."""
        headers = {} if session is None else {"x-coe-session": session}
        request = self._http.build_request(method, path, json=payload, headers=headers)
        with self._failures():
            response = await self._http.send(request, stream=True)
        if response.is_success:
            return response
        raise self._refusal(response, await self._body(response))

    async def _body(self, response: httpx.Response) -> bytes:
        with self._failures():
            try:
                return await response.aread()
            finally:
                await response.aclose()

    async def _chunks(self, response: httpx.Response) -> AsyncGenerator[bytes, None]:
        with self._failures():
            async with aclosing(response):
                async for chunk in response.aiter_bytes():
                    yield chunk

    def _refusal(self, response: httpx.Response, body: bytes) -> CoeError:
        status = response.status_code
        try:
            envelope = _anything.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return self._nonsense(f"{status} without a readable error")
        retry_after = response.headers.get("retry-after", "")
        return told_error(envelope, status, float(retry_after) if retry_after.isdigit() else None)

    def _nonsense(self, what: str) -> ExpertProtocolError:
        return ExpertProtocolError(f"{self._url} answered {what}.", hint="Is this the URL of a coe server?")

    @contextmanager
    def _failures(self) -> Generator[None]:
        """What goes wrong on the way, as errors of ours."""
        try:
            yield
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise ExpertUnavailable(
                f"No server can be reached at {self._url}: {error}.", hint="Start one with `coe serve`."
            ) from error
        except httpx.PoolTimeout as error:
            raise ExpertOverloaded("This client has too many requests under way.") from error
        except httpx.TimeoutException as error:
            raise ExpertTimeout(f"{self._url} did not answer in time.") from error
        except httpx.HTTPError as error:
            raise ExpertUnavailable(f"The connection to {self._url} broke: {error}.") from error


def _is_address(url: str) -> bool:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        return False
    return parsed.scheme in ("http", "https") and bool(parsed.host) and (parsed.port or 1) < 65536


def _header_facts(headers: Mapping[str, str]) -> dict[str, Any]:
    """The `coe` object as far as the `x-coe-*` headers tell it."""
    facts: dict[str, Any] = {
        name.removeprefix(_PREFIX).replace("-", "_"): unquote(value)
        for name, value in headers.items()
        if name.startswith(_PREFIX)
    }
    if "fallback_from" in facts:
        facts["fallback_from"] = facts["fallback_from"].split(",")
    return facts
