"""A saved router: classifier, limit of uncertainty, and the expert map once one is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from coe.contracts import GENERAL, Ranked
from coe.errors import ArtifactError
from coe_routers.classifiers import Abstention, Head, LinearHead, NeighbourHead, TrainedClassifier
from coe_routers.features import BUCKETS, SCHEME, Encoder
from coe_routers.store import Folder, read_folder, read_tensors, tensor_bytes, write_folder

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from coe.contracts import Embedder

KIND = "router"
MODEL = "model.safetensors"
REGIONS = "regions"
"""Name of the tensor that holds where training prompts lie."""
Method = Literal["linear", "centroid", "knn"]
"""How a classifier was fitted. `linear` and `centroid` are both a layer of weights; `knn` keeps examples."""
ExpertMap = Mapping[str, tuple[Ranked, ...]]
"""Category (or `general`) to its experts, best first."""
FindEmbedder = Callable[[str, Mapping[str, Any]], "Embedder"]
"""Embedder plugin's name and settings to the embedder, as `coe.contracts.Build.embedder`."""

_LIMITS = tuple(each.name for each in fields(Abstention))


class _Strict(BaseModel):
    # Deferred, as all but one are only checked as a part of another.
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class EmbedderRef(_Strict):
    """Which embedder a classifier was trained with."""

    kind: str
    settings: dict[str, Any] = {}
    fingerprint: str = ""


class FeatureFacts(_Strict):
    """How prompts are read. `ngrams` names the hashing; None without n-grams. `shape`: how they are typed."""

    ngrams: str | None
    embedder: EmbedderRef | None
    tools: bool = False
    shape: bool = False


class RouterFacts(_Strict):
    """The `about` of a router's manifest."""

    classifier: Method
    categories: tuple[str, ...] = Field(min_length=1)
    columns: int
    neighbours: int | None = Field(default=None, ge=1)
    temperature: float = Field(gt=0)
    uncertainty_limit: float = Field(ge=0, le=1)
    coverage: float | None = Field(default=None, gt=0, lt=1)
    set_mass: float | None = Field(default=None, ge=0, le=1)
    set_limit: int | None = Field(default=None, ge=1)
    distance_limit: float | None = Field(default=None, ge=0)
    features: FeatureFacts
    expert_map: dict[str, tuple[tuple[str, float | None], ...]] = {}
    facts: dict[str, Any] = {}

    @model_validator(mode="after")
    def _consistent(self) -> RouterFacts:
        if len(set(self.categories)) != len(self.categories) or GENERAL in self.categories:
            raise ValueError(f"categories must differ and `{GENERAL}` is not one of them")
        if not 0 <= self.columns - len(self.categories) <= 1:
            raise ValueError(f"{self.columns} columns for {len(self.categories)} categories")
        if (self.classifier == "knn") != (self.neighbours is not None):
            raise ValueError("`neighbours` belongs to the classifier `knn`")
        if unknown := sorted(set(self.expert_map) - {*self.categories, GENERAL}):
            raise ValueError(f"expert_map names unknown categories: {', '.join(unknown)}")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterArtifact:
    """A router as saved.

    Attributes:
        classifier: prompt to category.
        abstention: when a prompt is `general`.
        embedder: what gives the dense features; None for n-grams alone.
        expert_map: empty until it was solved or written by hand.
        method: how the classifier was fitted.
        facts: how it was made: sources, seed, figures; for people.
    """

    classifier: TrainedClassifier
    abstention: Abstention
    embedder: EmbedderRef | None
    method: Method = "linear"
    expert_map: ExpertMap = field(default_factory=dict[str, tuple[Ranked, ...]])
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])


def save_router(path: Path, router: RouterArtifact, files: Mapping[str, bytes] | None = None) -> str:
    """Write a router, atomically. Returns its revision.

    Args:
        path: the folder; an artifact that is there is replaced.
        router: what to save.
        files: further files that belong to it, such as the score table.

    Raises:
        ArtifactError: it cannot be written.
    """
    encoder, classifier = router.classifier.encoder, router.classifier
    fingerprint = encoder.embedder.fingerprint if encoder.embedder else ""
    about = RouterFacts(
        classifier=router.method,
        categories=classifier.categories,
        columns=classifier.head.columns,
        neighbours=classifier.head.neighbours if isinstance(classifier.head, NeighbourHead) else None,
        temperature=classifier.temperature,
        **asdict(router.abstention),
        features=FeatureFacts(
            ngrams=None if encoder.idf is None else SCHEME,
            embedder=router.embedder and router.embedder.model_copy(update={"fingerprint": fingerprint}),
            tools=encoder.tools,
            shape=encoder.shape,
        ),
        expert_map=_plain(router.expert_map),
        facts=dict(router.facts),
    )
    tensors: dict[str, NDArray[Any]] = dict(classifier.head.tensors())
    if encoder.idf is not None:
        tensors["idf"] = encoder.idf
    if classifier.regions is not None:
        tensors[REGIONS] = classifier.regions.astype(np.float16)
    content = {MODEL: tensor_bytes(tensors), **(files or {})}
    return write_folder(path, KIND, about.model_dump(mode="json"), content)


def save_expert_map(
    path: Path,
    expert_map: ExpertMap,
    *,
    facts: Mapping[str, Any] | None = None,
    files: Mapping[str, bytes] | None = None,
) -> str:
    """Give a saved router another expert map; its classifier is untouched. Returns the new revision.

    Args:
        path: the router's folder.
        expert_map: replaces the one that is there.
        facts: laid over the router's facts.
        files: added to the folder, or replacing files of the same name.

    Raises:
        ArtifactError: no router there, or the map names a category that it does not have.
    """
    folder = read_folder(path, KIND)
    about = _facts(folder)
    changed = about.model_copy(
        update={"expert_map": _plain(expert_map), "facts": {**about.facts, **(facts or {})}}
    )
    kept = {name: (path / name).read_bytes() for name in folder.files}
    dumped = changed.model_dump(mode="json")
    _validated(dumped, path)
    return write_folder(path, KIND, dumped, {**kept, **(files or {})})


def load_router(path: Path, embedder: FindEmbedder) -> tuple[RouterArtifact, str]:
    """Load a router and its revision.

    Raises:
        ArtifactError: missing, corrupt, of another schema or hashing, or the embedder at hand is not the one
            that it was trained with.
    """
    folder = read_folder(path, KIND)
    about = _facts(folder)
    tensors = read_tensors(path / MODEL)
    features = about.features
    encoder = Encoder(
        _idf(features, tensors, path), _embedder(features, embedder, path), features.tools, features.shape
    )
    head = _head(about, tensors, encoder, path)
    router = RouterArtifact(
        classifier=TrainedClassifier(
            encoder, head, about.categories, about.temperature, _regions(about, tensors, encoder, path)
        ),
        abstention=Abstention(**{name: getattr(about, name) for name in _LIMITS}),
        embedder=about.features.embedder,
        method=about.classifier,
        expert_map={
            category: tuple(Ranked(expert, score) for expert, score in experts)
            for category, experts in about.expert_map.items()
        },
        facts=about.facts,
    )
    return router, folder.revision


def read_facts(path: Path) -> RouterFacts:
    """What the manifest of a saved router says, without loading its classifier. Raises `ArtifactError`."""
    return _facts(read_folder(path, KIND))


def _plain(expert_map: ExpertMap) -> dict[str, tuple[tuple[str, float | None], ...]]:
    return {
        category: tuple((ranked.expert, ranked.score) for ranked in experts)
        for category, experts in expert_map.items()
    }


def _facts(folder: Folder) -> RouterFacts:
    return _validated(folder.about, folder.path)


def _validated(about: Mapping[str, Any], path: Path) -> RouterFacts:
    try:
        return RouterFacts.model_validate(about)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "about"
        raise ArtifactError(f"{path / 'manifest.json'}: `{where}`: {first['msg']}.") from error


def _idf(
    features: FeatureFacts, tensors: Mapping[str, NDArray[Any]], path: Path
) -> NDArray[np.float32] | None:
    if features.ngrams is None:
        return None
    if features.ngrams != SCHEME:
        raise ArtifactError(
            f"{path} was trained on n-grams of `{features.ngrams}`; this coe makes `{SCHEME}`.",
            hint="Train it again.",
        )
    if "idf" not in tensors or tensors["idf"].shape != (BUCKETS,):
        raise ArtifactError(f"{path / MODEL} lacks `idf` with {BUCKETS} values.")
    return tensors["idf"]


def _embedder(features: FeatureFacts, find: FindEmbedder, path: Path) -> Embedder | None:
    if (wanted := features.embedder) is None:
        return None
    embedder = find(wanted.kind, wanted.settings)
    if embedder.fingerprint != wanted.fingerprint:
        raise ArtifactError(
            f"{path} was trained with the embedder `{wanted.kind}` {wanted.fingerprint[:12]}…, "
            f"the one at hand is {embedder.fingerprint[:12]}….",
            hint="Use the same embedder, or train again.",
        )
    return embedder


def _regions(
    about: RouterFacts, tensors: Mapping[str, NDArray[Any]], encoder: Encoder, path: Path
) -> NDArray[np.float32] | None:
    if REGIONS not in tensors:
        if about.distance_limit is not None:
            raise ArtifactError(f"{path / MODEL} lacks `{REGIONS}`, which `distance_limit` needs.")
        return None
    dim = encoder.embedder.dim if encoder.embedder else 0
    if tensors[REGIONS].ndim != 2 or tensors[REGIONS].shape[1] != dim:
        raise ArtifactError(
            f"{path / MODEL}: `{REGIONS}` has shape {tensors[REGIONS].shape}, expected (any, {dim})."
        )
    return tensors[REGIONS].astype(np.float32)


def _head(about: RouterFacts, tensors: Mapping[str, NDArray[Any]], encoder: Encoder, path: Path) -> Head:
    dim = encoder.embedder.dim if encoder.embedder else 0
    if about.neighbours is not None:
        return NeighbourHead.from_tensors(tensors, about.columns, dim, about.neighbours)
    expected: dict[str, tuple[int, ...]] = {"bias": (about.columns,)}
    if encoder.idf is not None:
        expected |= {"lexical": (BUCKETS, about.columns), "lexical_scales": (BUCKETS,)}
    if dim:
        expected["dense"] = (dim, about.columns)
    for name, shape in expected.items():
        found = tensors[name].shape if name in tensors else None
        if found != shape:
            raise ArtifactError(f"{path / MODEL}: `{name}` has shape {found}, expected {shape}.")
    return LinearHead.from_tensors(tensors)
