from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from coe.contracts import Router
from coe.testing import create, load
from coe.testing.conformance import RouterConformance


class _Kit(RouterConformance):
    kind: ClassVar[str]
    other: ClassVar[dict[str, Any] | None] = None

    @pytest.fixture
    def make(self, saved: Callable[[str], Path]) -> Callable[[], Router]:
        return self._maker(saved, {})

    @pytest.fixture
    def make_other(self, saved: Callable[[str], Path]) -> Callable[[], Router] | None:
        return None if self.other is None else self._maker(saved, self.other)

    def _maker(self, saved: Callable[[str], Path], settings: dict[str, Any]) -> Callable[[], Router]:
        plugin = load("coe.routers", self.kind)
        return lambda: create(plugin, settings={"artifact": saved(self.kind), **settings})


class TestKnn(_Kit):
    kind = "knn"


class TestRidge(_Kit):
    kind = "ridge"
    other: ClassVar = {"cost_weight": 0.01}


class TestCascade(_Kit):
    kind = "cascade"
    other: ClassVar = {"threshold": 1.5}


class TestCumulative(_Kit):
    kind = "cumulative"
    other: ClassVar = {"pick": "cheapest", "p": 0.99}


class TestExpertiseTree(_Kit):
    kind = "expertise-tree"
