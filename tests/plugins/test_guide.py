"""The code in docs/plugins.md is Python that runs, and what it claims of coe is so."""

import asyncio
import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from coe.contracts import GROUPS
from coe.testing import Fault, build, chat, collect, conformance, context, pool_view

GUIDE = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text()
BLOCKS: list[str] = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)


@pytest.fixture
def run() -> Iterator[Any]:
    """Runs the block that holds a text, as a module, and gives its names."""
    made: list[str] = []

    def block(text: str) -> dict[str, Any]:
        (code,) = [each for each in BLOCKS if text in each]
        module = types.ModuleType(f"guide_{len(made)}")
        # pydantic looks the annotations of a model up in its module.
        sys.modules[module.__name__] = module
        made.append(module.__name__)
        exec(compile(code, text, "exec"), vars(module))
        return vars(module)

    yield block
    for name in made:
        del sys.modules[name]


def test_the_expert_answers(run: Any) -> None:
    names = run("class Haiku:")
    expert = names["create"]("poet", names["Settings"](greeting="O"), build())

    async def ask(stream: bool) -> str:
        return (await collect(await expert.complete(chat("frog", stream=stream), context()))).text

    assert asyncio.run(ask(False)) == asyncio.run(ask(True)) == "O frog"


def test_the_router_decides(run: Any) -> None:
    from coe.contracts import Features

    router = run("class Shortest:")["Shortest"]()
    view = pool_view("small", "large")
    assert router.route(Features(text="short"), view).expert == "small"
    assert router.route(Features(text="long " * 500), view).expert == "large"


@pytest.mark.parametrize("code", BLOCKS, ids=range(len(BLOCKS)))
def test_every_block_runs(code: str, run: Any) -> None:
    assert run(code)


def test_the_tables_are_complete() -> None:
    assert {fault.name for fault in Fault} - {"NONE"} <= set(re.findall(r"`([A-Z_]+)`", GUIDE))
    assert all(f"| `{group}` |" in GUIDE for group in GROUPS)
    for name in conformance.__all__:
        members = vars(vars(conformance)[name])
        fixtures = {member for member in members if member.startswith("make")} - {"make"}
        row = next(line for line in GUIDE.splitlines() if line.startswith(f"| `{name}` |"))
        assert fixtures <= set(re.findall(r"`(\w+)`", row))


def test_its_own_links_lead_somewhere() -> None:
    headings = {
        re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-")
        for heading in re.findall(r"^#+ (.*)$", GUIDE, re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([\w-]+)\)", GUIDE)) <= headings
