"""`coe adapters`: find LoRA adapters in a folder, merge several into one."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated, cast

import typer
from rich.console import Console
from rich.table import Table

from coe.errors import ConfigError, DataError
from coe_vllm._adapters import base_facts, misfit, read_adapter
from coe_vllm.merging import (
    Method,
    Question,
    answers_kept,
    documents,
    merge,
    read_lora,
    router_weights,
    usage_weights,
    write_lora,
)

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.callback()
def _root() -> None:
    """LoRA adapters: find those that fit a base model, merge several into one."""


@app.command()
def find(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder with a folder for each adapter.")],
    base: Annotated[str, typer.Option("--base", metavar="EXPERT", help="The `vllm` expert to put them on.")],
    model: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The base model's folder, to check the shapes.", show_default=False),
    ] = None,
    max_rank: Annotated[
        int | None, typer.Option(metavar="R", help="`max_lora_rank` of the server.", show_default=False)
    ] = None,
) -> None:
    """Print the adapters of a folder as experts for a configuration; for others, why they do not fit."""
    facts = base_facts(model or folder, frozenset({model.name}) if model else frozenset[str](), max_rank)
    typer.echo("experts:")
    for config in sorted(folder.glob("*/adapter_config.json")):
        path = config.parent
        try:
            adapter = read_adapter(path)
        except ConfigError as error:
            typer.echo(f"  # {path.name}: {error.message}")
            continue
        if (why := misfit(adapter, facts, "any")) is not None:
            typer.echo(f"  # {path.name}: {why}")
            continue
        name = json.dumps(path.name)
        typer.echo(f"  {name}: {{kind: adapter, base: {json.dumps(base)}, path: {json.dumps(str(path))}}}")


@app.command(name="merge")
def merge_command(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder of the merged adapter; must not exist.")],
    adapters: Annotated[list[Path], typer.Argument(metavar="ADAPTER...", help="Folders of adapters.")],
    weight: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=NUMBER", help="Weight of an adapter, named by its folder; may be repeated."
        ),
    ] = None,
    usage: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Requests by expert as weights: {name: count}, or what `coe journal stats --json` prints.",
            show_default=False,
        ),
    ] = None,
    router: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Decisions whose router probabilities are the weights: `coe journal tail --json` or "
            "`coe route --json`.",
            show_default=False,
        ),
    ] = None,
    rank: Annotated[
        int | None,
        typer.Option(min=1, metavar="R", help="Rank of the result; that of the largest part by default."),
    ] = None,
    method: Annotated[
        Method,
        typer.Option(
            help="sum: closest to the weighted sum of the changes. aligned: average of the factors, turned "
            "to match first. parameters: average of the factors as they are."
        ),
    ] = "sum",
    prompts: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Compare answers on these: one JSON object a line with `prompt`, and `adapter` and `answer` "
            "where they are meant for one. Needs --model.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The base model's folder.", show_default=False)
    ] = None,
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest answer that is compared.")] = 32,
    as_json: JsonOption = False,
) -> None:
    """Merge adapters of one base model by router weights or by usage, and say what is lost."""
    if (prompts is None) != (model is None):
        raise DataError("Comparing answers takes both --prompts and --model.")
    questions = _questions(prompts) if prompts is not None else []
    named = {path.name: path for path in adapters}
    if len(named) < len(adapters):
        raise DataError("Two adapters have folders of the same name: rename one.")
    if out.exists():
        raise DataError(f"{out} exists already.", hint="Name a folder that does not.")
    loras = {name: read_lora(path) for name, path in named.items()}
    weights = _weights(list(named), weight or [], usage, router)
    widest = max(delta.rank for lora in loras.values() for delta in lora.deltas.values())
    merged = merge(loras, weights, rank=rank or widest, method=method)
    write_lora(out, merged.lora)
    rows = {**merged.parts, "(weighted sum)": merged.sum}
    kept = answers_kept(model, named, out, questions, max_tokens) if model is not None else {}
    if as_json:
        losses = {name: {"distance": loss.distance, "cosine": loss.cosine} for name, loss in rows.items()}
        answers = {name: dataclasses.asdict(each) for name, each in kept.items()}
        typer.echo(json.dumps({"out": str(out), "weights": weights, "lost": losses, "answers": answers}))
        return
    table = Table(
        "of", "weight", "distance", "cosine", title="What the merged adapter keeps", title_justify="left"
    )
    for name, loss in rows.items():
        share = f"{weights[name]:.4g}" if name in weights else ""
        table.add_row(name, share, f"{loss.distance:.3f}", f"{loss.cosine:.3f}")
    Console().print(table)
    if not kept:
        typer.echo(f"{out}: compare its answers by --prompts and --model before you replace the parts.")
        return
    table = Table(
        "answers of", "log-likelihood a token", "merged", "base", "agreement", "base", "whole answers"
    )
    for name, each in kept.items():
        table.add_row(
            name,
            *(f"{value:.3f}" for value in (each.own, each.merged, each.base)),
            *(f"{share:.0%}" for share in (each.agreement, each.base_agreement, each.whole)),
        )
    Console().print(table)
    typer.echo(
        "Teacher-forced: agreement is the share of tokens that would be chosen too after the same beginning."
    )


def _questions(path: Path) -> list[Question]:
    try:
        rows = documents(path.read_text())
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}.") from None
    questions: list[Question] = []
    for number, row in enumerate(rows, 1):
        texts = {name: row.get(name) for name in ("prompt", "adapter", "answer")}
        if not texts["prompt"] or any(not isinstance(each, str | None) for each in texts.values()):
            raise DataError(f"{path}, object {number}: expected `prompt`, and texts only.")
        questions.append(Question(str(texts["prompt"]), texts["adapter"], texts["answer"]))
    return questions


def _weights(names: list[str], given: list[str], usage: Path | None, router: Path | None) -> dict[str, float]:
    if sum((bool(given), usage is not None, router is not None)) > 1:
        raise DataError("Give one of --weight, --usage and --router.")
    if usage is not None or router is not None:
        path = cast("Path", usage or router)
        try:
            found = documents(path.read_text())
            return router_weights(names, found) if router else usage_weights(names, found[0])
        except (OSError, ValueError, IndexError) as error:
            raise DataError(f"{path} cannot be read: {error}.") from None
        except DataError as error:
            raise DataError(f"{path}: {error.message}") from None
    weights = dict.fromkeys(names, 1.0)
    for each in given:
        name, _, number = each.partition("=")
        if name not in weights:
            raise DataError(f"--weight {each}: no adapter's folder is called `{name}`.")
        try:
            weights[name] = float(number)
        except ValueError:
            raise DataError(f"--weight {each}: expected NAME=NUMBER.") from None
    return weights
