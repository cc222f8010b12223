"""The `local` and `prompt` experts pass the kit that any expert must pass."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from coe.config import cache_dir
from coe.contracts import Expert
from coe.experts._local import LocalSettings, create_local
from coe.experts._prompt import Demonstration, PromptSettings, create_prompt
from coe.experts._weights import DEFAULT, ensure, models_dir
from coe.testing import build, create, load
from coe.testing.conformance import ExpertConformance


@pytest.mark.slow
class TestLocal(ExpertConformance):
    # Requests that share a batch are computed together, which rounds differently.
    deterministic = False
    fields: ClassVar[dict[str, Any]] = {"max_tokens": 3, "temperature": 0}
    timeout_s = 120

    @pytest.fixture
    def make(self) -> Callable[[], Expert]:
        model = ensure(DEFAULT, models_dir(cache_dir()))
        settings = LocalSettings(model=model, threads=1, slots=2, context_tokens=256)
        return lambda: create_local("smol", settings, build())

    @pytest.fixture
    def make_unreachable(self, tmp_path: Path) -> Callable[[], Expert]:
        broken = tmp_path / "broken.gguf"
        broken.write_bytes(b"GGUF" + b"\x99" * 500)
        return lambda: create_local("smol", LocalSettings(model=broken), build())


class TestPrompt(ExpertConformance):
    @pytest.fixture
    def make(self) -> Callable[[], Expert]:
        settings = PromptSettings(
            base="echo", instruction="Repeat.", demonstrations=(Demonstration(input="a", output="a"),)
        )
        experts = {"echo": create(load("coe.experts", "echo"))}
        return lambda: create_prompt("parrot", settings, build(experts=experts))
