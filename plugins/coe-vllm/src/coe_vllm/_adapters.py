"""LoRA adapters: what one needs to fit a base model, and which are loaded on a server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from safetensors import safe_open

from coe.errors import ConfigError
from coe_vllm.residency import Demand, Model, victims

WEIGHTS = "adapter_model.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterFacts:
    """What an adapter's files say.

    Attributes:
        rank: largest rank of its matrices.
        base_model: name of the model that it was trained on; empty when it does not say.
        layers: one more than the highest layer that it changes.
        hidden_size: of the base model, where a matrix shows it.
        params: numbers in its matrices.
    """

    rank: int
    base_model: str
    layers: int
    hidden_size: int | None
    params: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseFacts:
    """What is known of a base model and its server; None where nothing is."""

    names: frozenset[str] = frozenset()
    max_rank: int | None = None
    layers: int | None = None
    hidden_size: int | None = None


def read_adapter(folder: Path) -> AdapterFacts:
    """Read an adapter as PEFT saves it; only headers, no weights.

    Raises:
        ConfigError: it is no LoRA adapter, or one that vLLM does not serve.
    """
    try:
        raw: Any = json.loads((folder / "adapter_config.json").read_text())
        with safe_open(folder / WEIGHTS, "np") as file:  # pyright: ignore[reportUnknownVariableType]  (untyped library)
            shapes: dict[str, list[int]] = {
                name: list(file.get_slice(name).get_shape())  # pyright: ignore[reportUnknownMemberType,reportUnknownArgumentType,reportUnknownVariableType]  (untyped library)
                for name in file.keys()  # noqa: SIM118  (not a dict)  # pyright: ignore[reportUnknownMemberType,reportUnknownVariableType]  (untyped library)
            }
    except FileNotFoundError as error:
        missing = Path(str(error.filename)).name if error.filename else WEIGHTS
        raise ConfigError(
            f"{folder} holds no adapter: there is no {missing}.",
            hint="PEFT's save_pretrained writes such a folder.",
        ) from None
    except Exception as error:  # safetensors raises its own error, which it does not export as a type
        raise ConfigError(f"The adapter in {folder} cannot be read: {error}.") from error
    config = cast("dict[str, Any]", raw) if isinstance(raw, dict) else {}
    if config.get("peft_type") != "LORA":
        raise ConfigError(f"{folder} holds an adapter of type {config.get('peft_type')!r}; vLLM serves LORA.")
    for key in ("use_dora", "modules_to_save"):
        if config.get(key):
            raise ConfigError(f"The adapter in {folder} was made with `{key}`, which vLLM does not serve.")
    if config.get("bias", "none") != "none":
        raise ConfigError(f"The adapter in {folder} changes biases, which vLLM does not serve.")
    downs = {name: shape for name, shape in shapes.items() if ".lora_A." in name}
    if not downs:
        raise ConfigError(f"The adapter in {folder} holds no LoRA matrices.")
    return AdapterFacts(
        rank=max(shape[0] for shape in downs.values()),
        base_model=str(config.get("base_model_name_or_path") or ""),
        layers=max((_layer(name) + 1 for name in downs), default=0),
        hidden_size=next((shape[1] for name, shape in downs.items() if ".q_proj." in name), None),
        params=sum(shape[0] * shape[1] for shape in shapes.values() if len(shape) == 2),
    )


def misfit(adapter: AdapterFacts, base: BaseFacts, also: str | None) -> str | None:
    """Why the adapter cannot be served on the base; None when nothing speaks against it.

    Args:
        adapter: what its files say.
        base: what is known of the base.
        also: a further name of the base model that is fine, or `any`.
    """
    if base.max_rank is not None and adapter.rank > base.max_rank:
        return f"its rank is {adapter.rank}, the server takes up to {base.max_rank} (`max_lora_rank`)"
    if base.hidden_size is not None and adapter.hidden_size not in (None, base.hidden_size):
        return f"it is made for hidden size {adapter.hidden_size}, the base has {base.hidden_size}"
    if base.layers is not None and adapter.layers > base.layers:
        return f"it changes layer {adapter.layers - 1}, the base has {base.layers} layers"
    if also == "any" or not adapter.base_model or not base.names:
        return None
    known = {_short(name) for name in (*base.names, *([also] if also else []))}
    if _short(adapter.base_model) not in known:
        return (
            f"it was trained on `{adapter.base_model}`, the base is `{sorted(base.names)[0]}`; where that is "
            "the same model by another name, say so under `base_model`"
        )
    return None


def base_facts(folder: Path, names: frozenset[str], max_rank: int | None) -> BaseFacts:
    """What is known of a base whose config.json may lie in a folder."""
    try:
        config: Any = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError):
        return BaseFacts(names=names, max_rank=max_rank)
    layers, hidden = config.get("num_hidden_layers"), config.get("hidden_size")
    return BaseFacts(names=names, max_rank=max_rank, layers=layers, hidden_size=hidden)


class AdapterSlots:
    """Which adapters a server holds: loaded on demand, evicted when somebody else needs the slot.

    Args:
        slots: adapters at once.
        load, unload: tell the server; `unload` is not called for one in use.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        slots: int,
        load: Callable[[str, Path], Awaitable[None]],
        unload: Callable[[str], Awaitable[None]],
        clock: Callable[[], float],
    ) -> None:
        self._slots = slots
        self._load = load
        self._unload = unload
        self._clock = clock
        self._users: dict[str, int] = {}
        self._queue: list[str] = []
        self._demand = Demand()
        self._changed = asyncio.Condition()

    @property
    def loaded(self) -> frozenset[str]:
        """The adapters that the server holds."""
        return frozenset(self._users)

    def forget(self) -> None:
        """The server is another one: nothing is loaded."""
        self._users = {}  # who uses the old server's keeps counting there

    @asynccontextmanager
    async def use(self, name: str, path: Path) -> AsyncGenerator[None, None]:
        """Within it the adapter is loaded. Waits while every slot is in use. Raises what `load` raises."""
        self._demand.note(name, self._clock())
        users = await self._take(name, path)
        try:
            yield
        finally:
            users[name] -= 1
            async with self._changed:
                self._changed.notify_all()

    async def _take(self, name: str, path: Path) -> dict[str, int]:
        """Load it if need be and count one user; the counts in which it was counted."""
        if name in self._users:
            self._users[name] += 1
            return self._users
        self._queue.append(name)
        try:
            async with self._changed:
                await self._changed.wait_for(lambda: name in self._users or self._room() is not None)
                # One at a time loads and unloads; whoever waited for the same adapter finds it loaded.
                users = self._users
                if name not in users:
                    for victim in self._room() or ():
                        del users[victim]  # first: nobody may take it while it goes
                        await self._unload(victim)
                    await self._load(name, path)
                    users[name] = 0
                users[name] += 1
                self._changed.notify_all()
                return users
        finally:
            self._queue.remove(name)

    def _room(self) -> tuple[str, ...] | None:
        """Whom to unload for one more; None while all are in use."""
        now_s = self._clock()
        held = [
            Model(
                name=name,
                tier="gpu",
                gpu_gb=1.0,
                busy=users > 0,
                next_use=self._queue.index(name) if name in self._queue else None,
                rate_per_s=self._demand.rate_per_s(name, now_s),
            )
            for name, users in self._users.items()
        ]
        return victims(len(held) + 1.0 - self._slots, held)


def _layer(name: str) -> int:
    parts = name.split(".")
    at = parts.index("layers") + 1 if "layers" in parts else len(parts)
    return int(parts[at]) if at < len(parts) and parts[at].isdigit() else -1


def _short(name: str) -> str:
    return name.rstrip("/").rpartition("/")[2].lower()
