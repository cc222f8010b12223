"""What every embedder must do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np
import pytest

from coe.contracts import Embedder
from coe.testing.conformance._router import ODD_TEXTS


class EmbedderConformance:
    """Checks of an `Embedder`. Override `make`.

    Attributes:
        texts: texts that get vectors other than zero, each a different one.
        tolerance: largest difference between a vector made alone and in a batch.
    """

    texts: ClassVar[Sequence[str]] = (
        "Write a Python function that reverses a linked list.",
        "What is the integral of x squared?",
        "Tell me about the French Revolution.",
    )
    tolerance: ClassVar[float] = 1e-5

    @pytest.fixture
    def make(self) -> Callable[[], Embedder]:
        """Makes a new embedder, each time from the same settings."""
        raise NotImplementedError("override the fixture `make`")

    @pytest.fixture
    def make_other(self) -> Callable[[], Embedder] | None:
        """Makes an embedder from other settings, whose vectors differ; None when it has no settings."""
        return None

    def test_fingerprint_is_stable(self, make: Callable[[], Embedder]) -> None:
        """The same settings give the same fingerprint, before and after embedding."""
        embedder = make()
        before = embedder.fingerprint
        assert before, "artifacts are tied to the fingerprint: it cannot be empty"
        embedder.embed(self.texts)
        assert embedder.fingerprint == before, "embedding changed the fingerprint"
        assert make().fingerprint == before, "the same settings gave another fingerprint"

    def test_fingerprint_follows_the_settings(
        self, make: Callable[[], Embedder], make_other: Callable[[], Embedder] | None
    ) -> None:
        """Other vectors, another fingerprint."""
        if make_other is None:
            pytest.skip("no `make_other`")
        assert make_other().fingerprint != make().fingerprint

    def test_shape_and_type(self, make: Callable[[], Embedder]) -> None:
        """float32[n, dim], and float32[0, dim] for no texts."""
        embedder = make()
        assert embedder.dim > 0
        for count in (0, 1, len(self.texts)):
            vectors = embedder.embed(self.texts[:count])
            assert vectors.shape == (count, embedder.dim)
            assert vectors.dtype == np.float32

    def test_rows_have_unit_norm(self, make: Callable[[], Embedder]) -> None:
        """Unit norm, or zero for a text without any known token; never NaN."""
        vectors = make().embed([*self.texts, *ODD_TEXTS])
        assert np.isfinite(vectors).all(), "a vector holds NaN or infinity"
        norms = np.linalg.norm(vectors, axis=1)
        unit = np.isclose(norms, 1, atol=1e-3)
        assert (unit | (norms == 0)).all(), f"norms are neither 1 nor 0: {norms}"
        assert unit[: len(self.texts)].all(), "an ordinary text got a zero vector"

    def test_different_texts_differ(self, make: Callable[[], Embedder]) -> None:
        """An embedder that gives everything one vector cannot tell prompts apart."""
        vectors = make().embed(self.texts)
        likeness = vectors @ vectors.T
        assert likeness[~np.eye(len(vectors), dtype=bool)].max() < 1 - 1e-3

    def test_a_vector_does_not_depend_on_company(self, make: Callable[[], Embedder]) -> None:
        """Alone, in a batch, in another order, from another instance: the same vector."""
        embedder, texts = make(), [*self.texts, *ODD_TEXTS]
        together = embedder.embed(texts)
        alone = np.concatenate([embedder.embed([text]) for text in texts])
        np.testing.assert_allclose(alone, together, atol=self.tolerance)
        np.testing.assert_allclose(embedder.embed(texts[::-1])[::-1], together, atol=self.tolerance)
        np.testing.assert_allclose(make().embed(texts), together, atol=self.tolerance)

    def test_vectors_belong_to_the_caller(self, make: Callable[[], Embedder]) -> None:
        """Writing into a result changes no later one."""
        embedder = make()
        first = embedder.embed(self.texts).copy()
        scratch = embedder.embed(self.texts)
        if scratch.flags.writeable:
            scratch[:] = 0
        np.testing.assert_array_equal(embedder.embed(self.texts), first)
