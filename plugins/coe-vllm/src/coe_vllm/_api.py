"""The parts of a vLLM server's HTTP interface that are not chats: health, models, load, adapters, sleep."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import httpx
import msgspec

from coe.contracts import SparseLayer
from coe_vllm import _layers, _metrics

logging.getLogger("httpx").setLevel(logging.WARNING)  # a look every second is not worth a line
_PROBE_TIMEOUT_S = 5.0
_CHANGE_TIMEOUT_S = 300.0


class Served(msgspec.Struct):
    """One row of /v1/models.

    Attributes:
        id: name that requests give.
        root: path or hub name of the weights.
        parent: of an adapter, the base model's id.
        max_model_len: tokens of prompt and answer together.
    """

    id: str
    root: str | None = None
    parent: str | None = None
    max_model_len: int | None = None


class _Models(msgspec.Struct):
    data: list[Served]


class _Sleeping(msgspec.Struct):
    is_sleeping: bool


class _Error(msgspec.Struct):
    error: Any = None
    message: str | None = None
    detail: Any = None


class Refused(Exception):
    """The server refused, or could not be reached; the message says why.

    Attributes:
        status: HTTP status; None when there was no answer.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class VllmApi:
    """Asks one server.

    Args:
        root_url: the server's URL, with or without `/v1` at its end.
        api_key: bearer token; empty for none.
    """

    def __init__(self, root_url: str, api_key: str = "", headers: Mapping[str, str] | None = None) -> None:
        self.root_url = root_url.rstrip("/").removesuffix("/v1")
        fixed = dict(headers or {})
        if api_key:
            fixed["Authorization"] = f"Bearer {api_key}"
        # The environment's proxies are for the world, not for a server beside us.
        self._client = httpx.AsyncClient(base_url=self.root_url, headers=fixed, trust_env=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def healthy(self) -> bool:
        """Whether /health answers 200."""
        try:
            return (await self._client.get("/health", timeout=_PROBE_TIMEOUT_S)).status_code == 200
        except httpx.HTTPError:
            return False

    async def models(self) -> list[Served]:
        """The models and adapters that it serves. Raises `Refused`."""
        body = await self._ask("GET", "/v1/models", timeout_s=_PROBE_TIMEOUT_S)
        try:
            return msgspec.json.decode(body, type=_Models).data
        except msgspec.DecodeError as error:
            raise Refused(f"/v1/models answered something else: {error}") from error

    async def gauges(self) -> _metrics.Gauges:
        """How busy it is. Raises `Refused`."""
        body = await self._ask("GET", "/metrics", timeout_s=_PROBE_TIMEOUT_S)
        return _metrics.parse(body.decode(errors="replace"))

    async def sparse_layers(self) -> tuple[SparseLayer, ...]:
        """What the layers did that coe-kernels serves. Raises `Refused`."""
        body = await self._ask(
            "POST", "/collective_rpc", {"method": "coe_kernels_status"}, timeout_s=_PROBE_TIMEOUT_S
        )
        try:
            return _layers.parse(body)
        except msgspec.DecodeError as error:
            raise Refused(f"/collective_rpc answered something else: {error}") from error

    async def load_adapter(self, name: str, path: Path) -> None:
        """Load a LoRA adapter, or leave it when it is there. Raises `Refused`."""
        try:
            await self._ask("POST", "/v1/load_lora_adapter", {"lora_name": name, "lora_path": str(path)})
        except Refused as error:
            if error.status == 400 and "already" in str(error):
                return
            if error.status == 404 and "Not Found" in str(error):
                raise Refused(
                    "the server does not load adapters while it runs: start it with --enable-lora and with "
                    "VLLM_ALLOW_RUNTIME_LORA_UPDATING=True in its environment",
                    404,
                ) from error
            raise

    async def unload_adapter(self, name: str) -> None:
        """Unload a LoRA adapter, if it is there. Raises `Refused`."""
        try:
            await self._ask("POST", "/v1/unload_lora_adapter", {"lora_name": name})
        except Refused as error:
            if error.status != 404:
                raise

    async def sleeping(self) -> bool | None:
        """Whether it sleeps; None when it has no sleep mode. Raises `Refused`."""
        try:
            body = await self._ask("GET", "/is_sleeping", timeout_s=_PROBE_TIMEOUT_S)
        except Refused as error:
            if error.status == 404:
                return None
            raise
        return msgspec.json.decode(body, type=_Sleeping).is_sleeping

    async def sleep(self, level: int) -> None:
        """Free its accelerator: level 1 keeps the weights in RAM, level 2 drops them. Raises `Refused`."""
        await self._ask("POST", f"/sleep?level={level}")

    async def wake_up(self, *, reload: bool) -> None:
        """Take the accelerator again; `reload` reads the weights anew, as level 2 needs. Raises `Refused`."""
        if not reload:
            await self._ask("POST", "/wake_up")
            return
        await self._ask("POST", "/wake_up?tags=weights")
        await self._ask("POST", "/collective_rpc", {"method": "reload_weights"})
        await self._ask("POST", "/wake_up?tags=kv_cache")

    async def pool(self, path: str, body: Mapping[str, Any], timeout_s: float) -> bytes:
        """POST to /classify, /score or /pooling. Raises `Refused`."""
        return await self._ask("POST", path, body, timeout_s=timeout_s)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        timeout_s: float = _CHANGE_TIMEOUT_S,
    ) -> bytes:
        try:
            answer = await self._client.request(method, path, json=body, timeout=timeout_s)
        except httpx.TimeoutException as error:
            raise Refused(f"{path} did not answer within {timeout_s:.0f} s") from error
        except httpx.HTTPError as error:
            raise Refused(f"{self.root_url} cannot be reached: {error}") from error
        if answer.status_code != 200:
            raise Refused(
                f"{path} answered {answer.status_code}: {_words(answer.content)}", answer.status_code
            )
        return answer.content


def _words(body: bytes) -> str:
    try:
        parsed = msgspec.json.decode(body, type=_Error)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return body.decode(errors="replace")[:300]
    error: object = parsed.error
    said = cast("dict[str, Any]", error).get("message") if isinstance(error, dict) else error
    return str(said or parsed.message or parsed.detail or "no reason")[:500]
