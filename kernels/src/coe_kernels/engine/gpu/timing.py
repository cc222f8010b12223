"""How long calls take on a GPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch


def captured(calls: Sequence[Callable[[], object]]) -> torch.cuda.CUDAGraph:
    """A CUDA graph of the calls, each of which is made once before."""
    for call in calls:
        call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for call in calls:
            call()
    return graph


def timed(call: Callable[[], object]) -> float:
    """Microseconds that the device is busy with a call."""
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    call()
    end.record()
    end.synchronize()
    return 1000 * start.elapsed_time(end)
