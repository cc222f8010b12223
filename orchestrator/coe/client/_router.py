"""Decide only, in this process."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from coe.client._backend import Prompt, payload_of
from coe.client._setup import build_engine, load_config
from coe.config import Config
from coe.contracts import Decision, Excluded, Features, PoolView
from coe.engine import Engine, candidates, extract_features, model_infos, requested, unknown_model
from coe.errors import PluginError
from coe.wire import ModelInfo, chat_request


@dataclass(frozen=True, slots=True)
class _Asked:
    features: Features
    view: PoolView
    excluded: tuple[Excluded, ...]


class Router:
    """Says which expert should answer. No expert is started and no network touched.

    It decides as if every expert were healthy and awake; a server knows their state and may decide otherwise.

    Args:
        engine: what it decides with. See `Router.open`.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._views: dict[str, PoolView] = {}

    @classmethod
    def open(cls, config: Config | Path | str | None = None) -> Self:
        """A router for a configuration, or the path of one; by default what `coe serve` would use.

        Raises:
            UserError: the configuration is wrong, or something that it names cannot be built.
        """
        return cls(build_engine(load_config(config), cached=False))

    def route(self, messages: Prompt, *, model: str = "auto", **fields: Any) -> Decision:
        """Decide who should answer.

        Args:
            messages: a text, or a conversation as OpenAI's API has it.
            model: a virtual model, which routes, or an expert by name.
            fields: any other field of OpenAI's chat completions; tools, response_format and max_tokens
                bear on who can answer.

        Raises:
            InvalidRequest: a field is wrong.
            ModelNotFound: `model` is neither a virtual model nor an expert.
            NoEligibleExpert: no expert can serve the request.
            PluginError: the router failed.
        """
        return self.route_batch([messages], model=model, **fields)[0]

    def route_batch(self, batch: Sequence[Prompt], *, model: str = "auto", **fields: Any) -> list[Decision]:
        """Decide for many at once, in order; the same decisions as `route` one by one, only faster."""
        whole = self._view(model)
        asked = [self._asked(messages, model, fields, whole) for messages in batch]
        alike: dict[str, list[int]] = {}
        for at, each in enumerate(asked):
            alike.setdefault(each.view.digest, []).append(at)
        decisions: dict[int, Decision] = {}
        for positions in alike.values():
            view = asked[positions[0]].view
            decided = self._decide(model, [asked[at].features for at in positions], view)
            for at, decision in zip(positions, decided, strict=True):
                decisions[at] = dataclasses.replace(decision, excluded=asked[at].excluded)
        return [decisions[at] for at in range(len(batch))]

    def models(self) -> list[ModelInfo]:
        """What `model` may be: virtual models, then experts with their facts in `coe`."""
        return model_infos(self._engine)

    def _view(self, model: str) -> PoolView:
        """The experts that `model` stands for, all of them healthy and awake."""
        if model not in self._views:
            pool, binding = self._engine.pool, self._engine.routers.get(model)
            if binding is None and model not in pool.members:
                raise unknown_model(model, self._engine.routers, pool.members)
            view = pool.view((model,) if binding is None else binding.experts)
            ready = {
                name: dataclasses.replace(state, healthy=True, awake=True)
                for name, state in view.experts.items()
            }
            self._views[model] = PoolView(ready, view.digest)
        return self._views[model]

    def _decide(self, model: str, features: list[Features], view: PoolView) -> list[Decision]:
        if (binding := self._engine.routers.get(model)) is None:
            return [requested(model)] * len(features)
        try:
            return binding.router.route_batch(features, view)
        # A router is a plugin: whatever it raises, the caller learns which one it was.
        except Exception as error:
            raise PluginError(f"The router `{model}` failed: {type(error).__name__}: {error}") from error

    @staticmethod
    def _asked(messages: Prompt, model: str, fields: Mapping[str, Any], view: PoolView) -> _Asked:
        request = chat_request(payload_of(messages, model, fields))
        features = extract_features(request.body)
        return _Asked(features, *candidates(features, view))
