"""The router: the first rule whose pattern is in the prompt decides."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field, field_validator

from coe.contracts import GENERAL, Build, Decision, ExpertName, Features, PoolView, Ranked, Reason

_SEARCHED_CHARACTERS = 10_000
"""Patterns are the user's own, and some are slow: they see no more of a prompt than this."""


class Rule(BaseModel):
    """One line of the rule book."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    category: str = Field(min_length=1, description="What such prompts are called.")
    pattern: str = Field(description="Regular expression, looked for anywhere, without regard to case.")
    experts: tuple[ExpertName, ...] = Field(min_length=1, description="Experts for such prompts, best first.")

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from None
        return pattern


class RulesSettings(BaseModel):
    """The rule book."""

    rules: tuple[Rule, ...] = Field(description="Tried in order.")
    default: tuple[ExpertName, ...] = Field(
        default=(), description="Experts for prompts without a rule, best first; the pool's order by default."
    )


def create_rules(name: str, settings: RulesSettings, build: Build) -> RulesRouter:
    """The plugin's factory."""
    return RulesRouter(settings)


class RulesRouter:
    """Rules, then the default, then whoever is left."""

    def __init__(self, settings: RulesSettings) -> None:
        self._rules = [(re.compile(rule.pattern, re.IGNORECASE), rule) for rule in settings.rules]
        self._default = settings.default
        self._revision = hashlib.sha256(settings.model_dump_json().encode()).hexdigest()[:16]

    @property
    def revision(self) -> str:
        """Hash of the rule book."""
        return self._revision

    def route(self, features: Features, view: PoolView) -> Decision:
        """Take the first rule that fits; its experts that are in the view come first."""
        rule = self._rule(features.text)
        wanted = (*(rule.experts if rule else ()), *self._default)
        sticky = features.sticky_expert if features.sticky_expert in view.experts else None
        order = dict.fromkeys((*([sticky] if sticky else ()), *wanted, *view.experts))
        ranked = tuple(Ranked(name) for name in order if name in view.experts)
        chosen = ranked[0].expert
        if len(view.experts) == 1:
            reason = Reason.ONLY_ELIGIBLE
        elif sticky:
            reason = Reason.SESSION
        elif rule is None:
            reason = Reason.UNCERTAIN
        else:
            reason = Reason.CATEGORY if chosen in rule.experts else Reason.UNMAPPED
        return Decision(
            expert=chosen,
            ranked=ranked,
            reason=reason,
            category=rule.category if rule else GENERAL,
            probabilities=((rule.category, 1.0),) if rule else (),
            uncertainty=0.0 if rule else 1.0,
            revision=self._revision,
        )

    def route_batch(self, features: Sequence[Features], view: PoolView) -> list[Decision]:
        """One by one: matching is all there is to do."""
        return [self.route(each, view) for each in features]

    def _rule(self, text: str) -> Rule | None:
        searched = text[:_SEARCHED_CHARACTERS]
        return next((rule for pattern, rule in self._rules if pattern.search(searched)), None)
