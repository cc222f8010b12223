"""`coe plan`: which experts fit a machine, and how fast they can be."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, cast

import typer
from rich.console import Console
from rich.table import Table

from coe.errors import DataError
from coe_vllm._model import Size, read_size, size_of
from coe_vllm.capacity import Machine, Plan, Traffic, measure, plan_capacity

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def command(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME=MODEL...",
            help="Experts: a model's folder or config.json, or billions of parameters (`7`, `30/3`).",
        ),
    ],
    memory_gb: Annotated[float, typer.Option(min=0.001, help="Memory for weights and caches.")],
    bandwidth_gb_s: Annotated[
        float | None, typer.Option(min=0.001, help="Bandwidth of that memory.", show_default=False)
    ] = None,
    tflops: Annotated[
        float | None,
        typer.Option(min=0.001, help="Arithmetic at the weights' precision.", show_default=False),
    ] = None,
    probe: Annotated[
        Path | None,
        typer.Option(
            metavar="PYTHON",
            help="Measure this machine's CPU instead, for a few seconds, with a Python that has torch.",
            show_default=False,
        ),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Of each server, for --probe.")] = 1,
    step_ms: Annotated[
        float, typer.Option(min=0, help="What the engine takes of each step besides, in milliseconds.")
    ] = 0.0,
    efficiency: Annotated[
        float, typer.Option(min=0.01, max=1, help="Share of both peaks that is reached.")
    ] = 0.6,
    rate: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=NUMBER", help="Requests per second of an expert; 1 by default."),
    ] = None,
    prompt_tokens: Annotated[float, typer.Option(min=1, help="Mean tokens of a prompt.")] = 500,
    output_tokens: Annotated[float, typer.Option(min=1, help="Mean tokens of an answer.")] = 200,
    max_batch: Annotated[int, typer.Option(min=1, help="`max_num_seqs` of the servers.")] = 256,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Estimate which experts fit a machine at once, their tokens per second, and what bounds them."""
    sizes = {name: _size(name, text) for name, text in map(_pair, models)}
    rates = dict.fromkeys(sizes, 1.0) | {name: _number(name, text) for name, text in map(_pair, rate or [])}
    if unknown := sorted(rates.keys() - sizes.keys()):
        raise DataError(f"--rate {unknown[0]}: there is no expert of that name.")
    if probe is not None:
        if bandwidth_gb_s is not None or tflops is not None or step_ms:
            raise DataError("Give either --probe, or --bandwidth-gb-s, --tflops and --step-ms.")
        machine = _measured(probe, sizes, threads, memory_gb)
    elif bandwidth_gb_s is None or tflops is None:
        raise DataError("A plan needs --bandwidth-gb-s and --tflops, or --probe to measure both here.")
    else:
        machine = Machine(
            memory_gb=memory_gb,
            bandwidth_gb_s=bandwidth_gb_s,
            tflops=tflops,
            efficiency=efficiency,
            step_ms=step_ms,
        )
    traffic = {
        name: Traffic(requests_per_s=rates[name], prompt_tokens=prompt_tokens, output_tokens=output_tokens)
        for name in sizes
    }
    plan = plan_capacity(sizes, machine, traffic, max_batch=max_batch)
    if as_json:
        typer.echo(json.dumps({"machine": dataclasses.asdict(machine), **_document(plan)}))
        return
    table = Table("expert", "GB", "cache", "batch", "tok/s", "full", "prompts", "busy", "bounded by")
    for name, each in plan.awake.items():
        table.add_row(
            name,
            f"{each.weights_gb:.1f}",
            f"{each.cache_gb:.1f}",
            str(each.batch),
            f"{each.tokens_per_s_alone:.0f}",
            f"{each.tokens_per_s:.0f}",
            f"{each.prompt_tokens_per_s:.0f}",
            f"{each.busy:.0%}" if math.isfinite(each.busy) else "cannot",
            each.bottleneck,
        )
    Console().print(table)
    typer.echo("GB of weights and cache; tokens a second of one request alone, of a full batch, of prompts.")
    for name in plan.asleep:
        typer.echo(f"{name}: no room beside the others; it sleeps until it is asked.")
    typer.echo(_assumptions(machine, probe is not None))
    busy = sum(each.busy for each in plan.awake.values())
    if len(plan.awake) > 1 and math.isfinite(busy):
        typer.echo(
            f"Together they are busy {busy:.0%} of the time{'; they cannot keep up' if busy > 1 else ''}."
        )


def _measured(python: Path, sizes: Mapping[str, Size], threads: int, memory_gb: float) -> Machine:
    largest = max(sizes.values(), key=lambda size: size.active_params_b)
    if not largest.hidden_size:
        raise DataError("--probe needs the shape of the largest model: give its folder or config.json.")
    return measure(python, largest.hidden_size, threads).machine(memory_gb)


def _assumptions(machine: Machine, measured: bool) -> str:
    if measured:
        found = (
            f"Measured here: {machine.bandwidth_gb_s:.1f} GB/s, {machine.tflops:.2f} TFLOP/s in bfloat16; "
            f"vLLM adds {machine.step_ms:.1f} ms to each step and {machine.layer_us / 1e3:.2f} ms to a layer."
        )
    else:
        found = (
            f"Upper bounds at {machine.efficiency:.0%} of both peaks, with {machine.step_ms:g} ms of the "
            "engine in each step."
        )
    return (
        f"{found} Weights are read once per step, experts of a mixture are chosen evenly and independently, "
        "prompts are read one after the other, each model has the machine to itself while it runs, and no "
        "adapters are used."
    )


def _pair(text: str) -> tuple[str, str]:
    name, found, value = text.partition("=")
    if not found or not name or not value:
        raise DataError(f"`{text}`: expected NAME=VALUE.")
    return name, value


def _number(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise DataError(f"{name}={text}: expected a number of at least 0.")
    return value


def _size(name: str, text: str) -> Size:
    path = Path(text)
    if path.is_dir():
        found = read_size(path)
    elif path.is_file():
        raw: Any = json.loads(path.read_text())
        found = size_of(cast("dict[str, Any]", raw)) if isinstance(raw, dict) else None
    else:
        total, _, active = text.partition("/")
        params_b = _number(name, total)
        active_b = _number(name, active) if active else params_b
        # The cache is guessed from dense models of that size: 8 heads of 128, 2 bytes a number.
        layers = max(8, round(32 * (active_b / 7) ** (1 / 3)))
        return Size(
            params_b=params_b, active_params_b=active_b, kv_bytes_per_token=4096 * layers, layers=layers
        )
    if found is None:
        raise DataError(f"{name}={text}: no configuration of a model whose size can be told.")
    return found


def _document(plan: Plan) -> dict[str, Any]:
    awake = {name: dataclasses.asdict(each) for name, each in plan.awake.items()}
    for each in awake.values():
        each["busy"] = each["busy"] if math.isfinite(each["busy"]) else None
    return {"awake": awake, "asleep": list(plan.asleep)}
