"""Any sentence-transformers model as an embedder. Torch is imported when one is loaded, not before."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from coe.errors import ConfigError
from coe_routers import _extras as extras

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BATCH = 64


class SentenceTransformersEmbedder:
    """A loaded model.

    Args:
        model: a `sentence_transformers.SentenceTransformer`.
        fingerprint: hash of its weights and modules.
    """

    def __init__(self, model: Any, fingerprint: str) -> None:
        self._model = model
        self._fingerprint = fingerprint
        self._dim = int(model.encode(["a"], show_progress_bar=False).shape[1])

    @classmethod
    def load(cls, model: str, *, device: str, offline: bool) -> SentenceTransformersEmbedder:
        """Load a model by folder or hub name.

        Raises:
            PluginError: the extra is not installed.
            ConfigError: no such model here, nor (unless `offline`) on the hub.
        """
        library: Any = extras.library("sentence_transformers", "sentence-transformers")
        try:
            loaded: Any = library.SentenceTransformer(model, device=device, local_files_only=offline)
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"The sentence-transformers model `{model}` cannot be loaded: {error}."
            ) from error
        return cls(loaded, _fingerprint(loaded))

    @property
    def fingerprint(self) -> str:
        """Hash of the weights, the modules and the longest input."""
        return self._fingerprint

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return self._dim

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """float32[n, dim], unit norm. Texts beyond the model's longest input are cut by the model."""
        if not texts:
            return np.zeros((0, self._dim), np.float32)
        vectors = self._model.encode(
            list(texts), batch_size=_BATCH, normalize_embeddings=True, show_progress_bar=False
        )
        return np.asarray(vectors, np.float32)


def _fingerprint(model: Any) -> str:
    digest = hashlib.sha256(f"{model}\n{model.max_seq_length}".encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()
