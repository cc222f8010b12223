"""`coe kernels inspect` and `tune`: a model's sparse layers, and tiles for shapes that vLLM has none for."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from coe.errors import ConfigError, DataError, PluginError
from coe_kernels import tuned
from coe_kernels.checkpoint import SparseModel, read_model
from coe_kernels.cpu import Isa, Type, best_isa, library
from coe_kernels.inspection import DEVICES, costs
from coe_kernels.recorded import read_histograms
from coe_kernels.roofline import Device, Shape
from coe_kernels.select import LayerFacts, reason_against

ModelArgument = Annotated[
    Path, typer.Argument(metavar="MODEL", help="Folder of the model, or its config.json.")
]
HistogramOption = Annotated[
    Path | None,
    typer.Option(
        "--histogram",
        metavar="FILE",
        help="Recorded traffic: what `coe kernels status --url URL --json` printed.",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def inspect_command(
    model: ModelArgument,
    tokens: Annotated[str, typer.Option("--tokens", metavar="N,…", help="Batch sizes.")] = "1,8,32,512",
    device: Annotated[
        str | None,
        typer.Option("--device", help=f"For times: one of {', '.join(DEVICES)}.", show_default=False),
    ] = None,
    bandwidth: Annotated[
        float | None, typer.Option("--gb-s", min=0.1, help="Its memory's GB/s, instead.", show_default=False)
    ] = None,
    tflops: Annotated[
        float | None,
        typer.Option("--tflops", min=0.001, help="Its TFLOP/s, with --gb-s.", show_default=False),
    ] = None,
    histogram: HistogramOption = None,
    as_json: JsonOption = False,
) -> None:
    """What a model's sparse layers are, what they cost at least, and which kernel serves them here."""
    found = read_model(model)
    batches = _numbers(tokens)
    recorded = read_histograms(histogram, found.experts) if histogram else None
    rows = costs(found, batches, _device(device, bandwidth, tflops), recorded)
    kernel, reason = _kernel_here(found)
    if as_json:
        said: dict[str, Any] = {"model": dataclasses.asdict(found), "kernel": kernel, "reason": reason}
        print(json.dumps({**said, "costs": [dataclasses.asdict(row) for row in rows]}))
        return
    print(f"{found.architecture}: {len(found.sparse)} of {found.layers} layers are mixtures")
    print(
        f"each: {found.experts} experts, {found.top_k} per token, hidden {found.hidden}, intermediate "
        f"{found.intermediate}, {found.activation}, {found.dtype}"
        + (f", {found.shared} shared experts (dense)" if found.shared else "")
        + (f", quantised by {found.quantised}" if found.quantised else "")
    )
    print(f"on this CPU: {kernel}" + (f" ({reason})" if reason else ""))
    table = Table("tokens", "distinct experts", "MB", "GFLOP", "us at least", "bound by")
    for row in rows:
        us = "" if row.us is None else f"{row.us:,.1f}"
        table.add_row(
            str(row.tokens),
            f"{row.distinct:.1f}",
            f"{row.bytes_moved / 1e6:,.1f}",
            f"{row.flops / 1e9:,.2f}",
            us,
            row.bound or "",
        )
    Console().print(table)


def tune_command(
    model: ModelArgument,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for VLLM_TUNED_CONFIG_FOLDER.")],
    histogram: HistogramOption = None,
    transfer: Annotated[
        str | None,
        typer.Option(
            "--transfer",
            metavar="DEVICE",
            help="Time nothing: adapt what vLLM ships for this device, such as NVIDIA_H100_80GB_HBM3.",
            show_default=False,
        ),
    ] = None,
    shipped: Annotated[
        Path | None,
        typer.Option("--shipped", metavar="DIR", help="Where vLLM's files are.", show_default=False),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write tiles of vLLM's Triton kernel for a model, timed on this GPU or adapted from another shape."""
    found = read_model(model)
    shape = Shape(
        hidden=found.hidden, intermediate=found.intermediate, experts=found.experts, top_k=found.top_k
    )
    uses = _together(read_histograms(histogram, found.experts)) if histogram else None
    if transfer:
        device, origin = transfer, _shipped(found, transfer, shipped)
        source = tuned.read_table(origin.path)
        table = tuned.transferred(shape, source, origin.experts, None if uses is None else uses.tolist())
        how = f"adapted from {origin.path.name}, not timed"
    else:
        try:
            timing = importlib.import_module("coe_kernels.engine.tune")
        except ImportError as error:
            raise PluginError(
                f"this needs vLLM's environment: {error}", hint="run it where vLLM is installed"
            ) from error
        device = timing.device_name()
        table = timing.tune(shape, uses, typer.echo if not as_json else _silent)
        how = "timed on this device"
    path = tuned.write_table(out, found.experts, found.intermediate, device, table)
    if as_json:
        print(json.dumps({"file": str(path), "how": how, "batches": len(table)}))
        return
    print(f"{path}: {len(table)} batch sizes, {how}")
    print(f"use it: VLLM_TUNED_CONFIG_FOLDER={out}, or `tuned_configs: {out}` under `launch`")


def _silent(_line: str) -> None:
    """Nothing but the result is printed for programs."""


def _kernel_here(model: SparseModel) -> tuple[str, str | None]:
    """The kernel that this machine's CPU would take for the model in vLLM, and why not ours."""
    isa: Isa | None = None
    unavailable = ""
    try:
        isa = best_isa(library(), Type.BFLOAT16)
    except PluginError as error:
        unavailable = str(error)
    if model.quantised:
        return "vLLM's own", f"the weights are quantised by {model.quantised}"
    layer = LayerFacts(
        device="cpu",
        dtype=model.dtype,
        hidden=model.hidden,
        intermediate=model.intermediate,
        activation=model.activation,
        gated=True,
        biased=False,
        expert_parallel=False,
        batch_invariant=False,
        replaced="vLLM's",
        zentorch=importlib.util.find_spec("zentorch") is not None,
        lora=False,
    )
    reason = reason_against(layer, isa, unavailable)
    if reason is not None or isa is None:
        return "vLLM's own", reason
    return f"coe-kernels {isa.name}", None


def _device(name: str | None, bandwidth: float | None, tflops: float | None) -> Device | None:
    if bandwidth is not None and tflops is not None:
        return Device(bytes_per_us=bandwidth * 1e3, flops_per_us=tflops * 1e6)
    if bandwidth is not None or tflops is not None:
        raise ConfigError("--gb-s and --tflops belong together: give both")
    if name is None:
        return None
    try:
        return DEVICES[name.upper()]
    except KeyError:
        raise ConfigError(f"--device is {name!r}, expected one of {', '.join(DEVICES)}") from None


def _shipped(model: SparseModel, device: str, folder: Path | None) -> tuned.Shipped:
    if folder is None:
        spec = importlib.util.find_spec("vllm")
        if spec is None or not spec.submodule_search_locations:
            raise PluginError(
                "vLLM is not installed here, so its files are not", hint="name them by --shipped"
            )
        folder = Path(spec.submodule_search_locations[0]) / "model_executor/layers/fused_moe/configs"
    files = tuned.shipped(folder, device)
    origin = tuned.closest(files, model.experts, model.intermediate)
    if origin is None:
        raise DataError(f"{folder} has no file for unquantised experts on {tuned.device_in_names(device)}")
    return origin


def _together(histograms: dict[str, NDArray[np.int64]]) -> NDArray[np.int64]:
    """One histogram with each layer's shares in descending order: tiles depend on the skew, not on names."""
    shares = [np.sort(uses)[::-1] / uses.sum() for uses in histograms.values()]
    return np.rint(np.mean(shares, axis=0) * 1e6).astype(np.int64)


def _numbers(given: str) -> list[int]:
    try:
        batches = [int(one) for one in given.split(",")]
    except ValueError:
        batches = []
    if not batches or min(batches) < 1:
        raise ConfigError(f"--tokens is {given!r}, expected positive numbers with commas between")
    return batches
