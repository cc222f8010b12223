"""Who may ask, and how much: the `tenants` block."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, SecretStr, StringConstraints

from coe.config._strict import Strict

TenantName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
"""A name that is safe in headers, metrics and names of keys in Redis."""


class BudgetConfig(Strict):
    """An amount of money and the time that it is for."""

    amount: float = Field(gt=0, description="USD.")
    per: Literal["day", "month"] = Field(description="Calendar day or month, UTC.")
    step_down_at: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="From this part of it on only the cheapest experts that can serve a request are asked.",
    )


class StrongShareConfig(Strict):
    """How many of a tenant's requests strong, expensive experts may answer."""

    experts: tuple[str, ...] = Field(min_length=1, description="The strong ones.")
    max_share: float = Field(gt=0, lt=1, description="Part of the requests that they may answer, 0 to 1.")
    window: PositiveInt = Field(
        default=100, description="Of this many successive requests, the share holds exactly."
    )


class PolicyConfig(Strict):
    """What a tenant may do. What is left out is not limited."""

    models: frozenset[str] | None = Field(
        default=None, description="Names that it may put in `model`, virtual models and experts."
    )
    experts: frozenset[str] | None = Field(default=None, description="Experts that may answer it.")
    requests_per_minute: PositiveInt | None = Field(
        default=None, description="Refills steadily; a full minute's worth may come at once."
    )
    tokens_per_minute: PositiveInt | None = Field(
        default=None, description="Of prompts and completions; refills like requests."
    )
    budget_usd: BudgetConfig | None = Field(
        default=None, description="What its requests may cost. Experts without a price are then not asked."
    )
    strong_share: StrongShareConfig | None = Field(
        default=None, description="Share of its requests that strong experts may answer."
    )
    step_down: bool = Field(
        default=True,
        description="Where budget or share do not allow the best expert: a cheaper one, not an error.",
    )


class TenantsConfig(Strict):
    """API keys, and a policy for each tenant."""

    keys_file: Path | None = Field(
        default=None, description="File of API keys, written by `coe keys`; without one, no key is asked for."
    )
    redis: SecretStr | None = Field(
        default=None,
        description="redis:// URL where replicas share limits; by default that of `cache.shared`.",
    )
    timeout_ms: PositiveFloat = Field(
        default=5, description="Longest wait for Redis; then the limits of this process decide."
    )
    policies: dict[TenantName, PolicyConfig] = Field(
        default={}, description="By tenant; `default` is for those that have none of their own."
    )

    @property
    def named(self) -> bool:
        """Whether there is anybody to tell from anybody else."""
        return self.keys_file is not None or bool(self.policies)

    @property
    def limited(self) -> bool:
        """Whether any policy counts something."""
        return any(
            policy.requests_per_minute or policy.tokens_per_minute or policy.budget_usd or policy.strong_share
            for policy in self.policies.values()
        )
