"""Any provider that LiteLLM speaks to, as an expert of coe.

Importing this package and building an expert imports neither litellm nor anything of the network: litellm
costs seconds of CPU and is imported, in a thread, when the first such expert is used or started.
"""

from __future__ import annotations

from coe.contracts import Expert, Plugin


def litellm() -> Plugin[Expert]:
    """Entry point `litellm` of the group coe.experts."""
    from coe_litellm._create import create
    from coe_litellm._settings import LiteLLMSettings

    return Plugin(
        LiteLLMSettings, create, "Any provider of LiteLLM (Anthropic, Bedrock, Azure, Gemini, Mistral …)"
    )


__all__ = ["litellm"]
