"""What a machine can serve, estimated from sizes, bandwidth and arithmetic. Pure.

A roofline as in MoE-Lens (arXiv 2504.09345): a decoding step reads every weight that any token of the batch
needs, and the cache of every token, and computes two operations per active parameter and token; the slower of
both bounds it. What an engine adds to that comes on top: so much for each step, each layer, each request.
Assumptions: weights are read once per step; experts of a mixture are chosen independently and evenly; all
bandwidth and arithmetic go to this model, with the efficiency that `Machine` states; prompts are read one
after the other. Without the engine's part estimates are upper bounds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from coe_vllm._model import Size

Bottleneck = Literal[
    "bandwidth: weights", "bandwidth: cache", "arithmetic", "engine", "memory: no room for a cache"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """One accelerator, or several as one.

    Attributes:
        memory_gb: for weights and caches.
        bandwidth_gb_s: of that memory.
        tflops: at the precision of the weights.
        efficiency: share of both peaks that real kernels reach.
        step_ms, layer_us, request_us, request_layer_us: what the engine takes besides reading and
            multiplying: of every step, of every layer in it, of every request in it, of every request in
            every layer.
    """

    memory_gb: float
    bandwidth_gb_s: float
    tflops: float
    efficiency: float = 0.6
    step_ms: float = 0.0
    layer_us: float = 0.0
    request_us: float = 0.0
    request_layer_us: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What one expert is asked.

    Attributes:
        requests_per_s: of this expert.
        prompt_tokens, output_tokens: means per request.
    """

    requests_per_s: float
    prompt_tokens: float
    output_tokens: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What one expert can do with the memory that it has.

    Attributes:
        weights_gb, cache_gb: memory.
        batch: requests decoded at once, as the cache allows and the traffic asks.
        tokens_per_s_alone: of one request by itself.
        tokens_per_s: of a full batch, output tokens.
        prompt_tokens_per_s: of reading prompts of that length.
        busy: share of its time that its traffic takes; above 1 it cannot keep up.
        bottleneck: what bounds a full batch.
    """

    weights_gb: float
    cache_gb: float
    batch: int
    tokens_per_s_alone: float
    tokens_per_s: float
    prompt_tokens_per_s: float
    busy: float
    bottleneck: Bottleneck


@dataclass(frozen=True, slots=True)
class Plan:
    """Which experts are awake at once, and what each can do. `asleep` have no room beside the others."""

    awake: Mapping[str, Estimate]
    asleep: tuple[str, ...]


def weights_read_b(size: Size, batch: int) -> float:
    """Billions of weights that a step over `batch` tokens reads; of a mixture, every expert once chosen."""
    if not size.experts:
        return size.active_params_b
    missed = (1 - size.experts_per_token / size.experts) ** batch
    unique = size.experts * (1 - missed)
    return size.active_params_b + (unique - size.experts_per_token) * size.expert_params_b


def step_s(size: Size, machine: Machine, batch: int, context_tokens: float) -> tuple[float, Bottleneck]:
    """Seconds of one decoding step of `batch` requests with so many tokens each, and what bounds it."""
    bandwidth = machine.bandwidth_gb_s * 1e9 * machine.efficiency
    weights_s = weights_read_b(size, batch) * 1e9 * size.bytes_per_param / bandwidth
    cache_s = batch * context_tokens * size.kv_bytes_per_token / bandwidth
    compute_s = _compute_s(machine, size.active_params_b * batch)
    engine_s = _engine_s(size, machine, batch)
    kernels_s = max(compute_s, weights_s + cache_s)
    if engine_s > kernels_s:
        return engine_s + kernels_s, "engine"
    if compute_s > weights_s + cache_s:
        return engine_s + kernels_s, "arithmetic"
    return engine_s + kernels_s, "bandwidth: weights" if weights_s >= cache_s else "bandwidth: cache"


def prompt_s(size: Size, machine: Machine, tokens: float) -> float:
    """Seconds to read one prompt: a step that computes every token of it, and reads all that they need."""
    bandwidth = machine.bandwidth_gb_s * 1e9 * machine.efficiency
    weights_s = weights_read_b(size, math.ceil(tokens)) * 1e9 * size.bytes_per_param / bandwidth
    passed_b = (size.active_params_b - size.head_params_b) * tokens + size.head_params_b
    return _engine_s(size, machine, 1) + max(_compute_s(machine, passed_b), weights_s)


def _compute_s(machine: Machine, passed_b: float) -> float:
    """Of so many billions of parameters that tokens pass through, summed over tokens."""
    return 2 * passed_b * 1e9 / (machine.tflops * 1e12 * machine.efficiency)


def _engine_s(size: Size, machine: Machine, batch: int) -> float:
    layer_us = machine.layer_us + batch * machine.request_layer_us
    return machine.step_ms / 1e3 + (size.layers * layer_us + batch * machine.request_us) / 1e6


def estimate(
    size: Size, machine: Machine, traffic: Traffic, memory_gb: float, max_batch: int = 256
) -> Estimate:
    """What an expert can do with `memory_gb` of the machine's memory to itself.

    Args:
        size: of the model.
        machine: where it runs.
        traffic: what it is asked.
        memory_gb: for its weights and its cache.
        max_batch: most requests at once (`max_num_seqs`).
    """
    weights_gb = size.params_b * size.bytes_per_param
    context = traffic.prompt_tokens + traffic.output_tokens / 2
    most_tokens = traffic.prompt_tokens + traffic.output_tokens
    cache_gb = memory_gb - weights_gb
    per_request_gb = most_tokens * size.kv_bytes_per_token / 1e9
    room = int(cache_gb / per_request_gb) if cache_gb > 0 and per_request_gb > 0 else 0
    batch = min(max_batch, room)
    alone_s, _ = step_s(size, machine, 1, context)
    prompts = traffic.prompt_tokens / prompt_s(size, machine, traffic.prompt_tokens)
    if batch < 1:
        return Estimate(
            weights_gb=weights_gb,
            cache_gb=max(0.0, cache_gb),
            batch=0,
            tokens_per_s_alone=0.0,
            tokens_per_s=0.0,
            prompt_tokens_per_s=prompts,
            busy=float("inf") if traffic.requests_per_s else 0.0,
            bottleneck="memory: no room for a cache",
        )
    full_s, bottleneck = step_s(size, machine, batch, context)
    rate = batch / full_s
    busy = traffic.requests_per_s * (traffic.output_tokens / rate + traffic.prompt_tokens / prompts)
    return Estimate(
        weights_gb=weights_gb,
        cache_gb=cache_gb,
        batch=batch,
        tokens_per_s_alone=1 / alone_s,
        tokens_per_s=rate,
        prompt_tokens_per_s=prompts,
        busy=busy,
        bottleneck=bottleneck,
    )


def plan_capacity(
    sizes: Mapping[str, Size],
    machine: Machine,
    traffic: Mapping[str, Traffic],
    *,
    cache_share: float = 0.2,
    max_batch: int = 256,
) -> Plan:
    """Which experts fit beside each other, most asked per gigabyte first, and what each can do.

    Args:
        sizes: of the models, by expert.
        machine: where they run.
        traffic: by expert.
        cache_share: of each awake model's weights, at least so much again is kept for its cache. What is left
            of the memory goes to caches, by traffic.
        max_batch: most requests of one expert at once.
    """
    need_gb = {name: size.params_b * size.bytes_per_param * (1 + cache_share) for name, size in sizes.items()}
    order = sorted(sizes, key=lambda name: (-traffic[name].requests_per_s / need_gb[name], name))
    awake: list[str] = []
    free_gb = machine.memory_gb
    for name in order:
        if need_gb[name] <= free_gb:
            awake.append(name)
            free_gb -= need_gb[name]
    shares = _shares(awake, traffic)
    return Plan(
        {
            name: estimate(
                sizes[name], machine, traffic[name], need_gb[name] + free_gb * shares[name], max_batch
            )
            for name in sizes
            if name in awake
        },
        tuple(name for name in sizes if name not in awake),
    )


def _shares(names: Sequence[str], traffic: Mapping[str, Traffic]) -> dict[str, float]:
    total = sum(traffic[name].requests_per_s for name in names)
    return {name: traffic[name].requests_per_s / total if total else 1 / len(names) for name in names}
