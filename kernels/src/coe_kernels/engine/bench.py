"""Our layer and vLLM's, turn by turn in one process, in the thread's CPU time."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from vllm import _custom_ops as vllm_ops

from coe_kernels import reference
from coe_kernels.cpu import Isa, Type, best_isa, library
from coe_kernels.engine import ops
from coe_kernels.roofline import Device, Shape, floor

LAYERS = 3
"""Different weights, used in turn as a model's layers are, so that no cache holds them."""
ROUTINGS = 7
READ_BYTES = 1 << 28

Call = Callable[[int, int], torch.Tensor]
"""Runs layer number … with routing number …."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One size. Times are medians of CPU time in microseconds; ratios, theirs by ours, medians of turns.

    Attributes:
        kernel: our instruction set.
        ratio_vllm: against the class that vLLM chooses on this machine, `vllm_isa`.
        ratio_low, ratio_high: the 10th and 90th percentile of `ratio_vllm`'s turns.
        ratio_vec: against vLLM's portable vector kernel; None on a GPU.
        ratio_bfloat16: of weights of 8 bits against ours of bfloat16; None where ours are that.
        floor_fraction: the roofline's time / ours.
        error: largest difference to vLLM's output, relative to its largest value.
    """

    device: str
    dtype: str
    tokens: int
    hidden: int
    intermediate: int
    experts: int
    top_k: int
    us: float
    ratio_vllm: float
    ratio_zentorch: float | None
    floor_fraction: float
    kernel: str
    vllm_isa: str
    us_vllm: float
    ratio_low: float
    ratio_high: float
    ratio_vec: float | None
    ratio_bfloat16: float | None
    floor_us: float
    error: float


def measure_device() -> Device:
    """One thread's memory bandwidth and bfloat16 matrix rate, by reading 256 MB and a product of 1,024³."""
    memory = np.ones(READ_BYTES // 8, np.uint64)
    left, right = torch.ones(1024, 1024, dtype=torch.bfloat16), torch.ones(1024, 1024, dtype=torch.bfloat16)
    torch.mm(left, right)
    read = min(_timed(lambda: library().read(memory.ctypes.data, memory.size)) for _ in range(5))
    product = min(_timed(lambda: torch.mm(left, right)) for _ in range(9))
    return Device(bytes_per_us=READ_BYTES / read, flops_per_us=2 * 1024**3 / product)


def rows(
    shape: Shape,
    batches: Sequence[int],
    *,
    seconds: float,
    skew: str = "uniform",
    isa: Isa | None = None,
    int8: bool = False,
) -> Iterator[Row]:
    """Measures each batch size.

    Args:
        shape: of the layer, in bfloat16.
        batches: numbers of tokens.
        seconds: to spend on each, about.
        skew: a routing of `coe_kernels.reference.ROUTINGS`.
        isa: our instruction set; the fastest if None.
        int8: our weights are of 8 bits.
    """
    torch.set_num_threads(1)
    used = best_isa(library(), Type.BFLOAT16) if isa is None else isa
    default = "amx" if torch.cpu._is_amx_tile_supported() else "vec"
    generator = torch.Generator().manual_seed(0)
    plain = [weights(shape, generator) for _ in range(LAYERS)]
    ours = [_packed(ops.pack, pair) for pair in plain]
    rounded = [_packed(ops.pack_int8, pair) for pair in plain] if int8 else None
    floors = dataclasses.replace(shape, weight_bytes=1.125) if int8 else shape
    theirs = {
        name: [tuple(vllm_ops.cpu_prepack_moe_weight(weight, name) for weight in pair) for pair in plain]
        for name in sorted({default, "vec"})
    }
    for tokens in batches:
        drawn = [
            reference.ROUTINGS[skew](
                tokens, shape.experts, shape.top_k, np.random.default_rng(1000 * tokens + seed)
            )
            for seed in range(ROUTINGS)
        ]
        routings = [(torch.from_numpy(one.weights), torch.from_numpy(one.ids)) for one in drawn]
        x = torch.randn(tokens, shape.hidden, generator=generator).bfloat16()
        calls = {"ours": _ours(x, rounded or ours, routings, shape, used)}
        if rounded is not None:
            calls["bfloat16"] = _ours(x, ours, routings, shape, used)
        calls |= {name: _vllm(x, packed, routings, name) for name, packed in theirs.items()}
        wanted = calls["vec"](0, 0).float()
        error = float((calls["ours"](0, 0).float() - wanted).abs().max() / wanted.abs().max())
        times = _turns(calls, seconds)
        # The machine's speed changes with what its neighbours do: the floor is measured beside the times.
        device = measure_device()
        distinct = statistics.mean(len(set(one.ids.ravel().tolist())) for one in drawn)
        least = floor(floors, tokens, device, distinct)
        ratios = np.array(times[default]) / np.array(times["ours"])
        us = statistics.median(times["ours"])
        yield Row(
            device="cpu",
            dtype="int8 weights" if int8 else "bfloat16",
            tokens=tokens,
            hidden=shape.hidden,
            intermediate=shape.intermediate,
            experts=shape.experts,
            top_k=shape.top_k,
            us=us,
            ratio_vllm=float(np.median(ratios)),
            ratio_zentorch=None,
            floor_fraction=least.us / us,
            kernel=used.name,
            vllm_isa=default,
            us_vllm=statistics.median(times[default]),
            ratio_low=float(np.quantile(ratios, 0.1)),
            ratio_high=float(np.quantile(ratios, 0.9)),
            ratio_vec=float(np.median(np.array(times["vec"]) / np.array(times["ours"]))),
            ratio_bfloat16=float(np.median(np.array(times["bfloat16"]) / np.array(times["ours"])))
            if int8
            else None,
            floor_us=least.us,
            error=error,
        )


def _packed(
    pack: Callable[..., torch.Tensor], pair: tuple[torch.Tensor, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    return pack(pair[0], interleaved=True), pack(pair[1], interleaved=False)


def weights(shape: Shape, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Random gate, up and down matrices of a layer, bfloat16, that keep values near one."""
    w13 = torch.randn(shape.experts, 2 * shape.intermediate, shape.hidden, generator=generator)
    w2 = torch.randn(shape.experts, shape.hidden, shape.intermediate, generator=generator)
    return w13.mul_(shape.hidden**-0.5).bfloat16(), w2.mul_(shape.intermediate**-0.5).bfloat16()


def _ours(x: torch.Tensor, packed: Sequence[Any], routings: Sequence[Any], shape: Shape, isa: Isa) -> Call:
    out = torch.empty_like(x)

    def call(layer: int, routing: int) -> torch.Tensor:
        w13, w2 = packed[layer]
        weights, ids = routings[routing]
        ops.run(out, x, w13, w2, weights, ids, shape.intermediate, shape.experts, -1, isa)
        return out

    return call


def _vllm(x: torch.Tensor, packed: Sequence[Any], routings: Sequence[Any], isa: str) -> Call:
    out = torch.empty_like(x)

    def call(layer: int, routing: int) -> torch.Tensor:
        w13, w2 = packed[layer]
        weights, ids = routings[routing]
        vllm_ops.cpu_fused_moe(out, x, w13, w2, None, None, weights, ids, "silu", isa, False)
        return out

    return call


def _turns(calls: dict[str, Call], seconds: float) -> dict[str, list[float]]:
    """Microseconds by turn. Each has its turn with another layer and routing than the one before it."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    until, turn = time.monotonic() + seconds, 0
    while turn < 5 or time.monotonic() < until:
        for place, (name, call) in enumerate(calls.items()):
            layer, routing = (turn + place) % LAYERS, (turn + 3 * place) % ROUTINGS
            times[name].append(_timed(lambda call=call, layer=layer, routing=routing: call(layer, routing)))
        turn += 1
    return times


def _timed(call: Callable[[], object]) -> float:
    started = time.thread_time_ns()
    call()
    return (time.thread_time_ns() - started) / 1000
