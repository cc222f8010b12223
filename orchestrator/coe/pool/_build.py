"""From a configuration to experts, routers and caches, through the registry."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from coe.breaker import Breaker
from coe.config import CardConfig, Config, ExpertConfig, PluginSettings
from coe.contracts import Capability, Card, DecisionCache, Embedder, Expert, Plugin, Probeable, Router
from coe.errors import ConfigError
from coe.pool._gate import Gate
from coe.pool._limited import limited, unlimited
from coe.pool._pool import Member, Pool
from coe.pool._probes import Probe
from coe.registry import Registry


class Builder:
    """Builds what a configuration names: each thing once, bases first.

    Every method raises `ConfigError` for wrong settings, `PluginError` for a kind that is not installed, not
    allowed or broken, and `ArtifactError` for an artifact that does not fit.

    Args:
        config: the configuration.
        registry: where the kinds come from.
        previous: a configuration and the pool that was built from it. An expert that is written the same in
            both, and whose bases are, is taken over: with its connections and processes, and with what is
            known of its health.
        stand_in: what to put in the place of an expert that exists once for several processes, which each
            have this configuration; None where every expert is this process's own.
    """

    def __init__(
        self,
        config: Config,
        registry: Registry,
        previous: tuple[Config, Pool] | None = None,
        stand_in: Callable[[Expert], Expert] | None = None,
    ) -> None:
        self._config = config
        self._registry = registry
        self._previous = previous
        self._stand_in = stand_in
        self._experts: dict[str, Expert] = {}
        self._bases: dict[str, set[str]] = {}
        self._gates: dict[str, Gate] = {}
        self._path: list[str] = []

    def pool(self, clock: Callable[[], float], names: Collection[str] | None = None) -> Pool:
        """Every expert of the configuration, or those of `names`, in its order.

        `clock` gives monotonic seconds.
        """
        chosen = [name for name in self._config.experts if names is None or name in names]
        pool = Pool([self._member(name) for name in chosen], clock)
        if self._previous is not None:
            self._previous[1].heir = pool
        return pool

    def _member(self, name: str) -> Member:
        config, breaker = self._config.experts[name], self._config.breaker
        expert = self.expert(name)
        if (before := self._unchanged(name)) is not None and self._previous is not None:
            old = self._previous[0]
            if (old.experts[name], old.breaker) == (config, breaker):
                return before
        return Member(
            name,
            expert,
            Breaker(breaker.failures, breaker.open_s),
            routable=config.routable,
            bases=frozenset(self._bases[name]),
            gate=self._gates.get(name),
            probe=self._probe(name, expert),
        )

    def _probe(self, name: str, expert: Expert) -> Probe | None:
        """Where the expert is looked at; None where nobody does, or the process does that runs it."""
        config = self._config.experts[name]
        if config.probe is None:
            return None
        if isinstance(target := unlimited(expert), Probeable):
            return Probe(config.probe, target)
        if self._stand_in is not None and self._registry.plugin("coe.experts", config.kind).shared:
            return None
        raise ConfigError(f"experts.{name}.probe: experts of kind `{config.kind}` cannot be looked at.")

    def routers(self) -> dict[str, Router]:
        """Every router of the configuration."""
        routers: dict[str, Router] = {}
        for name, config in self._config.routers.items():
            routers[name] = self._create("coe.routers", name, config, CardConfig(), f"routers.{name}")
        return routers

    def shared_cache(self) -> DecisionCache | None:
        """The cache that replicas share, if one is configured."""
        shared = self._config.cache.shared
        if shared is None:
            return None
        return self._create("coe.caches", "cache", shared, CardConfig(), "cache.shared")

    def expert(self, name: str) -> Expert:
        """One expert, built when it is first asked for; `ConfigError` for a cycle of bases."""
        if self._path:
            self._bases[self._path[-1]].add(name)
        if name in self._experts:
            return self._experts[name]
        if name in self._path:
            cycle = " → ".join((*self._path[self._path.index(name) :], name))
            raise ConfigError(f"experts: {cycle} is a cycle of bases.")
        config = self._config.experts.get(name)
        if config is None:
            raise ConfigError(f"experts.{self._path[-1]}: there is no expert `{name}`.")
        if (before := self._unchanged(name)) is not None:
            self._bases[name] = set(before.bases)
            if before.gate is not None:
                self._gates[name] = before.gate
            self._experts[name] = before.expert
            return before.expert
        self._bases[name] = set()
        self._path.append(name)
        try:
            expert: Expert = self._create("coe.experts", name, config, config.card, f"experts.{name}")
        finally:
            self._path.pop()
        _refuse_empty_promises(name, expert)
        if self._stand_in is not None and self._registry.plugin("coe.experts", config.kind).shared:
            # Whoever runs it holds it to its limit.
            expert = self._stand_in(expert)
        elif config.max_concurrency is not None:
            expert = limited(expert, self._gate(name, config.max_concurrency, config.max_queue))
        self._experts[name] = expert
        return expert

    def _gate(self, name: str, limit: int, queue: int) -> Gate:
        """This process's part of the limit."""
        processes = 1 if self._stand_in is None else self._config.server.workers
        self._gates[name] = Gate(math.ceil(limit / processes), math.ceil(queue / processes))
        return self._gates[name]

    def _unchanged(self, name: str) -> Member | None:
        """The expert of the previous pool, if a new one would be the same."""
        if self._previous is None or name not in self._config.experts:
            return None
        old, pool = self._previous
        member = pool.members.get(name)
        if member is None or old.base_dir != self._config.base_dir:
            return None
        if _recipe(old.experts[name]) != _recipe(self._config.experts[name]):
            return None
        return member if all(self._unchanged(base) for base in member.bases) else None

    def embedder(self, kind: str, settings: Mapping[str, Any]) -> Embedder:
        """An embedder by its kind."""
        config = PluginSettings.model_validate({"kind": kind, **settings})
        return self._create("coe.embedders", kind, config, CardConfig(), f"embedder {kind}")

    @property
    def base_dir(self) -> Path:
        """Where relative paths start."""
        return self._config.origin.base_dir

    def nested(self, kind: str, settings: Mapping[str, Any], card: Card) -> Expert:
        """An expert that is no member of the pool."""
        config = PluginSettings.model_validate({"kind": kind, **settings})
        declared = CardConfig.model_validate(
            {field: getattr(card, field) for field in CardConfig.model_fields}
        )
        return self._create("coe.experts", card.name, config, declared, f"a {kind} within {card.name}")

    def _create(self, group: str, name: str, config: PluginSettings, card: CardConfig, where: str) -> Any:
        plugin: Plugin[Any] = self._registry.plugin(group, config.kind)
        try:
            settings = plugin.settings.model_validate(config.settings)
        except ValidationError as error:
            # `coe.config.check_plugins` reports the same with file and line, and every problem at once.
            first = error.errors(include_url=False, include_input=False)[0]
            key = ".".join((where, *map(str, first["loc"])))
            raise ConfigError(f"{key}: {first['msg']}.") from None
        return plugin.create(name, settings, _Build(self, card))


_METHODS: Mapping[Capability, str] = {
    "chat": "complete",
    "complete": "complete_prompt",
    "embed": "embeddings",
    "score": "score",
}
"""What an expert must have to do what its card says."""


def _refuse_empty_promises(name: str, expert: Expert) -> None:
    """Refuse a card that says more than the expert's kind can do. Raises `ConfigError`."""
    for capability, method in _METHODS.items():
        if capability in expert.card.capabilities and not hasattr(expert, method):
            raise ConfigError(
                f"experts.{name}.card.capabilities: {type(expert).__name__} cannot do `{capability}`."
            )


def _recipe(config: ExpertConfig) -> tuple[object, ...]:
    """What an expert is made from; the rest of its block is the pool's business."""
    return config.kind, config.settings, config.card, config.max_concurrency, config.max_queue


class _Build:
    """The `coe.contracts.Build` of one thing that is being built."""

    def __init__(self, builder: Builder, card: CardConfig) -> None:
        self._builder = builder
        self._declared: Mapping[str, Any] = card.model_dump(exclude_none=True)

    @property
    def base_dir(self) -> Path:
        return self._builder.base_dir

    def card(self, defaults: Card) -> Card:
        return dataclasses.replace(defaults, **self._declared)

    def expert(self, name: str) -> Expert:
        return self._builder.expert(name)

    def embedder(self, kind: str, settings: Mapping[str, Any]) -> Embedder:
        return self._builder.embedder(kind, settings)

    def nested(self, kind: str, settings: Mapping[str, Any], card: Card) -> Expert:
        return self._builder.nested(kind, settings, card)
