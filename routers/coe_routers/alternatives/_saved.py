"""Folders of the routers here: how prompts are read, the experts, the model's own facts and arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from coe.errors import ArtifactError
from coe_routers.artifact import EmbedderRef, FindEmbedder
from coe_routers.features import BUCKETS, SCHEME, Encoder
from coe_routers.store import read_folder, read_tensors, tensor_bytes, write_folder

if TYPE_CHECKING:
    from numpy.typing import NDArray

MODEL = "model.safetensors"
AboutT = TypeVar("AboutT", bound="About")


class About(BaseModel):
    """The `about` of a manifest; every kind of router adds facts of its own.

    Attributes:
        experts: names of the columns.
        ngrams: which hashing of n-grams the prompts are read with; None without n-grams.
        embedder: which embedder; None without one.
        tools: whether the offered tools are read too.
        shape: whether n-grams are joined by how prompts are typed.
        facts: how it was made, for people.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    experts: tuple[str, ...]
    ngrams: str | None = None
    embedder: EmbedderRef | None = None
    tools: bool = False
    shape: bool = False
    facts: dict[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Saved:
    """A folder that was read: its arrays, the encoder of its prompts, its revision."""

    tensors: Mapping[str, NDArray[Any]]
    encoder: Encoder
    revision: str

    def tensor(self, name: str, shape: tuple[int, ...], path: Path) -> NDArray[Any]:
        """An array of this shape. Raises `ArtifactError` when it is missing or has another one."""
        found = self.tensors.get(name)
        if found is None or found.shape != shape:
            has = None if found is None else found.shape
            raise ArtifactError(f"{path / MODEL}: `{name}` has shape {has}, expected {shape}.")
        return found


def write(path: Path, kind: str, about: About, encoder: Encoder, tensors: Mapping[str, NDArray[Any]]) -> str:
    """Write a router of a kind, atomically. Returns its revision.

    Raises:
        ArtifactError: it cannot be written, or its embedder is not named.
    """
    if (encoder.embedder is None) != (about.embedder is None):
        raise ArtifactError("The router's embedder must be named, so that the same one is found again.")
    named = about.embedder and about.embedder.model_copy(
        update={"fingerprint": encoder.embedder.fingerprint if encoder.embedder else ""}
    )
    full = about.model_copy(
        update={
            "ngrams": None if encoder.idf is None else SCHEME,
            "embedder": named,
            "tools": encoder.tools,
            "shape": encoder.shape,
        }
    )
    arrays = dict(tensors) if encoder.idf is None else {**tensors, "idf": encoder.idf}
    return write_folder(path, kind, full.model_dump(mode="json"), {MODEL: tensor_bytes(arrays)})


def read(path: Path, kind: str, about: type[AboutT], find: FindEmbedder) -> tuple[AboutT, Saved]:
    """Read and check a router's folder.

    Raises:
        ArtifactError: missing, corrupt, of another kind, schema or hashing, or another embedder is at hand.
    """
    folder = read_folder(path, kind)
    try:
        facts = about.model_validate(folder.about)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "about"
        raise ArtifactError(f"{path / 'manifest.json'}: `{where}`: {first['msg']}.") from error
    tensors = read_tensors(path / MODEL)
    return facts, Saved(tensors, _encoder(facts, tensors, find, path), folder.revision)


def _encoder(about: About, tensors: Mapping[str, NDArray[Any]], find: FindEmbedder, path: Path) -> Encoder:
    idf = None
    if about.ngrams is not None:
        idf = tensors.get("idf")
        if about.ngrams != SCHEME or idf is None or idf.shape != (BUCKETS,):
            raise ArtifactError(
                f"{path} was made with n-grams of `{about.ngrams}`; this coe makes `{SCHEME}`.",
                hint="Fit it again.",
            )
    embedder = None
    if about.embedder is not None:
        embedder = find(about.embedder.kind, about.embedder.settings)
        if embedder.fingerprint != about.embedder.fingerprint:
            raise ArtifactError(
                f"{path} was made with the embedder `{about.embedder.kind}` "
                f"{about.embedder.fingerprint[:12]}…, the one at hand is {embedder.fingerprint[:12]}….",
                hint="Use the same embedder, or fit it again.",
            )
    return Encoder(idf, embedder, about.tools, about.shape)
