"""Routers of other kinds from recorded outcomes, in folders that the other commands read too."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import numpy as np

from coe.contracts import Card, Embedder, Router
from coe.errors import ConfigError
from coe_routers.alternatives import (
    CumulativeRouter,
    PredictingRouter,
    choices,
    fit_cascade,
    fit_knn,
    fit_ridge,
    fit_tree,
    load_cascade,
    load_cumulative,
    load_knn,
    load_ridge,
    load_tree,
    save_choices,
)
from coe_routers.artifact import (
    EmbedderRef,
    ExpertMap,
    FindEmbedder,
    load_router,
    read_facts,
    save_expert_map,
)
from coe_routers.expected import ExpectedRouter, load_expected
from coe_routers.features import Encoder, routing_text
from coe_routers.mapping import evidence
from coe_routers.offline._state import REMEMBERED_VECTORS, State, read_state, state_files
from coe_routers.offline._train import Say, TrainOptions, train
from coe_routers.outcomes import Outcomes
from coe_routers.store import kind_of, read_folder, write_folder

OtherKind = Literal["knn", "ridge", "cascade", "cumulative", "expertise-tree"]
OTHER_KINDS: tuple[OtherKind, ...] = get_args(OtherKind)

ROUTER_FACT = "router"
"""Key of a trained router's facts that names the kind which decides, where it is not `expected`."""
_NO_CATEGORIES = "all"
_LOADERS = {
    "knn-router": load_knn,
    "ridge-router": load_ridge,
    "cascade-router": load_cascade,
    "tree-router": load_tree,
}


class _Model(Protocol):
    @property
    def experts(self) -> tuple[str, ...]: ...

    def save(self, path: Path, embedder: EmbedderRef, facts: Mapping[str, Any] | None = None) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherTrained:
    """A router of another kind.

    Attributes:
        kind: as a configuration names it.
        revision: of the written folder.
        experts: that it knows.
        facts: how it was fitted.
    """

    kind: OtherKind
    revision: str
    experts: tuple[str, ...]
    facts: Mapping[str, Any]


def train_other(
    kind: OtherKind,
    outcomes: Outcomes,
    cards: Mapping[str, Card],
    out: Path,
    options: TrainOptions,
    *,
    embedder: Embedder | None,
    say: Say = lambda _: None,
) -> OtherTrained:
    """Fit a router of another kind and write it with the outcomes that it rests on.

    Args:
        kind: `cumulative` fits the classifier of `train` as well; the others read no categories.
        outcomes: recorded scores.
        cards: of the experts, where known.
        out: folder to write; nothing is written unless all goes well.
        options: `embedder` and `seed` hold for all kinds, the rest for `cumulative`.
        embedder: what `options.embedder` names.
        say: told of each step.

    Raises:
        ConfigError: the kind reads embeddings and there is no embedder.
        DataError: too few outcomes, or nothing costs less than the strong expert of a cascade.
        PluginError: an extra is missing.
        ArtifactError: the folder cannot be written.
    """
    if kind == "cumulative":
        return _cumulative(outcomes, cards, out, options, embedder, say)
    if embedder is None or options.embedder is None:
        raise ConfigError(
            f"A router of kind `{kind}` needs an embedder.", hint="Leave out --features ngrams."
        )
    say(f"fitting the router ({kind})")
    model, facts = _fitted(kind, outcomes, cards, embedder, options.seed)
    with tempfile.TemporaryDirectory() as made:
        model.save(Path(made) / kind, options.embedder, facts)
        folder = read_folder(Path(made) / kind, kind_of(Path(made) / kind))
        files = {name: (folder.path / name).read_bytes() for name in folder.files}
        revision = write_folder(
            out, folder.kind, folder.about, {**files, **_state(outcomes, cards, embedder)}
        )
    return OtherTrained(kind=kind, revision=revision, experts=model.experts, facts=facts)


def load_router_of(path: Path, find: FindEmbedder) -> tuple[Router, tuple[str, ...]]:
    """The router of a folder that `coe train` wrote, whatever its kind, with its default settings.

    Returns:
        The router and the experts that it knows.

    Raises:
        ArtifactError: the folder is refused.
    """
    kind = kind_of(path)
    if kind in _LOADERS:
        model, revision = _LOADERS[kind](path, find)
        return PredictingRouter(model, revision), model.experts
    if decides_by(path) == "cumulative":
        return _load_cumulative(path, find), read_state(path).evidence.experts
    router: ExpectedRouter = load_expected(path, find)
    return router, router.experts


def encoder_of(path: Path, find: FindEmbedder) -> Encoder:
    """How the router of such a folder reads prompts. Raises `ArtifactError` when it is refused."""
    kind = kind_of(path)
    if kind in _LOADERS:
        return _LOADERS[kind](path, find)[0].encoder
    return load_router(path, find)[0].classifier.encoder


def require_map(path: Path) -> None:
    """Check that a folder's router decides by a map, which can be solved again.

    Raises:
        ConfigError: it is of another kind.
        ArtifactError: no router lies there.
    """
    kind = decides_by(path)
    if kind != "expected":
        raise ConfigError(
            f"{path} holds a router of kind `{kind}`, which has no map of experts to change.",
            hint=f"Train it again with other outcomes (`coe train --router {kind}`), or train one that has a "
            "map (`coe train` without --router).",
        )


def decides_by(path: Path) -> str:
    """Kind of the router in a folder that `coe train` wrote: `expected` or one of `OTHER_KINDS`.

    Raises:
        ArtifactError: no router lies there.
    """
    names = {
        "knn-router": "knn",
        "ridge-router": "ridge",
        "cascade-router": "cascade",
        "tree-router": "expertise-tree",
    }
    kind = kind_of(path)
    return names[kind] if kind in names else str(read_facts(path).facts.get(ROUTER_FACT, "expected"))


def _fitted(
    kind: str, outcomes: Outcomes, cards: Mapping[str, Card], embedder: Embedder, seed: int
) -> tuple[_Model, Mapping[str, Any]]:
    if kind == "knn":
        return fit_knn(outcomes, embedder=embedder, seed=seed)
    if kind == "ridge":
        return fit_ridge(outcomes, cards, embedder=embedder, seed=seed)
    if kind == "cascade":
        return fit_cascade(outcomes, cards, embedder=embedder, seed=seed)
    return fit_tree(outcomes, embedder=embedder, seed=seed)


def _cumulative(
    outcomes: Outcomes,
    cards: Mapping[str, Card],
    out: Path,
    options: TrainOptions,
    embedder: Embedder | None,
    say: Say,
) -> OtherTrained:
    with tempfile.TemporaryDirectory() as made:
        path = Path(made) / "router"
        trained = train(outcomes, cards, path, options, embedder=embedder, say=say)
        found = read_state(path).evidence
        known = np.isfinite(found.cost)
        cost = np.where(
            known.any(axis=0),
            np.where(known, found.cost, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1),
            np.nan,
        )
        save_choices(path, choices(found.table(), cost, seed=options.seed))
        save_expert_map(path, _map(path), facts={ROUTER_FACT: "cumulative"})
        folder = read_folder(path, kind_of(path))
        files = {name: (path / name).read_bytes() for name in folder.files}
        revision = write_folder(out, folder.kind, folder.about, files)
    facts = {
        "prompts": len(outcomes),
        "held_out_accuracy": round(trained.accuracy, 4),
        "categories": len(trained.categories),
        "seed": options.seed,
    }
    return OtherTrained(kind="cumulative", revision=revision, experts=found.experts, facts=facts)


def _load_cumulative(path: Path, find: FindEmbedder) -> CumulativeRouter:
    revision = read_folder(path, kind_of(path)).revision
    return load_cumulative(path, find, p=0.9, pick="likeliest", revision=revision)


def _map(path: Path) -> ExpertMap:
    from coe.contracts import Ranked

    return {
        category: tuple(Ranked(expert, score) for expert, score in experts)
        for category, experts in read_facts(path).expert_map.items()
    }


def _state(outcomes: Outcomes, cards: Mapping[str, Card], embedder: Embedder) -> dict[str, bytes]:
    """What comparisons need of the outcomes. The router knows no categories: all prompts are of one."""
    found = evidence(
        outcomes, cards, categories=(_NO_CATEGORIES,), label=np.zeros(len(outcomes), dtype=np.int32)
    )
    first = outcomes.features()[:REMEMBERED_VECTORS]
    vectors = embedder.embed([routing_text(each, tools=bool(outcomes.tools)) for each in first])
    return state_files(State(evidence=found, cards=cards, prompt_ids=outcomes.prompt_ids, vectors=vectors))
