"""Embedders with one defect each. `fails` names the checks of the kit that must notice, and no others."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import pytest

from coe.contracts import Embedder
from coe.testing.conformance import EmbedderConformance


class Good:
    """Correct; each defect overrides one part."""

    fingerprint = "f1"
    dim = 32

    def embed(self, texts: Sequence[str]) -> Any:
        rows = np.zeros((len(texts), self.dim), np.float32)
        for row, text in zip(rows, texts, strict=True):
            for character, count in Counter(text).items():
                row[ord(character) % self.dim] += count
            row /= np.linalg.norm(row) or 1
        return rows


class _Kit(EmbedderConformance):
    broken: ClassVar[type[Embedder]] = Good
    fails: ClassVar[tuple[str, ...]] = ()

    @pytest.fixture
    def make(self) -> Callable[[], Embedder]:
        return self.broken


class TestGood(_Kit):
    pass


class Doubles(Good):
    def embed(self, texts: Sequence[str]) -> Any:
        return super().embed(texts).astype(np.float64)


class TestDoubles(_Kit):
    broken = Doubles
    fails = ("test_shape_and_type",)


class NothingIsFlat(Good):
    def embed(self, texts: Sequence[str]) -> Any:
        return super().embed(texts) if texts else np.zeros(0, np.float32)


class TestNothingIsFlat(_Kit):
    broken = NothingIsFlat
    fails = ("test_shape_and_type",)


class NotUnit(Good):
    def embed(self, texts: Sequence[str]) -> Any:
        return super().embed(texts) * np.float32(2)


class TestNotUnit(_Kit):
    broken = NotUnit
    # Twice the length makes the likeness of different texts pass the limit, too.
    fails = ("test_rows_have_unit_norm", "test_different_texts_differ")


class DividesByZero(Good):
    def embed(self, texts: Sequence[str]) -> Any:
        rows = super().embed(texts)
        rows[[not text for text in texts]] = np.nan
        return rows


class TestDividesByZero(_Kit):
    broken = DividesByZero
    fails = ("test_rows_have_unit_norm",)


class KnowsNothing(Good):
    def embed(self, texts: Sequence[str]) -> Any:
        return super().embed(texts) * np.float32(0)


class TestKnowsNothing(_Kit):
    broken = KnowsNothing
    fails = ("test_rows_have_unit_norm",)


class AllAlike(Good):
    def embed(self, texts: Sequence[str]) -> Any:
        return super().embed(["a"] * len(texts))


class TestAllAlike(_Kit):
    broken = AllAlike
    fails = ("test_different_texts_differ",)


class DependsOnCompany(Good):
    def embed(self, texts: Sequence[str]) -> Any:
        rows = super().embed(texts)
        rows = rows + (rows.mean(axis=0) if len(texts) else 0)
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        return (rows / np.where(norms == 0, 1, norms)).astype(np.float32)


class TestDependsOnCompany(_Kit):
    broken = DependsOnCompany
    fails = ("test_a_vector_does_not_depend_on_company",)


class SharesItsCache(Good):
    cache: ClassVar[dict[tuple[str, ...], Any]] = {}

    def embed(self, texts: Sequence[str]) -> Any:
        return self.cache.setdefault(tuple(texts), super().embed(texts))


class TestSharesItsCache(_Kit):
    broken = SharesItsCache
    fails = ("test_vectors_belong_to_the_caller",)


class FingerprintCounts(Good):
    count = 0

    @property
    def fingerprint(self) -> str:
        type(self).count += 1
        return str(self.count)


class TestFingerprintCounts(_Kit):
    broken = FingerprintCounts
    fails = ("test_fingerprint_is_stable",)


class TestFingerprintIgnoresSettings(_Kit):
    fails = ("test_fingerprint_follows_the_settings",)

    @pytest.fixture
    def make_other(self) -> Callable[[], Embedder]:
        return AllAlike
