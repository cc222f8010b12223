from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from coe_litellm._settings import LiteLLMSettings

README = (Path(__file__).parents[1] / "README.md").read_text()


def experts() -> dict[str, dict[str, Any]]:
    (block,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    return yaml.safe_load(block)["experts"]


@pytest.mark.parametrize("name", experts())
def test_every_example_can_be_built(make: Any, name: str) -> None:
    keys = experts()[name]
    assert keys.pop("kind") == "litellm"
    card = keys.pop("card", None)
    assert set(keys) <= set(LiteLLMSettings.model_fields)
    expert = make(card=card, **keys)
    assert expert.card.context_window
    assert expert.card.input_usd_per_mtok


def test_every_setting_is_in_the_table() -> None:
    told = set(re.findall(r"`(\w+)`", "\n".join(re.findall(r"^\| (`.*?) \|", README, re.MULTILINE))))
    assert told == set(LiteLLMSettings.model_fields)
