"""The configuration as pydantic models. Settings of plugins are checked against the plugin's own model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    PrivateAttr,
    SecretStr,
)

from coe.config._journal import JournalConfig
from coe.config._problems import KeyPath, Problem
from coe.config._strict import Strict
from coe.config._tenants import TenantsConfig
from coe.contracts import Capability, ExpertKind

_SECRET_LENGTH = 6


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a configuration was read from.

    Attributes:
        source: the file as the user named it.
        base_dir: where relative paths of the configuration start.
        lines: the line of each key and list item, counted from 1; empty for a configuration made in code.
        raw: values that held placeholders, as written.
        replaced: (placeholder, replacement) of all of them; must never be shown.
    """

    source: str = "configuration"
    base_dir: Path = field(default_factory=Path.cwd)
    lines: Mapping[KeyPath, int] = field(default_factory=dict[KeyPath, int])
    raw: Mapping[KeyPath, str] = field(default_factory=dict[KeyPath, str])
    replaced: frozenset[tuple[str, str]] = field(default=frozenset(), repr=False)

    def problem(self, path: KeyPath, message: str) -> Problem:
        """A problem at `path`, on the line of the nearest key that the file holds."""
        for size in range(len(path), -1, -1):
            # What the file does not hold are steps that pydantic adds: members of a union, `[key]`.
            if (known := path[:size]) in self.lines:
                return Problem(self.source, self.lines[known], known, self._told(message))
        return Problem(self.source, None, path, self._told(message))

    def _told(self, message: str) -> str:
        for placeholder, secret in self.replaced:
            # A number or a short word is no secret, and taking it out would spoil the sentence.
            if len(secret) >= _SECRET_LENGTH:
                message = message.replace(secret, placeholder)
        return message


class TlsConfig(Strict):
    """The certificate of the gateway's own address."""

    cert: Path = Field(description="PEM file: the certificate, then those that vouch for it.")
    key: Path = Field(description="PEM file: its private key, not encrypted.")


class ServerConfig(Strict):
    """How the gateway listens and how long it waits."""

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8642, ge=0, le=65535, description="Port to listen on; 0 picks a free one.")
    workers: PositiveInt = Field(default=1, description="Processes that answer requests.")
    max_body_mb: PositiveFloat = Field(default=20, description="Largest request body, in MB.")
    client_timeout_s: PositiveFloat = Field(
        default=30, description="How long a caller may take to send a request, or leave an answer unread."
    )
    tls: TlsConfig | None = Field(default=None, description="Serve https; without it, http.")
    request_timeout_s: PositiveFloat = Field(
        default=600, description="Longest time for one request, fallbacks included."
    )
    max_attempts: PositiveInt = Field(default=3, description="Experts asked for one request at most.")
    retry_ratio: float = Field(
        default=0.2, ge=0, le=1, description="Fallbacks to another expert, as a part of the requests."
    )
    retry_per_s: float = Field(
        default=10, ge=0, description="Fallbacks per second that are allowed in any case."
    )
    drain_timeout_s: PositiveFloat = Field(
        default=30, description="After SIGTERM, how long running requests may finish."
    )
    extra_fields: frozenset[str] = Field(
        default=frozenset(), description="Fields beyond OpenAI's that are passed to experts unread."
    )
    allow_open: bool = Field(
        default=False, description="Listen beyond this machine without asking for API keys."
    )
    admin_key: SecretStr | None = Field(
        default=None,
        min_length=16,
        description="Opens `/admin/*`, which does not exist without it; use ${NAME}.",
    )


class PluginsConfig(Strict):
    """Which installed distributions may be imported."""

    allow: tuple[str, ...] = Field(default=(), description="Distributions to trust besides coe's own.")


class CardConfig(Strict):
    """Facts about an expert, laid over what its plugin says. See `coe.contracts.Card`."""

    kind: ExpertKind | None = Field(default=None, description="What sort of thing answers.")
    capabilities: frozenset[Capability] | None = Field(
        default=None, description="What it can serve: a request that needs more never goes to it."
    )
    context_window: PositiveInt | None = Field(
        default=None, description="Tokens of prompt and completion together."
    )
    params_b: PositiveFloat | None = Field(default=None, description="Billions of parameters.")
    active_params_b: PositiveFloat | None = Field(
        default=None, description="Billions of parameters that are active per token."
    )
    input_usd_per_mtok: float | None = Field(
        default=None, ge=0, description="USD per million tokens of prompt."
    )
    output_usd_per_mtok: float | None = Field(
        default=None, ge=0, description="USD per million tokens of completion."
    )
    domains: tuple[str, ...] | None = Field(
        default=None, description="What it is good at; categories of the classifier are read by routers."
    )
    license: str | None = Field(default=None, description="SPDX id of the weights or terms.")
    locality: Literal["local", "remote"] | None = Field(
        default=None, description="`local` when prompts stay on this machine."
    )
    description: str | None = Field(default=None, description="One sentence for people.")


class PluginSettings(BaseModel):
    """A block whose `kind` names a plugin; the other keys are that plugin's settings."""

    model_config = ConfigDict(extra="allow", frozen=True, defer_build=True)

    kind: str = Field(description="Name of the plugin, as `coe plugins list` shows it.")

    @property
    def settings(self) -> dict[str, Any]:
        """The plugin's own keys, not yet checked."""
        return dict(self.model_extra or {})

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        # Settings may hold secrets: a log line that shows a configuration shows their names only.
        for name in type(self).model_fields:
            yield name, getattr(self, name)
        yield "settings", sorted(self.settings)


class ProbeConfig(Strict):
    """How to look whether an expert is well."""

    path: str = Field(
        default="models",
        description="What to GET: under the base URL, or from the server's root if it begins with /.",
    )
    interval_s: PositiveFloat = Field(default=10, description="Time from one look to the next.")
    timeout_s: PositiveFloat = Field(default=2, description="A look that takes longer has failed.")
    failures: PositiveInt = Field(default=2, description="Looks failed in a row that exclude the expert.")
    jitter: float = Field(
        default=0.2, ge=0, le=1, description="Part of the interval by which it varies: replicas differ."
    )


class ExpertConfig(PluginSettings):
    """One expert of the pool."""

    card: CardConfig = Field(default=CardConfig(), description="Facts, laid over what its plugin says.")
    routable: bool = Field(
        default=True, description="False: only a base for other experts, or asked for by name."
    )
    max_concurrency: PositiveInt | None = Field(
        default=None, description="Requests that it may have at once; no limit by default."
    )
    probe: ProbeConfig | None = Field(
        default=None, description="Look now and then whether it is well; without this nobody does."
    )
    max_queue: NonNegativeInt = Field(
        default=32, description="Requests that may wait for it beyond that; further ones go elsewhere."
    )


class RouterConfig(PluginSettings):
    """One router. Its name is a virtual model that clients put in `model`."""

    experts: tuple[str, ...] | None = Field(
        default=None, description="Experts it may choose; all routable ones by default."
    )


class CacheConfig(Strict):
    """The decision cache: memory first, then a shared one."""

    enabled: bool = Field(
        default=True, description="False: every decision is computed; `shared` is for sessions alone then."
    )
    memory_entries: PositiveInt = Field(default=10_000, description="Decisions kept in this process.")
    ttl_s: PositiveFloat = Field(default=3600, description="How long a decision is kept.")
    shared: PluginSettings | None = Field(
        default=None, description="Where replicas share decisions; `kind: redis` with a `url`."
    )


class SessionsConfig(Strict):
    """Requests of one session stay with one expert while it can serve them."""

    fingerprint: bool = Field(
        default=False,
        description="True: a conversation is a session too, known by its system prompt and first user turn.",
    )
    ttl_s: PositiveFloat = Field(default=3600, description="How long one is kept after its last request.")
    memory_entries: PositiveInt = Field(default=100_000, description="Sessions kept in this process.")


class TracingConfig(Strict):
    """OpenTelemetry spans; needs the extra `otel` and an exporter."""

    exporter: str | None = Field(
        default=None,
        description="OpenTelemetry's name of an installed exporter, such as otlp_proto_http; none: off.",
    )
    service_name: str = Field(default="coe", description="`service.name` of the spans.")
    sample: float = Field(default=1, ge=0, le=1, description="Part of the traces that begin here to keep.")


class BreakerConfig(Strict):
    """When an expert that keeps failing is left alone."""

    failures: PositiveInt = Field(default=5, description="Failures in a row that open the breaker.")
    open_s: PositiveFloat = Field(
        default=10, description="How long it stays open before one request may try again."
    )


class Config(Strict):
    """A whole configuration file."""

    version: Literal[1] = Field(default=1, description="Version of this format.")
    server: ServerConfig = Field(default=ServerConfig(), description="The gateway.")
    plugins: PluginsConfig = Field(default=PluginsConfig(), description="Which plugins are trusted.")
    experts: dict[str, ExpertConfig] = Field(min_length=1, description="The pool: experts by name.")
    routers: dict[str, RouterConfig] = Field(
        min_length=1, description="Routers by name; clients put the name in `model`."
    )
    cache: CacheConfig = Field(default=CacheConfig(), description="The decision cache.")
    sessions: SessionsConfig = Field(default=SessionsConfig(), description="Who stays with whom.")
    breaker: BreakerConfig = Field(default=BreakerConfig(), description="For every expert alike.")
    journal: JournalConfig = Field(default=JournalConfig(), description="What is kept of every request.")
    tracing: TracingConfig = Field(default=TracingConfig(), description="OpenTelemetry.")
    tenants: TenantsConfig = Field(default=TenantsConfig(), description="Who may ask, and how much.")

    _origin: Origin = PrivateAttr(default_factory=Origin)

    @property
    def origin(self) -> Origin:
        """Where it was read from, line by line."""
        return self._origin

    @property
    def source(self) -> str:
        """The file as the user named it."""
        return self._origin.source

    @property
    def base_dir(self) -> Path:
        """The folder that relative paths start from."""
        return self._origin.base_dir

    def attach(self, origin: Origin) -> None:
        """Note where this configuration was read from. For the loader."""
        self._origin = origin
