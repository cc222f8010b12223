from __future__ import annotations

import json
from pathlib import Path

import pytest

from coe.errors import PluginError
from coe_litellm import _library, _prices

ENTRIES = {
    "gpt-x": {
        "litellm_provider": "openai",
        "mode": "chat",
        "max_input_tokens": 1000,
        "input_cost_per_token": 3e-06,
        "output_cost_per_token": 1.5e-05,
        "supports_function_calling": True,
        "supports_vision": False,
    },
    "azure/gpt-x": {"litellm_provider": "azure", "max_tokens": 500},
    "eu.claude": {"litellm_provider": "bedrock_converse", "supports_response_schema": True},
    "odd": {"litellm_provider": "openai", "max_input_tokens": "what the provider says"},
    "vector": {"litellm_provider": "openai", "mode": "embedding"},
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "prices.json"
    file.write_text(json.dumps(ENTRIES))
    return file


def test_facts_in_coes_units(path: Path) -> None:
    assert _prices.find(path, "openai/gpt-x") == _prices.Facts(
        key="gpt-x",
        provider="openai",
        mode="chat",
        context_window=1000,
        input_usd_per_mtok=3.0,
        output_usd_per_mtok=15.0,
        capabilities=frozenset({"chat", "stream", "tools"}),
    )


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("azure/gpt-x", "azure/gpt-x"),
        ("bedrock/eu.claude", "eu.claude"),
        ("bedrock/converse/eu.claude", "eu.claude"),
        ("gpt-x", "gpt-x"),
        ("hosted_vllm/gpt-x", None),
        ("openai/gpt-y", None),
    ],
)
def test_where_a_model_is_looked_for(path: Path, name: str, key: str | None) -> None:
    facts = _prices.find(path, name)
    assert (facts and facts.key) == key


def test_unknown_numbers_stay_unknown(path: Path) -> None:
    facts = _prices.find(path, "openai/odd")
    assert facts is not None
    assert (facts.context_window, facts.input_usd_per_mtok) == (None, None)


def test_what_does_not_chat_says_so(path: Path) -> None:
    facts = _prices.find(path, "openai/vector")
    assert facts is not None
    assert not facts.answers_chats


@pytest.mark.parametrize("text", ["", "[]", '{"gpt-x": 1}'])
def test_a_damaged_map_is_a_plugin_error(path: Path, text: str) -> None:
    path.write_text(text)
    with pytest.raises(PluginError, match="cannot be read"):
        _prices.find(path, "openai/gpt-x")


def test_a_missing_map_is_a_plugin_error(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="cannot be read"):
        _prices.find(tmp_path / "none.json", "openai/gpt-x")


@pytest.mark.parametrize(
    "name",
    [
        "anthropic/claude-sonnet-4-5",
        "azure/gpt-4o",
        "bedrock/us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "gemini/gemini-2.5-pro",
        "mistral/mistral-large-latest",
        "vertex_ai/claude-sonnet-4-5",
    ],
)
def test_the_map_of_the_installed_litellm_knows_the_readmes_models(name: str) -> None:
    path = Path(str(_library.installed().locate_file(_prices.MAP)))
    facts = _prices.find(path, name)
    assert facts is not None
    assert facts.answers_chats
    assert facts.context_window
    assert facts.input_usd_per_mtok
