"""Where a new expert seems to belong, from a description or example prompts: a guess, and kept as one.

Source of the idea: Nexus, arXiv 2408.15901, where a new expert joins a trained router by an embedding of its
domain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from coe.errors import ArtifactError, ConfigError
from coe_routers.artifact import FindEmbedder, load_router
from coe_routers.features import windows

if TYPE_CHECKING:
    from numpy.typing import NDArray

Source = Literal["description", "examples"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """An expert that nobody has measured, and which categories it resembles.

    Attributes:
        expert: its name.
        source: what the resemblance rests on.
        affinity: category to cosine, -1..1, between the expert's texts and the category's prompts, each less
            the mean of all prompts. It orders categories; it is no score and predicts none.
    """

    expert: str
    source: Source
    affinity: Mapping[str, float]

    @property
    def categories(self) -> tuple[str, ...]:
        """All categories, the most alike first."""
        return tuple(sorted(self.affinity, key=lambda name: -self.affinity[name]))


def place(
    path: Path, find: FindEmbedder, *, expert: str, examples: Sequence[str] = (), description: str = ""
) -> Placement:
    """Compare an expert's texts with the prompts that a router was trained on.

    Args:
        path: folder of the trained router; it is not changed.
        find: gives the embedder that it was trained with.
        expert: name of the expert.
        examples: prompts that it is good at; they win over a description, which says far less.
        description: what it is for, in words.

    Raises:
        ConfigError: neither examples nor description, or nothing in them can be read.
        ArtifactError: no trained router there, or one without an embedder.
    """
    # Solving a map puts unmeasured experts back into it, so `offline` may import this package.
    from coe_routers.offline import read_state

    texts = [text for text in examples if text.strip()] or [text for text in (description,) if text.strip()]
    if not texts:
        raise ConfigError(f"`{expert}` has neither example prompts nor a description.")
    artifact, _ = load_router(path, find)
    if artifact.embedder is None:
        raise ArtifactError(f"{path} was trained without an embedder.", hint="Train it with one.")
    state = read_state(path)
    embedded = find(artifact.embedder.kind, artifact.embedder.settings).embed(
        [windows(text) for text in texts]
    )
    if not embedded.any():
        raise ConfigError(f"Nothing in the texts of `{expert}` can be read by the router's embedder.")
    label = state.evidence.label[: len(state.vectors)]
    cosine = affinities(embedded, state.vectors, label, len(state.evidence.categories))
    return Placement(
        expert=expert,
        source="examples" if any(text.strip() for text in examples) else "description",
        affinity={
            name: round(float(value), 4)
            for name, value in zip(state.evidence.categories, cosine.tolist(), strict=True)
        },
    )


def affinities(
    texts: NDArray[np.float32], vectors: NDArray[np.float32], label: NDArray[np.integer], categories: int
) -> NDArray[np.float64]:
    """Cosines float64[c] of the mean text with each category's mean prompt, the mean of all taken off both.

    What all prompts share says nothing about where a text belongs.

    Args:
        texts: float32[k, dim], at least one.
        vectors: float32[n, dim], of the prompts.
        label: int[n], category of each prompt; negative ones count for the mean of all only.
        categories: how many, c. One without prompts gets -1.
    """
    overall = vectors.mean(axis=0, dtype=np.float64)
    wanted = _unit(texts.mean(axis=0, dtype=np.float64) - overall)
    found = np.full(categories, -1.0)
    for c in range(categories):
        own = vectors[label == c]
        if len(own):
            found[c] = float(_unit(own.mean(axis=0, dtype=np.float64) - overall) @ wanted)
    return found


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    norm = float(np.sqrt(vector @ vector))
    return vector / norm if norm > 0 else vector
