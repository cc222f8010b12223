"""When litellm is imported, and what it may do then; seen from a fresh interpreter in a rough place."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from coe.errors import PluginError
from coe_litellm import _library

WATCH = """
import asyncio, json, logging, os, sys

seen = {"asked": []}

def watch(event, arguments):
    if event == "socket.getaddrinfo":
        seen["asked"].append(arguments[0])
        raise PermissionError("no network here")
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        seen["asked"].append(str(arguments[1]))
        raise PermissionError("no network here")

sys.addaudithook(watch)
"""
BUILD = """
from coe.registry import Registry
from coe.testing import build, chat, context
plugin = Registry().plugin("coe.experts", "litellm")
models = ("anthropic/claude-sonnet-4-5", "openai/gpt-4o")
experts = [plugin.create("lite", plugin.settings(model=model, api_key="key"), build()) for model in models]
seen["built"] = "litellm" in sys.modules
"""
USE = """
logging.basicConfig(level=logging.DEBUG)

async def use():
    for expert in experts:
        await expert.start()
    seen["started"] = all(expert.awake for expert in experts) and "litellm" in sys.modules
    seen["asked_to_start"] = list(seen["asked"])
    for expert in experts:
        try:
            await expert.complete(chat("Very private."), context())
        except Exception as error:
            seen.setdefault("errors", []).append(type(error).__name__)
        await expert.aclose()

asyncio.run(use())
seen["mode"] = sys.modules["litellm"].litellm_mode
seen["dotenv"] = os.environ.get("FROM_DOTENV")
"""
HOSTILE = {
    "LITELLM_MODE": "DEV",
    "LITELLM_LOCAL_MODEL_COST_MAP": "False",
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "False",
    "LITELLM_LOG": "DEBUG",
}


def run(script: str, cwd: Path, environment: dict[str, str]) -> tuple[dict[str, Any], str]:
    done = subprocess.run(
        [sys.executable, "-c", WATCH + script + "\nprint('SEEN', json.dumps(seen))"],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    # Not the last line when litellm says something while the interpreter ends.
    (facts,) = (line for line in done.stdout.splitlines() if line.startswith("SEEN "))
    return json.loads(facts.removeprefix("SEEN ")), done.stdout + done.stderr


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str]:
    """What was seen while an expert was built, started and used once, and what was printed."""
    folder = tmp_path_factory.mktemp("working-directory")
    (folder / ".env").write_text("FROM_DOTENV=1\n")
    return run(BUILD + USE, folder, HOSTILE)


def test_building_an_expert_does_not_import_litellm(used: tuple[dict[str, Any], str]) -> None:
    assert used[0]["built"] is False


def test_starting_imports_litellm_without_network(used: tuple[dict[str, Any], str]) -> None:
    assert used[0]["started"] is True
    assert used[0]["asked_to_start"] == []


def test_a_request_asks_nobody_but_the_provider(used: tuple[dict[str, Any], str]) -> None:
    assert set(used[0]["asked"]) == {"api.anthropic.com", "api.openai.com"}
    assert used[0]["errors"] == ["ExpertUnavailable", "ExpertUnavailable"]


def test_secrets_are_not_read_from_the_working_directory(used: tuple[dict[str, Any], str]) -> None:
    assert used[0]["mode"] == "PRODUCTION"
    assert used[0]["dotenv"] is None


def test_prompts_are_not_printed_whatever_the_environment_asks_for(used: tuple[dict[str, Any], str]) -> None:
    assert "private" not in used[1]
    assert "Provider List" not in used[1]


def test_litellm_still_has_every_switch_that_is_set() -> None:
    source = Path(str(_library.installed().locate_file("litellm/__init__.py"))).read_text()
    defined = set(re.findall(r"^(\w+)\s*[:=]", source, re.MULTILINE))
    assert set(_library.SWITCHES) <= defined


@pytest.mark.parametrize("version", sorted(_library.POISONED))
def test_compromised_releases_are_refused(version: str) -> None:
    with pytest.raises(PluginError, match=f"litellm {version} is a compromised release"):
        _library.refuse_poisoned(version)


def test_the_installed_release_is_not_refused() -> None:
    _library.installed()
