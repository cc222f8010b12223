"""A pytest suite that any expert, router, embedder or cache must pass.

Subclass the class of your kind in a test module and override its `make` fixture:

    class TestShout(ExpertConformance):
        @pytest.fixture
        def make(self) -> Callable[[], Expert]:
            return lambda: create(load("coe.experts", "shout"))

The other fixtures and class attributes describe what the kit may expect; each says what it is for.
"""

# ruff: noqa: E402 - asserts are rewritten only in modules that are imported after the call.
import pytest

# So that a failed check shows the values that it compared.
pytest.register_assert_rewrite(
    *(f"{__name__}._{part}" for part in ("expert", "reward", "router", "embedder", "cache"))
)

from coe.testing.conformance._cache import CacheConformance
from coe.testing.conformance._embedder import EmbedderConformance
from coe.testing.conformance._expert import ExpertConformance
from coe.testing.conformance._reward import RewardConformance
from coe.testing.conformance._router import RouterConformance

__all__ = [
    "CacheConformance",
    "EmbedderConformance",
    "ExpertConformance",
    "RewardConformance",
    "RouterConformance",
]
