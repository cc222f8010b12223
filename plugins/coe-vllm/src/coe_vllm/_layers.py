"""What coe-kernels counts in vLLM's workers, and how a server is started so that it can be asked. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from coe.contracts import SparseLayer
from coe_vllm._settings import Launch

_ARGUMENTS: Mapping[str, str] = {"worker_extension_cls": "coe_kernels.engine.worker.KernelsWorker"}
_ENVIRONMENT: Mapping[str, str] = {"VLLM_SERVER_DEV_MODE": "1"}
EVERY_S = 10.0
"""Between two questions: an answer takes the engine a turn, and has a number for each expert and layer."""


class _Layer(msgspec.Struct):
    layer: str
    kernel: str
    calls: int
    tokens: int
    histogram: tuple[int, ...]


class _Worker(msgspec.Struct):
    layers: list[_Layer]


class _Answer(msgspec.Struct):
    results: list[_Worker]


_answer = msgspec.json.Decoder(_Answer)


def counting(launch: Launch) -> Launch:
    """The launch of a server that can be asked; what the configuration says lies over it."""
    return launch.model_copy(
        update={"args": {**_ARGUMENTS, **launch.args}, "env": {**_ENVIRONMENT, **launch.env}}
    )


def parse(body: bytes) -> tuple[SparseLayer, ...]:
    """The first worker's layers: with tensor parallelism every worker sees the same tokens.

    Args:
        body: the answer to /collective_rpc, method `coe_kernels_status`.

    Raises:
        msgspec.DecodeError: it is something else.
    """
    workers = _answer.decode(body).results
    first = workers[0].layers if workers else []
    return tuple(
        SparseLayer(each.layer, each.kernel, each.calls, each.tokens, each.histogram) for each in first
    )
