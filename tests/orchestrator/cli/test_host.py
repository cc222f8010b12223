"""What commands of plugins get from coe."""

import asyncio
from pathlib import Path

import pytest

from coe.cli._host import CommandHost
from coe.contracts import Expert
from coe.errors import ConfigError
from coe.testing import chat, collect, context

CONFIG = "version: 1\nexperts:\n  polly: {kind: echo}\nrouters:\n  auto: {kind: two-step}\n"


def test_the_host_gives_experts_and_embedders(tmp_path: Path) -> None:
    (tmp_path / "coe.yaml").write_text(CONFIG)

    async def run() -> tuple[str, int, Path]:
        async with CommandHost().open(tmp_path / "coe.yaml") as build:
            expert = build.expert("polly")
            assert isinstance(expert, Expert)
            reply = await collect(await expert.complete(chat("hello"), context()))
            return reply.text, build.embedder("static", {}).dim, build.base_dir

    text, dim, folder = asyncio.run(run())
    assert "hello" in text
    assert (dim, folder) == (256, tmp_path)


def test_an_unknown_expert_is_named(tmp_path: Path) -> None:
    (tmp_path / "coe.yaml").write_text(CONFIG)

    async def run() -> None:
        async with CommandHost().open(tmp_path / "coe.yaml") as build:
            build.expert("nobody")

    with pytest.raises(ConfigError, match="No expert is called `nobody`") as caught:
        asyncio.run(run())
    assert caught.value.hint == "Known: polly."
