from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from coe.errors import ConfigError
from coe_litellm._settings import LiteLLMSettings


@pytest.mark.parametrize("model", ["gpt-4o", "/gpt-4o", "openai/", "open ai/gpt-4o"])
def test_a_model_names_its_provider(model: str) -> None:
    with pytest.raises(ValidationError, match="model"):
        LiteLLMSettings(model=model)


@pytest.mark.parametrize(
    ("name", "words"),
    [("api_key", "set `api_key`"), ("base_url", "set `api_base`"), ("num_retries", "coe itself retries")],
)
def test_params_hold_nothing_that_has_a_key_of_its_own(name: str, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        LiteLLMSettings(model="openai/gpt-4o", params={name: 1})


def test_secrets_do_not_show() -> None:
    settings = LiteLLMSettings.model_validate(
        {
            "model": "bedrock/anthropic.claude",
            "api_key": "key-1",
            "headers": {"x-key": "key-2"},
            "params": {"aws_secret_access_key": "key-3"},
        }
    )
    assert not any(secret in repr(settings) for secret in ("key-1", "key-2", "key-3"))


def test_a_deployment_takes_its_facts_from_the_base_model(make: Any) -> None:
    card = make(model="azure/our-deployment", base_model="azure/gpt-4o").card
    assert (card.context_window, card.input_usd_per_mtok, card.output_usd_per_mtok) == (128_000, 2.5, 10)
    assert {"tools", "vision", "json_schema"} <= card.capabilities


def test_a_deployment_without_facts_promises_little(make: Any) -> None:
    card = make(model="azure/our-deployment").card
    assert card.capabilities == {"chat", "stream"}
    assert card.context_window is None


def test_an_unknown_base_model_is_an_error(make: Any) -> None:
    with pytest.raises(ConfigError, match=r"`azure/gpt-9000` is not in litellm's price map"):
        make(model="azure/our-deployment", base_model="azure/gpt-9000")


def test_a_model_that_does_not_chat_is_an_error(make: Any) -> None:
    with pytest.raises(ConfigError, match="is a model for embedding"):
        make(model="openai/text-embedding-3-small")
