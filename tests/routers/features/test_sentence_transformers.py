"""The real library and a real model; both are in the environment of `make test-all` only."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from coe.contracts import Embedder
from coe.errors import ConfigError, PluginError
from coe.testing import create, load
from coe.testing.conformance import EmbedderConformance


@pytest.mark.heavy
class TestSentenceTransformers(EmbedderConformance):
    tolerance = 1e-4

    @pytest.fixture
    def make(self, sentence_encoder: str) -> Callable[[], Embedder]:
        settings = {"model": sentence_encoder, "offline": True}
        return lambda: create(load("coe.embedders", "sentence-transformers"), settings=settings)


@pytest.mark.heavy
def test_a_missing_model_is_the_users_mistake(tmp_path: Path) -> None:
    settings = {"model": str(tmp_path / "nothing"), "offline": True}
    with pytest.raises(ConfigError, match="cannot be loaded"):
        create(load("coe.embedders", "sentence-transformers"), settings=settings)


@pytest.mark.skipif(find_spec("sentence_transformers") is not None, reason="the extra is installed")
def test_without_the_extra_the_message_says_how_to_get_it() -> None:
    with pytest.raises(PluginError, match=r"coe-router\[sentence-transformers\]"):
        create(load("coe.embedders", "sentence-transformers"), settings={"model": "any"})
