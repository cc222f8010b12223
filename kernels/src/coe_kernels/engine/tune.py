"""Timing tiles of vLLM's Triton kernel on a GPU, with routings as they were recorded."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from vllm.model_executor.layers.fused_moe import override_config
from vllm.model_executor.layers.fused_moe.fused_moe import fused_experts

from coe.errors import PluginError
from coe_kernels import reference, tuned
from coe_kernels.engine.gpu.timing import captured, timed
from coe_kernels.roofline import Shape

ROUTINGS = 4
REPEATS = 20


def device_name() -> str:
    """The GPU's name.

    Raises:
        PluginError: there is none.
    """
    if not torch.cuda.is_available():
        raise PluginError(
            "timing needs a CUDA device, and there is none here",
            hint="--transfer adapts a file that vLLM ships, without timing",
        )
    return torch.cuda.get_device_name()


def tune(shape: Shape, histogram: NDArray[np.int64] | None, said: Callable[[str], None]) -> tuned.Table:
    """The fastest tile for each batch size.

    Args:
        shape: of the layer, bfloat16.
        histogram: int64[experts], recorded uses; uniform if None.
        said: is told each finding.
    """
    probabilities = np.ones(shape.experts) if histogram is None else histogram + 0.5
    layer = _layer(shape)
    table: dict[int, tuned.Config] = {}
    for batch in tuned.BATCHES:
        routings = [
            reference.drawn(probabilities, batch, shape.top_k, np.random.default_rng(batch + seed))
            for seed in range(ROUTINGS)
        ]
        calls = _calls(layer, batch, routings)
        options = list(tuned.candidates(batch))
        timed = ((index, _time(calls, config)) for index, config in enumerate(options))
        times = {index: us for index, us in timed if us is not None}
        best = min(times, key=times.__getitem__)
        table[batch] = options[best]
        said(f"{batch} tokens: {times[best]:.1f} us with {dict(options[best])} of {len(times)}")
    return table


def _layer(shape: Shape) -> tuple[torch.Tensor, torch.Tensor]:
    make = {"dtype": torch.bfloat16, "device": "cuda"}
    w13 = torch.randn(shape.experts, 2 * shape.intermediate, shape.hidden, **make).mul_(shape.hidden**-0.5)
    w2 = torch.randn(shape.experts, shape.hidden, shape.intermediate, **make).mul_(shape.intermediate**-0.5)
    return w13, w2


def _calls(
    layer: tuple[torch.Tensor, torch.Tensor], batch: int, routings: list[reference.Routing]
) -> list[Callable[[], torch.Tensor]]:
    x = torch.randn(batch, layer[0].shape[2], dtype=torch.bfloat16, device="cuda")
    on_gpu = [(torch.from_numpy(one.weights).cuda(), torch.from_numpy(one.ids).cuda()) for one in routings]
    return [lambda w=weights, i=ids: fused_experts(x, *layer, w, i) for weights, ids in on_gpu]


def _time(calls: list[Callable[[], torch.Tensor]], config: Mapping[str, int]) -> float | None:
    """Microseconds of one call, of a CUDA graph of all; None where the tile does not launch."""
    from triton.runtime.errors import OutOfResources

    with override_config(dict(config)):
        try:
            graph = captured(calls)
        except OutOfResources:
            return None
    return statistics.median(timed(graph.replay) for _ in range(REPEATS)) / len(calls)
