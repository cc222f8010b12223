"""Our Triton kernels and vLLM's, turn by turn on a GPU, as CUDA graphs of several layers and routings."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from coe.errors import PluginError
from coe_kernels import reference
from coe_kernels.engine.bench import LAYERS, ROUTINGS, Row, weights
from coe_kernels.engine.gpu.launch import FEW_TOKENS
from coe_kernels.engine.gpu.timing import captured, timed
from coe_kernels.roofline import Device, Shape, floor

READ_BYTES = 1 << 30
PRODUCT = 8192

Layer = tuple[torch.Tensor, torch.Tensor]
RoutingOnDevice = tuple[torch.Tensor, torch.Tensor]
"""Weights and ids."""


def rows(shape: Shape, batches: Sequence[int], *, seconds: float, skew: str = "uniform") -> Iterator[Row]:
    """Measures each batch size in bfloat16; fields as of `coe_kernels.engine.bench.Row`, which tells times of
    the GPU here.

    Args:
        shape: of the layer.
        batches: numbers of tokens.
        seconds: to spend on each, about.
        skew: a routing of `coe_kernels.reference.ROUTINGS`.

    Raises:
        PluginError: there is no GPU.
    """
    if not torch.cuda.is_available():
        raise PluginError("there is no CUDA device here", hint="leave --gpu out to measure the CPU")
    generator = torch.Generator().manual_seed(0)
    layers = [tuple(one.cuda() for one in weights(shape, generator)) for _ in range(LAYERS)]
    for tokens in batches:
        drawn = [
            reference.ROUTINGS[skew](
                tokens, shape.experts, shape.top_k, np.random.default_rng(1000 * tokens + seed)
            )
            for seed in range(ROUTINGS)
        ]
        routings = [(torch.from_numpy(one.weights).cuda(), torch.from_numpy(one.ids).cuda()) for one in drawn]
        x = torch.randn(tokens, shape.hidden, generator=generator).bfloat16().cuda()
        ours, theirs = our_layer(x, shape), _vllm_layer(x)
        wanted = theirs(layers[0], routings[0]).float()
        error = float((ours(layers[0], routings[0]).float() - wanted).abs().max() / wanted.abs().max())
        graphs = [_graph(call, layers, routings) for call in (ours, theirs)]
        times = _turns(graphs, seconds)
        distinct = statistics.mean(len(set(one.ids.ravel().tolist())) for one in drawn)
        least = floor(shape, tokens, measure_device(), distinct)
        ratios = times[1] / times[0]
        us = float(np.median(times[0]))
        yield Row(
            device=torch.cuda.get_device_name(),
            dtype="bfloat16",
            tokens=tokens,
            hidden=shape.hidden,
            intermediate=shape.intermediate,
            experts=shape.experts,
            top_k=shape.top_k,
            us=us,
            ratio_vllm=float(np.median(ratios)),
            ratio_zentorch=None,
            floor_fraction=least.us / us,
            kernel="decode" if tokens <= FEW_TOKENS else "grouped",
            vllm_isa="TritonExperts",
            us_vllm=float(np.median(times[1])),
            ratio_low=float(np.quantile(ratios, 0.1)),
            ratio_high=float(np.quantile(ratios, 0.9)),
            ratio_vec=None,
            ratio_bfloat16=None,
            floor_us=least.us,
            error=error,
        )


def measure_device() -> Device:
    """The GPU's memory bandwidth and bfloat16 matrix rate, by reading 1 GB and a product of 8,192³."""
    memory = torch.ones(READ_BYTES // 4, device="cuda")
    square = torch.ones(PRODUCT, PRODUCT, dtype=torch.bfloat16, device="cuda")
    read = min(timed(memory.sum) for _ in range(5))
    product = min(timed(lambda: square @ square) for _ in range(5))
    return Device(bytes_per_us=READ_BYTES / read, flops_per_us=2 * PRODUCT**3 / product)


def our_layer(
    x: torch.Tensor, shape: Shape, *, upcast: bool = False
) -> Callable[[Layer, RoutingOnDevice], torch.Tensor]:
    """Our layer as vLLM's class runs it, grouping and the last sum included."""
    from coe_kernels.engine.gpu.layer import run_layer  # vLLM's Triton is not there on a CPU

    tokens = x.shape[0]
    inner = torch.empty((tokens * shape.top_k, shape.intermediate), dtype=x.dtype, device=x.device)
    answers = None
    if tokens > FEW_TOKENS:
        answers = torch.empty((tokens, shape.top_k, shape.hidden), dtype=x.dtype, device=x.device)
    out = torch.empty_like(x)

    def call(layer: Layer, routing: RoutingOnDevice) -> torch.Tensor:
        run_layer(out, x, *layer, *routing, inner, answers, upcast=upcast)
        return out

    return call


def _vllm_layer(x: torch.Tensor) -> Callable[[Layer, RoutingOnDevice], torch.Tensor]:
    from vllm.model_executor.layers.fused_moe.fused_moe import fused_experts

    return lambda layer, routing: fused_experts(x, *layer, *routing)


def _graph(call: Any, layers: Sequence[Any], routings: Sequence[RoutingOnDevice]) -> torch.cuda.CUDAGraph:
    return captured([partial(call, layers[turn % LAYERS], routings[turn]) for turn in range(ROUTINGS)])


def _turns(graphs: Sequence[torch.cuda.CUDAGraph], seconds: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Microseconds of one call, float64[graphs, turns]."""
    times: list[list[float]] = []
    until = time.monotonic() + seconds
    while len(times) < 5 or time.monotonic() < until:
        times.append([timed(graph.replay) / ROUTINGS for graph in graphs])
    return np.array(times).T
