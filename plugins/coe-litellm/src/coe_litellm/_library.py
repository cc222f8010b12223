"""The door to litellm: which release may be imported, how it is imported, and how it is set up.

litellm is reached through `importlib` and the Protocols below, because it must not be imported before it is
used, and because most of it is untyped.
"""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Mapping
from functools import cache
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from typing import Any, Protocol, cast

from coe.errors import PluginError

POISONED = frozenset({"1.82.7", "1.82.8", "1.107.0"})
"""Releases that were compromised; see the README."""

ENVIRONMENT: Mapping[str, str] = {
    # Both would be fetched from the network, the first while importing, the second at the first request.
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
    # Any other mode reads a .env file from the working directory into the environment.
    "LITELLM_MODE": "PRODUCTION",
}
"""What litellm reads from the environment while it is imported; it has no other door for these."""

SWITCHES: Mapping[str, object] = {
    "disable_hf_tokenizer_download": True,
    "drop_params": False,  # decided for each call
    "num_retries": 0,
    "redact_messages_in_exceptions": True,
    "suppress_debug_info": True,  # it prints
    "user_url_validation": True,  # images are fetched for some providers: never from a private address
}
"""Attributes of the module litellm that are set once it is imported."""

TALKATIVE = ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy", "openai", "botocore")
"""Loggers that write whole requests when the root logger is on DEBUG."""


class Stream(Protocol):
    """A streamed answer, litellm's CustomStreamWrapper.

    Attributes:
        received_finish_reason, intermittent_finish_reason: the provider's, None until it has sent one.
    """

    received_finish_reason: str | None
    intermittent_finish_reason: str | None

    async def __anext__(self) -> Answer:
        """The next chunk."""
        ...

    async def aclose(self) -> None:
        """Close the connection to the provider."""
        ...


class Answer(Protocol):
    """A whole answer or one chunk of a streamed one; `usage` is absent from most chunks."""

    def model_dump(self, *, exclude_none: bool) -> dict[str, Any]:
        """As plain data in OpenAI's shape."""
        ...


class Sdk(Protocol):
    """The part of the module litellm that is used."""

    provider_list: list[Any]

    async def acompletion(self, **arguments: Any) -> Any:
        """One chat completion: an `Answer`, or a `Stream` with `stream=True`."""
        ...

    def get_llm_provider(self, model: str, *, api_base: str | None) -> tuple[str, str, Any, Any]:
        """Model and provider of `provider/model`. Raises when nobody knows the provider."""
        ...

    def get_supported_openai_params(self, model: str, custom_llm_provider: str) -> list[str] | None:
        """Fields of OpenAI's that the provider knows; None when litellm cannot tell."""
        ...

    def cost_per_token(
        self, *, model: str, custom_llm_provider: str, usage_object: Any, service_tier: str | None
    ) -> tuple[float, float]:
        """USD for the prompt and for the answer, by the price map."""
        ...


def installed() -> Distribution:
    """The installed litellm. Imports nothing.

    Raises:
        PluginError: it is missing, or one of the compromised releases.
    """
    try:
        found = distribution("litellm")
    except PackageNotFoundError:
        raise PluginError("litellm is not installed.", hint="Run `pip install coe-litellm`.") from None
    refuse_poisoned(found.version)
    return found


def refuse_poisoned(version: str) -> None:
    """Raise `PluginError` for a compromised release: it must not be imported."""
    if version in POISONED:
        raise PluginError(
            f"litellm {version} is a compromised release and is not imported.",
            hint="Rebuild this environment from scratch and change every secret that it could read.",
        )


@cache
def load() -> Sdk:
    """Import litellm and set it up: no network, no telemetry, no prompts in logs. Takes seconds.

    Raises:
        PluginError: see `installed`.
        ImportError: it cannot be imported.
    """
    installed()
    os.environ.update(ENVIRONMENT)
    module = importlib.import_module("litellm")
    for name, value in SWITCHES.items():
        setattr(module, name, value)
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    return cast("Sdk", module)


class SharedClients:
    """litellm keeps its HTTP clients in one place for all experts: the last expert to go closes them."""

    def __init__(self) -> None:
        self._holders = 0

    def hold(self) -> None:
        """Say that one more expert uses them."""
        self._holders += 1

    async def release(self) -> None:
        """Say that one expert is done with them."""
        self._holders -= 1
        if self._holders:
            return
        module = importlib.import_module("litellm")
        cleanup = importlib.import_module("litellm.llms.custom_httpx.async_client_cleanup")
        await cleanup.close_litellm_async_clients()
        # Clients are found by the id of their event loop, which a later loop may have again.
        module.in_memory_llm_clients_cache.flush_cache()
        # The one client outside of that cache; litellm makes a new one when it is missing.
        if (client := vars(module).pop("module_level_aclient", None)) is not None:
            await client.close()


clients = SharedClients()
