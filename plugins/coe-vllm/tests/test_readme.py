"""The README's and the examples' configurations are built, and the tables name every key."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from coe.config import ServerConfig
from coe.errors import CoeError
from coe_vllm._settings import AdapterSettings, Launch, MemorySettings, RewardSettings

from .conftest import make_expert
from .test_expert import adapter

PLUGIN = Path(__file__).parents[1]
README = (PLUGIN / "README.md").read_text()
EXAMPLES = PLUGIN.parents[1] / "examples" / "vllm_pool"
CONFIG = {
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "vocab_size": 10,
    "intermediate_size": 16,
    "num_attention_heads": 2,
}


def blocks() -> list[dict[str, Any]]:
    texts = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    texts += [path.read_text() for path in sorted(EXAMPLES.glob("*.yaml"))]
    return [yaml.safe_load(text.replace("${COE_EXAMPLE_MODELS}", "models"))["experts"] for text in texts]


@pytest.mark.parametrize("experts", blocks(), ids=lambda experts: "-".join(experts))
def test_every_configuration_can_be_built(experts: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    built: dict[str, Any] = {}
    for name, keys in experts.items():
        kind, card = keys.pop("kind"), keys.pop("card", {})
        keys.pop("routable", None)
        if kind in ("vllm", "vllm-reward") and str(keys["model"]).startswith("models/"):
            folder = tmp_path / keys["model"]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "config.json").write_text(json.dumps(CONFIG))
        if "path" in keys:
            said = {"base_model_name_or_path": keys.get("base_model", "smollm2")}
            adapter(tmp_path / keys["path"], **said)
        try:
            built[name] = make_expert(kind, name, keys, experts=built, card=card, base_dir=tmp_path)
        except CoeError as error:
            raise AssertionError(f"{name}: {error}") from error
    assert built


def test_the_examples_are_asked_where_they_listen() -> None:
    told = re.findall(r"127\.0\.0\.1:(\d+)", (EXAMPLES / "README.md").read_text())
    for path in EXAMPLES.glob("*.yaml"):
        server = ServerConfig.model_validate(yaml.safe_load(path.read_text())["server"])
        assert set(told) == {str(server.port)}, path.name


def test_every_setting_is_in_the_tables() -> None:
    told = set(re.findall(r"`(\w+)`", "\n".join(re.findall(r"^\| (`.*?) \|", README, re.MULTILINE))))
    known = {
        key
        for model in (RewardSettings, Launch, AdapterSettings, MemorySettings)
        for key in model.model_fields
    }
    assert known <= told
