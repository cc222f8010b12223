"""`coe train`: outcomes in, a router out."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from coe_routers.artifact import EmbedderRef
from coe_routers.commands._shared import (
    JsonOption,
    ModelsOption,
    OutcomesArgument,
    SeedOption,
    cards_at,
    console,
    plain,
    print_json,
    steps,
    table,
)
from coe_routers.mapping import Choice
from coe_routers.offline import (
    ALPHA,
    OtherTrained,
    Trained,
    TrainOptions,
    find_embedder,
    train,
    train_other,
)
from coe_routers.outcomes import read_outcomes

_DISCOVERY = f"k-means, k by least scaled inertia, penalty {ALPHA} for each, names by class TF-IDF"

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def command(
    outcomes: OutcomesArgument,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder to write the router to.")],
    models: ModelsOption = None,
    classifier: Annotated[
        Literal["linear", "centroid", "knn"], typer.Option(help="How categories are told apart.")
    ] = "linear",
    features: Annotated[
        Literal["default", "ngrams", "embedding"],
        typer.Option(help="default joins hashed n-grams to the embedding."),
    ] = "default",
    embedder: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="`static`, or the name or folder of a sentence-transformers model."
        ),
    ] = "static",
    categories: Annotated[
        Literal["auto", "column", "discover"],
        typer.Option(help="Those of the outcomes, or discovered; auto discovers where there are none."),
    ] = "auto",
    select: Annotated[
        bool,
        typer.Option("--select", help="Try features and classifiers; keep what is best on held-out rows."),
    ] = False,
    router: Annotated[
        Literal["expected", "knn", "ridge", "cascade", "cumulative", "expertise-tree"],
        typer.Option(help="What decides; the others are for comparison: see docs/other-routers.md."),
    ] = "expected",
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Train a router from recorded outcomes: classifier, score table, map. Writes all of it or nothing."""
    ref = _reference(embedder) if features != "ngrams" or classifier == "knn" else None
    options = TrainOptions(
        method=classifier,
        ngrams=features != "embedding",
        embedder=ref,
        categories=categories,
        select=select,
        seed=seed,
    )
    with steps("reading outcomes") as shown:
        task = shown.task_ids[0]
        read = read_outcomes(outcomes)
        cards = cards_at(models)
        made = None if ref is None else find_embedder(ref.kind, ref.settings)

        def say(step: str) -> None:
            shown.update(task, description=step)

        trained = (
            train(read, cards, out, options, embedder=made, say=say)
            if router == "expected"
            else train_other(router, read, cards, out, options, embedder=made, say=say)
        )
    if isinstance(trained, OtherTrained):
        _show_other(trained, out, as_json=as_json)
        return
    if as_json:
        print_json(_summary(trained, out, len(read)))
        return
    _show(trained, out, len(read))


def _reference(embedder: str) -> EmbedderRef:
    if embedder == "static":
        return EmbedderRef(kind="static")
    return EmbedderRef(kind="sentence-transformers", settings={"model": embedder})


def choice_summary(choice: Choice) -> dict[str, Any]:
    """A choice for `--json`."""
    return {
        "decides_by": choice.kind,
        "expected_score": choice.score,
        "expected_score_ci95": choice.score_ci95,
        "best_single": choice.single,
        "best_single_score": choice.single_score,
        "gain_points": 100 * choice.gain,
        "gain_ci95": [100 * end for end in choice.gain_ci95],
        "caution": choice.caution,
        "verdict": choice.verdict,
        "spends": choice.map.spends,
        "left_out": choice.map.unknown,
        "map": choice.map.named(),
        "gap": choice.map.gap,
    }


def _summary(trained: Trained, out: Path, prompts: int) -> dict[str, Any]:
    return plain(
        {
            "router": str(out),
            "revision": trained.revision,
            "prompts": prompts,
            "categories": trained.categories,
            "discovered": trained.discovered,
            **({"discovered_by": _DISCOVERY} if trained.discovered else {}),
            "too_small": trained.merged,
            "classifier": trained.method,
            "classifiers_tried": dict(trained.tried),
            "why": trained.why,
            "accuracy": trained.accuracy,
            "calibration_error": trained.calibration_error,
            "general_share": trained.general_share,
            "general_rule": asdict(trained.abstention),
            "prediction_set_size": trained.set_size,
            **choice_summary(trained.choice),
        }
    )


def _show(trained: Trained, out: Path, prompts: int) -> None:
    shown = console()
    found = f"discovered: {_DISCOVERY}" if trained.discovered else "of the outcomes"
    shown.print(f"{prompts} prompts, {len(trained.categories)} categories ({found}).")
    if trained.merged:
        shown.print(f"Too small to learn, sent to general: {', '.join(trained.merged)}.")
    shown.print(
        f"Classifier {trained.method}: {trained.accuracy:.1%} right on held-out prompts, calibration error "
        f"{trained.calibration_error:.3f}, {trained.general_share:.1%} sent to general."
    )
    if len(trained.tried) > 1:
        rows = [[name, f"{right:.1%}"] for name, right in trained.tried]
        shown.print(table("Tried", ("classifier", "right on held-out prompts"), rows))
        shown.print(f"Taken because it is {trained.why}.")
    shown.print(trained.choice.verdict)
    shown.print(
        table("", ("category", "expert"), [list(pair) for pair in trained.choice.map.named().items()])
    )
    shown.print(f"Router written to {out}. Next: `coe optimize {out} --budget usd_per_1k=…`.")


def _show_other(trained: OtherTrained, out: Path, *, as_json: bool) -> None:
    if as_json:
        facts = {"router": str(out), "kind": trained.kind, "revision": trained.revision}
        print_json({**facts, "experts": trained.experts, "fit": trained.facts})
        return
    shown = console()
    shown.print(f"Router of kind {trained.kind} for {', '.join(trained.experts)}, written to {out}.")
    if trained.facts:
        rows = [[name, str(plain(value))] for name, value in trained.facts.items()]
        shown.print(table("Fit", ("fact", "value"), rows))
    shown.print(f"Next: `coe evaluate {out} OUTCOMES`. To serve it: kind `{trained.kind}`, artifact {out}.")
