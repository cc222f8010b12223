"""Outcomes in, a router's folder out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np

from coe.contracts import GENERAL, Card, Embedder
from coe.errors import DataError
from coe_routers.artifact import EmbedderRef, Method, RouterArtifact, save_router
from coe_routers.classifiers import Abstention
from coe_routers.expected import map_of, rule_facts, rule_files
from coe_routers.features import routing_text
from coe_routers.mapping import Budget, Choice, choose_map, evidence
from coe_routers.offline._discover import discover
from coe_routers.offline._optimize import choice_facts
from coe_routers.offline._state import State, state_files
from coe_routers.outcomes import Outcomes
from coe_routers.training import FitOptions, Fitted, accuracy, expected_calibration_error, fit_classifier

Say = Callable[[str], None]
STATIC = EmbedderRef(kind="static")
_FOLDS = 5
"""Held-out predictions come from four fifths of the rows: nearly as good as the classifier of all of them."""
_FEWEST = 6
"""A category with fewer rows cannot be told from chance: its rows teach `general`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOptions:
    """How to train.

    Attributes:
        method: of the classifier.
        ngrams: whether hashed n-grams are read.
        embedder: whose vectors are read; None for n-grams alone.
        categories: `column` takes those of the outcomes, `discover` clusters; `auto` discovers only where
            the outcomes name fewer than two.
        select: try features and classifiers and keep what does best on held-out rows.
        seed: of folds, clusters and intervals.
    """

    method: Method = "linear"
    ngrams: bool = True
    embedder: EmbedderRef | None = STATIC
    categories: Literal["auto", "column", "discover"] = "auto"
    select: bool = False
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What training came to.

    Attributes:
        revision: of the written folder.
        choice: the map without a budget.
        accuracy: of the classifier on held-out rows, against the categories of the outcomes.
        calibration_error: expected calibration error there.
        general_share: part of the rows that the router would send to `general`.
        abstention: the rule that sends them there.
        set_size: how many categories a prediction set holds on average, on held-out rows.
        categories: names.
        discovered: whether the categories were discovered.
        merged: categories too small to learn.
        method: of the classifier.
        tried: held-out accuracy of every classifier that was tried.
        why: why this one was taken.
    """

    revision: str
    choice: Choice
    accuracy: float
    calibration_error: float
    general_share: float
    abstention: Abstention
    set_size: float
    categories: tuple[str, ...]
    discovered: bool
    merged: tuple[str, ...]
    method: Method
    tried: tuple[tuple[str, float], ...]
    why: str


def train(
    outcomes: Outcomes,
    cards: Mapping[str, Card],
    out: Path,
    options: TrainOptions,
    *,
    embedder: Embedder | None,
    say: Say = lambda _: None,
) -> Trained:
    """Fit classifier and map, and write them.

    Args:
        outcomes: at least a few dozen prompts.
        cards: of the experts, where known.
        out: folder to write; nothing is written unless all goes well.
        options: how.
        embedder: what `options.embedder` names.
        say: told of each step.

    Raises:
        DataError: too few prompts to learn from.
        ConfigError: the options do not go together.
        PluginError: an extra is missing.
        ArtifactError: the folder cannot be written.
    """
    features = outcomes.features()
    tools = bool(outcomes.tools)
    texts = [routing_text(each, tools=tools) for each in features]
    vectors = np.zeros((len(outcomes), 0), np.float32) if embedder is None else embedder.embed(texts)
    labels, discovered = _labels(outcomes, vectors, texts, options, say)
    labels, merged = _without_small(labels)
    if len(set(labels) - {GENERAL}) < 2:
        raise DataError(
            f"{len(outcomes)} prompts give fewer than two categories to tell apart.",
            hint=f"A category needs at least {_FEWEST} prompts.",
        )
    method, fitted, tried, why = _fit(features, labels, embedder, tools, options, say)
    names = fitted.classifier.categories
    column = {name: number for number, name in enumerate(names)}
    label = np.array([column.get(name, -1) for name in labels], dtype=np.int32)
    held = fitted.held_out
    found = evidence(
        outcomes,
        cards,
        categories=names,
        label=label,
        probabilities=held.probabilities,
        uncertain=held.general,
    )
    say("solving the map")
    choice = choose_map(found, seed=options.seed)
    right = held.labels >= 0
    exact = accuracy(held.probabilities[right], held.labels[right])
    state = State(evidence=found, cards=cards, prompt_ids=outcomes.prompt_ids, vectors=vectors)
    facts: dict[str, Any] = {
        **rule_facts(choice.rule),
        **choice_facts(choice, Budget()),
        "prompts": len(outcomes),
        "seed": options.seed,
        "held_out_accuracy": round(exact, 4),
        "discovered": discovered,
    }
    revision = save_router(
        out,
        RouterArtifact(
            classifier=fitted.classifier,
            abstention=fitted.abstention,
            embedder=options.embedder if fitted.classifier.encoder.embedder is not None else None,
            method=method,
            expert_map=map_of(choice.rule, names),
            facts=facts,
        ),
        {**rule_files(choice.rule), **state_files(state)},
    )
    return Trained(
        revision=revision,
        choice=choice,
        accuracy=exact,
        calibration_error=expected_calibration_error(held.probabilities[right], held.labels[right]),
        general_share=float(found.uncertain.mean()),
        abstention=fitted.abstention,
        set_size=float(held.set_sizes[right].mean()),
        categories=names,
        discovered=discovered,
        merged=merged,
        method=method,
        tried=tried,
        why=why,
    )


def _labels(
    outcomes: Outcomes, vectors: np.ndarray[Any, Any], texts: Sequence[str], options: TrainOptions, say: Say
) -> tuple[list[str], bool]:
    named = len(outcomes.categories)
    if options.categories == "column" or (options.categories == "auto" and named > 1):
        if named < 2:
            raise DataError(f"The outcomes name {named} categories; at least two are needed.")
        names = (*outcomes.categories, GENERAL)
        return [names[number] for number in outcomes.category.tolist()], False
    if not vectors.shape[1]:
        raise DataError("Categories can be discovered with an embedder only.")
    say("discovering categories")
    return list(discover(vectors, texts, seed=options.seed)), True


def _without_small(labels: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    """Rows of tiny categories become `general`: they teach what belongs to none."""
    names, counts = np.unique(list(labels), return_counts=True)
    small = {name for name, count in zip(names.tolist(), counts.tolist(), strict=True) if count < _FEWEST}
    small -= {GENERAL}
    kept = [GENERAL if name in small else name for name in labels]
    if 0 < kept.count(GENERAL) < _FOLDS:
        # Too few to be spread over the folds: they are left unlabelled with the largest category.
        largest = max((name for name in set(kept) if name != GENERAL), key=kept.count, default=GENERAL)
        kept = [largest if name == GENERAL else name for name in kept]
    return kept, tuple(sorted(small))


def _fit(
    features: Sequence[Any],
    labels: Sequence[str],
    embedder: Embedder | None,
    tools: bool,
    options: TrainOptions,
    say: Say,
) -> tuple[Method, Fitted, tuple[tuple[str, float], ...], str]:
    """The classifier asked for or, of several, the first that none beats beyond a standard error."""
    best: tuple[float, str, Method, Fitted] | None = None
    tried: list[tuple[str, float]] = []
    for method, ngrams, dense in _candidates(options, embedder is not None):
        name = f"{method} ({' and '.join(['n-grams'] * ngrams + ['embedding'] * dense)})"
        say(f"fitting the classifier: {name}")
        fitted = fit_classifier(
            features,
            labels,
            embedder=embedder if dense else None,
            ngrams=ngrams,
            tools=tools,
            shape=True,
            options=FitOptions(method=method, folds=_FOLDS, correct=True, seed=options.seed),
        )
        inside = fitted.held_out.labels >= 0
        right = accuracy(fitted.held_out.probabilities[inside], fitted.held_out.labels[inside])
        tried.append((name, round(right, 4)))
        # The earlier ones are the best elsewhere; luck must not replace them.
        error = (right * (1 - right) / max(1, int(inside.sum()))) ** 0.5
        if best is None or right > best[0] + error:
            best = right, name, method, fitted
    assert best is not None, "at least one is tried"
    return best[2], best[3], tuple(tried), _why(best[1], tried)


def _candidates(options: TrainOptions, dense: bool) -> list[tuple[Method, bool, bool]]:
    """Method, whether n-grams are read, whether the embedding is."""
    ngrams = options.ngrams and (options.method != "knn" or options.select)
    if not options.select:
        return [(options.method, ngrams, dense)]
    found: list[tuple[Method, bool, bool]] = [("linear", ngrams, dense), ("centroid", ngrams, dense)]
    if ngrams and dense:
        found[1:1] = [("linear", True, False), ("linear", False, True)]
    if dense and find_spec("faiss") is not None:
        found.append(("knn", False, True))
    return found


def _why(chosen: str, tried: Sequence[tuple[str, float]]) -> str:
    right = dict(tried)
    others = [(value, name) for name, value in tried if name != chosen]
    if not others:
        return "asked for"
    value, name = max(others)
    gap = round(100 * (right[chosen] - value), 1)
    said = f"right on {right[chosen]:.1%} of the prompts in {_FOLDS}-fold cross-validation, "
    if gap > 0:
        return f"{said}{gap:.1f} points more than the next best, {name}"
    return f"{said}within a standard error of {name} ({value:.1%})"
