"""The plugin's keys in a configuration."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, SecretStr, field_validator

_HAVE_A_KEY_OF_THEIR_OWN = {
    "api_base": "api_base",
    "api_key": "api_key",
    "api_version": "api_version",
    "base_model": "base_model",
    "base_url": "api_base",
    "drop_params": "drop_unsupported",
    "extra_headers": "headers",
    "headers": "headers",
    "model": "model",
    "timeout": "first_byte_timeout_s",
}
_MAY_NOT_BE_SET = {
    "fallbacks": "coe itself falls back to the next ranked expert",
    "max_retries": "coe itself retries, on the next ranked expert",
    "messages": "it comes from the request",
    "num_retries": "coe itself retries, on the next ranked expert",
    "stream": "it comes from the request",
    "stream_options": "it comes from the request",
}


class LiteLLMSettings(BaseModel):
    """Which model of which provider, and how to reach it."""

    model_config = ConfigDict(frozen=True)

    model: str = Field(
        pattern=r"^[^/\s]+/\S+$",
        description="LiteLLM's name of the model, `provider/model`, as in `anthropic/claude-sonnet-4-5`.",
    )
    api_key: SecretStr | None = Field(
        default=None,
        description="The provider's key; use ${NAME}. Without it LiteLLM looks for the provider's usual "
        "environment variables and credential files.",
    )
    api_base: str | None = Field(default=None, description="URL of the provider, where it is not the usual.")
    api_version: str | None = Field(
        default=None, description="Version of the provider's API, as Azure needs."
    )
    base_model: str | None = Field(
        default=None,
        description="Entry of LiteLLM's price map to take context window, capabilities and prices from, when "
        "`model` names a deployment.",
    )
    headers: dict[str, str] = Field(default={}, description="Further headers for every request.", repr=False)
    params: dict[str, Any] = Field(
        default={},
        description="Further arguments of LiteLLM for every request, as `aws_region_name` or "
        "`vertex_project`; a request's own fields come before them.",
        repr=False,
    )
    drop_unsupported: bool = Field(
        default=True,
        description="Leave out sampling hints (seed, penalties …) that the provider does not know. False: "
        "refuse such a request. What changes the meaning of a request (tools, response_format …) is never "
        "left out.",
    )
    first_byte_timeout_s: PositiveFloat = Field(
        default=300, description="Until the answer begins; when it is not streamed, until it is complete."
    )
    idle_timeout_s: PositiveFloat = Field(default=120, description="Longest silence within a stream.")

    @field_validator("params")
    @classmethod
    def _no_hidden_twins(cls, params: dict[str, Any]) -> dict[str, Any]:
        for name in params:
            if (key := _HAVE_A_KEY_OF_THEIR_OWN.get(name)) is not None:
                raise ValueError(f"`{name}` does not belong into `params`: set `{key}` of the expert instead")
            if (why := _MAY_NOT_BE_SET.get(name)) is not None:
                raise ValueError(f"`{name}` may not be set: {why}")
        return params
