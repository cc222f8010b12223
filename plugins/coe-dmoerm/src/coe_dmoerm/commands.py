"""`coe rewards`: train, score, evaluate; label, calibrate and outcomes are beside this."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import typer
from rich.console import Console

from coe.errors import ConfigError
from coe_dmoerm._aggregator import Kind
from coe_dmoerm._answer_commands import calibrate_command, outcomes_command
from coe_dmoerm._command_parts import (
    BaseOption,
    ConfigOption,
    JsonOption,
    ModelArgument,
    embedders,
    open_model,
    print_json,
    write_rows,
)
from coe_dmoerm._evaluate import evaluate
from coe_dmoerm._items import read_data, read_items
from coe_dmoerm._label_command import label_command
from coe_dmoerm._model import TrainSettings, train
from coe_dmoerm._saved import write_model
from coe_dmoerm.lora._model import train_adapters
from coe_dmoerm.lora._train import LoraSettings

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Reward models in two layers (DMoERM), cascades and outcomes.",
)
app.command("label")(label_command)
app.command("calibrate")(calibrate_command)
app.command("outcomes")(outcomes_command)

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
    embedder: Annotated[
        str, typer.Option("--embedder", help="Entry-point name of an embedder (features).")
    ] = "static",
    base: BaseOption = None,
    steps: Annotated[
        int, typer.Option("--steps", min=1, help="Of a task's scorer; half as many of a capability (lora).")
    ] = 200,
    rank: Annotated[int, typer.Option("--rank", min=1, help="Of the adapters (lora).")] = 16,
    tokens: Annotated[
        int, typer.Option("--tokens", min=16, help="Longest prompt and answer together (lora).")
    ] = 512,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a reward model from preference pairs, ratings, or both."""
    if (backbone == "lora") != (base is not None):
        raise ConfigError("--backbone lora and --base FOLDER go together.")
    read = read_data(data)
    shown = Console(stderr=True, highlight=False)
    facts: dict[str, Any] = {
        "items": len(read.items),
        "pairs": len(read.pairs),
        "ties_left_out": read.ties,
        "seed": seed,
    }
    if base is not None:
        adapters = LoraSettings(steps=steps, aggregator=aggregator, seed=seed)
        heads, revision = train_adapters(read, base, (tokens, rank), adapters, out, facts, shown.print)
    else:
        vectors = embedders(context, config)(embedder, {})
        model = train(read, vectors, TrainSettings(aggregator=aggregator, seed=seed), say=shown.print)
        heads = {task: scorer.heads.names for task, scorer in model.scorers.items()}
        revision = write_model(out, model, (embedder, vectors.fingerprint), facts)
    if as_json:
        print_json({"model": str(out), "revision": revision, "tasks": heads, **facts})
        return
    print(f"{len(read.items)} answers, {len(read.pairs)} pairs, {read.ties} ties left out.")
    for task, names in heads.items():
        print(f"{task}: {', '.join(names)}")
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
    base: BaseOption = None,
    config: ConfigOption = None,
) -> None:
    """Write the reward of each answer: {item_id, reward, task, aspects} per line."""
    items = read_items(source)
    opened = open_model(context, model, config, base)
    scored = opened.model.score(items, correct_length=correct_length)
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
    base: BaseOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Judge a model on pairs and ratings that it was not trained on."""
    read = read_data(data)
    opened = open_model(context, model, config, base)
    scored = opened.model.score(read.items, correct_length=correct_length)
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
