"""`coe rewards`: train, score, evaluate, label."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import typer
from rich.console import Console

from coe.contracts import Embedder
from coe.errors import ConfigError
from coe_dmoerm._aggregator import Kind
from coe_dmoerm._command_parts import ConfigOption, JsonOption, host_of, print_json, write_rows
from coe_dmoerm._evaluate import evaluate
from coe_dmoerm._items import read_data, read_items
from coe_dmoerm._label_command import label_command
from coe_dmoerm._model import TrainSettings, train
from coe_dmoerm._saved import Opened, read_model, write_model

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Reward models in two layers (DMoERM): label, train, score, evaluate.",
)
app.command("label")(label_command)

ModelArgument = Annotated[Path, typer.Argument(metavar="DIR", help="Folder that `coe rewards train` wrote.")]
DataArgument = Annotated[
    list[Path],
    typer.Argument(metavar="DATA…", help="JSON Lines of preference pairs or of ratings; .gz too."),
]
LengthOption = Annotated[
    bool, typer.Option("--correct-length", help="Take out what length brings beyond what people gave for it.")
]


@app.command("train")
def train_command(
    context: typer.Context,
    data: DataArgument,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder to write the model to.")],
    backbone: Annotated[
        Literal["features", "lora"], typer.Option("--backbone", help="What reads the answers.")
    ] = "features",
    aggregator: Annotated[
        Kind, typer.Option("--aggregator", help="From capabilities to a reward; auto takes the better one.")
    ] = "auto",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of everything drawn.")] = 0,
    embedder: Annotated[str, typer.Option("--embedder", help="Entry-point name of an embedder.")] = "static",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a reward model from preference pairs, ratings, or both."""
    if backbone == "lora":
        raise ConfigError("The backbone `lora` is not part of this version.", hint="Use --backbone features.")
    read = read_data(data)
    vectors = _embedders(context, config)(embedder, {})
    shown = Console(stderr=True, highlight=False)
    model = train(read, vectors, TrainSettings(aggregator=aggregator, seed=seed), say=shown.print)
    facts = {
        "items": len(read.items),
        "pairs": len(read.pairs),
        "ties_left_out": read.ties,
        "tasks": {task: list(scorer.heads.names) for task, scorer in model.scorers.items()},
        "seed": seed,
    }
    revision = write_model(out, model, (embedder, vectors.fingerprint), facts)
    if as_json:
        print_json({"model": str(out), "revision": revision, **facts})
        return
    print(f"{len(read.items)} answers, {len(read.pairs)} pairs, {read.ties} ties left out.")
    for task, scorer in model.scorers.items():
        print(f"{task}: {', '.join(scorer.heads.names)}")
    print(f"Reward model written to {out}.")


@app.command("score")
def score_command(
    context: typer.Context,
    model: ModelArgument,
    source: Annotated[
        Path,
        typer.Option("--input", metavar="FILE", help="JSON Lines of {item_id?, task?, prompt, response}."),
    ],
    target: Annotated[Path, typer.Option("--output", metavar="FILE", help="JSON Lines to write.")],
    correct_length: LengthOption = False,
    config: ConfigOption = None,
) -> None:
    """Write the reward of each answer: {item_id, reward, task, aspects} per line."""
    items = read_items(source)
    opened = _open(context, model, config)
    scored = opened.model.score(items, opened.embedder, correct_length=correct_length)
    rows = [
        {
            "item_id": item.item_id,
            "reward": round(found.reward, 6),
            "task": found.task,
            "aspects": {name: round(value, 6) for name, value in found.aspects.items()},
        }
        for item, found in zip(items, scored, strict=True)
    ]
    write_rows(target, rows)


@app.command("evaluate")
def evaluate_command(
    context: typer.Context,
    model: ModelArgument,
    data: DataArgument,
    correct_length: LengthOption = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Judge a model on pairs and ratings that it was not trained on."""
    read = read_data(data)
    opened = _open(context, model, config)
    scored = opened.model.score(read.items, opened.embedder, correct_length=correct_length)
    found: dict[str, Any] = {
        "model": str(model),
        "revision": opened.revision,
        **evaluate(read, np.array([each.reward for each in scored])),
    }
    if as_json:
        print_json(found)
        return
    for task, facts in found["tasks"].items():
        line = f"{task}: {facts['pairs']} pairs"
        if facts["pairs"]:
            low, high = facts["pair_accuracy_ci95"]
            line += f", accuracy {facts['pair_accuracy']:.3f} ({low:.3f} to {high:.3f})"
        if facts.get("rank_correlation") is not None:
            line += f", rank correlation {facts['rank_correlation']:.3f}"
        print(line)
        if facts.get("length"):
            length = facts["length"]
            print(
                f"  the longer one is preferred by people in {length['longer_preferred_by_people']:.0%}, by "
                f"the reward in {length['longer_preferred_by_reward']:.0%}"
            )


def _embedders(context: typer.Context, config: Path | None) -> Callable[[str, Mapping[str, Any]], Embedder]:
    """What makes embedders, by the host."""
    host = host_of(context)

    def make(kind: str, settings: Mapping[str, Any]) -> Embedder:
        async def run() -> Embedder:
            async with host.open(config) as build:
                return build.embedder(kind, settings)

        return asyncio.run(run())

    return make


def _open(context: typer.Context, model: Path, config: Path | None) -> Opened:
    return read_model(model, _embedders(context, config))
