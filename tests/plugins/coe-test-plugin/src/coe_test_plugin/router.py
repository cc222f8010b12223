"""A router that takes the first expert of the pool."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel

from coe.contracts import Build, Decision, Features, PoolView, Ranked, Reason


class FirstSettings(BaseModel):
    """Nothing to set but the category that decisions carry."""

    category: str = "general"


def create_first(name: str, settings: FirstSettings, build: Build) -> First:
    """The plugin's factory."""
    return First(settings)


class First:
    """Ranks the pool in the order of the configuration."""

    def __init__(self, settings: FirstSettings) -> None:
        self._category = settings.category

    @property
    def revision(self) -> str:
        """The one setting."""
        return f"first:{self._category}"

    def route(self, features: Features, view: PoolView) -> Decision:
        """Take the first."""
        ranked = tuple(Ranked(name) for name in view.experts)
        return Decision(
            expert=ranked[0].expert,
            ranked=ranked,
            reason=Reason.CATEGORY,
            category=self._category,
            revision=self.revision,
        )

    def route_batch(self, features: Sequence[Features], view: PoolView) -> list[Decision]:
        """One by one."""
        return [self.route(each, view) for each in features]
