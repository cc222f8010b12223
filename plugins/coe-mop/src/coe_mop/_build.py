"""From examples to a bundle."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from coe.errors import DataError
from coe_mop._answers import cut_by_answers
from coe_mop._bundle import Bundle, Region
from coe_mop._caller import Caller
from coe_mop._examples import Example
from coe_mop._kmeans import Clusters, halves
from coe_mop._metrics import find_metric, score
from coe_mop._plan import Plan, make_plan
from coe_mop._policies import Policies, compare
from coe_mop._prompts import Prompt, shown
from coe_mop._regions import (
    PENALTY_EXAMPLES,
    Choice,
    DemoOrder,
    Routed,
    choose_regions,
    pick_demos,
    pick_near,
    route,
    spread_out,
    telling_terms,
)
from coe_mop._search import Found, Ground, Searcher
from coe_mop._space import fit_space
from coe_mop._statistics import wilson

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from coe.contracts import Embedder

_HELD_SHARE = 0.25
_POOL_SHARE = 0.6
_LEAST = 10
_SAMPLES = 3
_UNSURE_SHARE = 0.05

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildSettings:
    """What a user may set.

    Attributes:
        budget: calls in all.
        seed: of everything drawn.
        regions: their number; None chooses it.
        penalty_examples: see `coe_mop._regions.PENALTY_EXAMPLES`.
        demos: demonstrations in every prompt.
        demo_order: which ones of a region.
        partition: `random` and `none` are ablations.
        search: `independent` is an ablation.
        identities: propose expert identities, too.
        ood: hold back one of two equally large halves of the input space instead of a random part.
        metric: by default; metrics: by task.
        max_tokens: longest answer while scoring.
        concurrency: calls at the same time.
    """

    budget: int = 500
    seed: int = 0
    regions: int | None = None
    penalty_examples: float = PENALTY_EXAMPLES
    demos: int = 6
    demo_order: DemoOrder = "diverse"
    partition: Literal["clusters", "random", "none"] = "clusters"
    search: Literal["joint", "independent"] = "joint"
    identities: bool = False
    ood: bool = False
    metric: str = "normalised"
    metrics: Mapping[str, str] = field(default_factory=dict[str, str])
    max_tokens: int = 64
    concurrency: int = 4


@dataclass(frozen=True, slots=True)
class Made:
    """A bundle before it is written, and what its report shows.

    Attributes:
        bundle: the bundle.
        choice: how the number of regions was chosen.
        points, labels: the examples' places float32[n, dim] and regions int64[n].
        policies: how all policies did on held-back examples; None without calls.
        plan: how the budget was to be spent; None without calls.
    """

    bundle: Bundle
    choice: Choice
    points: NDArray[np.float32]
    labels: NDArray[np.int64]
    policies: Policies | None
    plan: Plan | None


def scorer(metric: str, metrics: Mapping[str, str]) -> Callable[[str, Example], float]:
    """How answers to an example are scored, by its task. Raises `ConfigError` for an unknown metric."""
    default = find_metric(metric)
    by_task = {task: find_metric(name) for task, name in metrics.items()}
    return lambda answer, example: score(by_task.get(example.task or "", default), answer, example.outputs)


async def build(
    examples: Sequence[Example],
    embedder: Embedder,
    settings: BuildSettings,
    *,
    caller: Caller | None = None,
    embedder_ref: tuple[str, Mapping[str, Any]] = ("static", {}),
    base: str | None = None,
    say: Say = lambda _: None,
) -> Made:
    """Make a bundle.

    Args:
        examples: at least 10.
        embedder: meaning of inputs.
        settings: see there.
        caller: asks the base; None makes regions and demonstrations only, without any call.
        embedder_ref: kind and settings of the embedder, for the bundle.
        base: the base's name, for the bundle.
        say: told in a few words what is going on.

    Raises:
        DataError: too few examples, or too small a budget.
        BudgetSpent: failures used the budget up.
        ExpertError: the base failed again and again.
    """
    if len(examples) < _LEAST:
        raise DataError(f"{len(examples)} examples are too few.", hint=f"Take at least {_LEAST}.")
    say("placing inputs")
    rng = np.random.default_rng(settings.seed)
    space = fit_space([each.input for each in examples], embedder, np.random.default_rng(settings.seed))
    everywhere = space.place([each.input for each in examples], embedder)
    order, held = _split(everywhere, rng, ood=settings.ood, hold=caller is not None)
    known = [examples[at] for at in order]
    points = everywhere[order]
    say("looking for regions")
    choice = _partition(points, known, settings, rng)
    centroids = choice.clusters.centroids
    labels = route(points, centroids).region
    cut = len(order) if caller is None else max(int(_POOL_SHARE * len(order)), 1)
    pool, pool_points, pool_region = known[:cut], points[:cut], labels[:cut]
    picked = pick_demos(pool_points, pool_region, centroids, settings.demos, rng, settings.demo_order)
    demos = [shown([pool[at] for at in own]) for own in picked]
    count = min(settings.demos, len(pool))
    spread = spread_out(pool_points, np.arange(len(pool)), count, rng) if count else []
    central = shown([pool[at] for at in spread])
    mixed: list[int] = rng.permutation(len(pool))[:count].tolist()
    drawn = shown([pool[at] for at in mixed])
    baselines = {
        "no demos": Prompt(),
        "random demos": Prompt("", drawn),
        "central demos": Prompt("", central),
    }
    scored = scorer(settings.metric, settings.metrics)
    plan, found, single = None, None, Prompt("", central)
    if caller is not None:
        validation = known[cut:]
        plan = make_plan(
            settings.budget,
            len(centroids),
            validation=len(validation),
            held_back=len(held),
            concurrency=settings.concurrency,
        )
        searcher = Searcher(caller, plan, scored, settings.max_tokens, settings.seed)
        say("searching instructions")
        ground = Ground(pool, pool_region, validation, points[cut:], labels[cut:], centroids, demos)
        found = await searcher.joint(ground, identities=settings.identities, search=settings.search)
        say("searching one instruction for all (APE)")
        baselines["one instruction (APE)"] = Prompt(await searcher.one_for_all(pool, validation))
        single = Prompt(found.single, central)
    margins = route(points, centroids).margin
    bundle = Bundle(
        embedder_kind=embedder_ref[0],
        embedder_settings=embedder_ref[1],
        fingerprint=embedder.fingerprint,
        space=space,
        centroids=centroids,
        prompts=tuple(
            Prompt("" if found is None else found.instructions[region], own)
            for region, own in enumerate(demos)
        ),
        single=single,
        baselines=baselines,
        # The least sure of the examples themselves: beyond that, inputs lie on a border.
        min_margin=0.0 if len(centroids) == 1 else float(np.quantile(margins, _UNSURE_SHARE)),
        regions=_describe(known, points, labels, centroids, found),
        about=_about(settings, base, choice, len(examples)),
    )
    policies = None
    if caller is not None and plan is not None and plan.reported:
        say("comparing on held-back examples")
        judged = [examples[at] for at in held[: plan.reported]]
        policies = await compare(bundle, embedder, judged, caller, scored, settings.max_tokens, settings.seed)
    if caller is not None:
        bundle = replace(bundle, about={**bundle.about, "calls": len(caller.used)})
    return Made(bundle, choice, points, labels, policies, plan)


def _split(
    points: NDArray[np.float32], rng: np.random.Generator, *, ood: bool, hold: bool
) -> tuple[list[int], list[int]]:
    """Numbers of the examples to work with, and of those held back for the report; both shuffled."""
    order = rng.permutation(len(points))
    if not hold:
        return order.tolist(), []
    if ood:
        second = halves(points, rng)
        return order[~second[order]].tolist(), order[second[order]].tolist()
    cut = int(_HELD_SHARE * len(points))
    return order[cut:].tolist(), order[:cut].tolist()


def _partition(
    points: NDArray[np.float32], known: Sequence[Example], settings: BuildSettings, rng: np.random.Generator
) -> Choice:
    fixed = 1 if settings.partition == "none" else settings.regions
    choice = choose_regions(points, rng, fixed=fixed, penalty_examples=settings.penalty_examples)
    if fixed is not None and settings.partition != "random":
        return choice
    if settings.partition == "clusters":
        centroids = cut_by_answers(points, choice.clusters.centroids, known, rng)
        nearest = route(points, centroids)
        clusters = Clusters(centroids, nearest.region, _inertia(nearest))
        return replace(choice, clusters=clusters, split=choice.split + len(centroids) - choice.clusters.k)
    # Random regions: as many, around random examples instead of where inputs gather.
    k = choice.clusters.k
    drawn = points[rng.permutation(len(points))[:k]]
    nearest = route(points, drawn)
    return Choice(Clusters(drawn, nearest.region, _inertia(nearest)), choice.curve, choice.penalty)


def _inertia(nearest: Routed) -> float:
    return float((nearest.distance.astype(np.float64) ** 2).sum())


def _describe(
    known: Sequence[Example],
    points: NDArray[np.float32],
    labels: NDArray[np.int64],
    centroids: NDArray[np.float32],
    found: Found | None,
) -> tuple[Region, ...]:
    terms = telling_terms([each.input for each in known], labels, len(centroids))
    regions: list[Region] = []
    for region, centre in enumerate(centroids):
        own = np.flatnonzero(labels == region)
        near = pick_near(points, centre, own, _SAMPLES) if len(own) else []
        samples = tuple(known[at].input for at in near)
        if found is None:
            regions.append(Region(len(own), terms[region], samples))
            continue
        scores = found.scores[region]
        mean = float(scores.mean()) if len(scores) else None
        regions.append(Region(len(own), terms[region], samples, mean, wilson(scores), len(scores)))
    return tuple(regions)


def _about(settings: BuildSettings, base: str | None, choice: Choice, examples: int) -> dict[str, Any]:
    return {
        "base": base,
        "examples": examples,
        "seed": settings.seed,
        "budget": settings.budget,
        "calls": 0,
        "metric": settings.metric,
        "metrics": dict(settings.metrics),
        "max_tokens": settings.max_tokens,
        "demos": settings.demos,
        "demo_order": settings.demo_order,
        "identities": settings.identities,
        "ood": settings.ood,
        "partition": settings.partition,
        "search": settings.search,
        "penalty": choice.penalty,
        "curve": [list(each) for each in choice.curve],
    }
