"""The Triton kernels in Triton's interpreter, against the float64 oracle (`make test-kernels`)."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
import pytest

pytest.importorskip("triton", reason="Triton is not installed: run `make test-kernels`")

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from coe_kernels import reference
from coe_kernels.engine.gpu.launch import DECODE, Groups, align, decode, grouped

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.skipif(
        os.environ.get("TRITON_INTERPRET") != "1",
        reason="Triton's interpreter is chosen by TRITON_INTERPRET=1: run `make test-kernels`",
    ),
]

TOLERANCE = {torch.float32: 1e-6, torch.float16: 1e-3, torch.bfloat16: 2e-2}
TILE = {
    "BLOCK_SIZE_M": 16,
    "BLOCK_SIZE_N": 64,
    "BLOCK_SIZE_K": 64,
    "GROUP_SIZE_M": 4,
    "num_warps": 4,
    "num_stages": 2,
}
AROUND = 64


@dataclass(frozen=True)
class Case:
    """A layer whose every tensor lies between NaNs."""

    x: torch.Tensor
    w13: torch.Tensor
    w2: torch.Tensor
    weights: torch.Tensor
    ids: torch.Tensor
    wanted: torch.Tensor


def between_nans(values: torch.Tensor) -> torch.Tensor:
    whole = torch.full((values.numel() + 2 * AROUND,), float("nan"), dtype=values.dtype)
    inside = whole[AROUND : AROUND + values.numel()].view(values.shape)
    inside.copy_(values)
    return inside


def empty(*shape: int, dtype: torch.dtype) -> torch.Tensor:
    return between_nans(torch.full(shape, float("nan"), dtype=dtype))


def untouched(inside: torch.Tensor) -> bool:
    """Whether the NaNs round a tensor are still there."""
    size = inside.numel() + 2 * AROUND
    whole = torch.as_strided(inside, (size,), (1,), inside.storage_offset() - AROUND)
    return bool(whole[:AROUND].isnan().all() and whole[-AROUND:].isnan().all())


def case(
    dtype: torch.dtype,
    tokens: int,
    hidden: int,
    intermediate: int,
    experts: int,
    top_k: int,
    skew: str,
    seed: int,
) -> Case:
    rng = np.random.default_rng(seed)
    routing = reference.ROUTINGS[skew](tokens, experts, top_k, rng)
    x, w13, w2 = (
        between_nans(torch.from_numpy(rng.standard_normal(shape).astype(np.float32) * scale).to(dtype))
        for shape, scale in (
            ((tokens, hidden), 1.0),
            ((experts, 2 * intermediate, hidden), hidden**-0.5),
            ((experts, hidden, intermediate), intermediate**-0.5),
        )
    )
    wanted = reference.fused_moe(x.float().numpy(), w13.float().numpy(), w2.float().numpy(), routing)
    weights, ids = torch.from_numpy(routing.weights), torch.from_numpy(routing.ids)
    return Case(x, w13, w2, weights, ids, torch.from_numpy(wanted))


def error(found: torch.Tensor, wanted: torch.Tensor) -> float:
    if not wanted.numel():
        return 0.0
    assert bool(found.isfinite().all())
    return float((found.double() - wanted).abs().max() / wanted.abs().max().clamp(min=1e-6))


def by_decode(layer: Case) -> torch.Tensor:
    out = empty(*layer.x.shape, dtype=layer.x.dtype)
    inner = empty(layer.ids.numel(), layer.w2.shape[2], dtype=layer.x.dtype)
    decode(
        out,
        layer.x,
        layer.w13,
        layer.w2,
        layer.weights,
        layer.ids,
        inner,
        {**DECODE, "BLOCK_N": 32, "BLOCK_K": 64},
    )
    assert untouched(out)
    assert untouched(inner)
    return out


def by_groups(layer: Case, *, upcast: bool | None = None) -> torch.Tensor:
    tokens, top_k = layer.ids.shape
    inner = empty(layer.ids.numel(), layer.w2.shape[2], dtype=layer.x.dtype)
    answers = empty(tokens, top_k, layer.x.shape[1], dtype=layer.x.dtype)
    groups = align(layer.ids, TILE["BLOCK_SIZE_M"], layer.w2.shape[0])
    upcast = layer.x.dtype is torch.bfloat16 if upcast is None else upcast
    grouped(answers, layer.x, layer.w13, layer.w2, layer.weights, groups, inner, TILE, upcast=upcast)
    assert untouched(answers)
    assert untouched(inner)
    return answers.float().sum(1)


LAYERS = st.builds(
    case,
    st.sampled_from(list(TOLERANCE)),
    st.integers(1, 8),
    st.sampled_from([16, 40, 96]),
    st.sampled_from([16, 24, 72]),
    st.integers(2, 6),
    st.integers(1, 2),
    st.sampled_from(sorted(reference.ROUTINGS)),
    st.integers(0, 1000),
)


@settings(max_examples=20, deadline=None)
@given(LAYERS)
def test_decoding_computes_the_layer(layer: Case) -> None:
    assert error(by_decode(layer), layer.wanted) < TOLERANCE[layer.x.dtype]


@settings(max_examples=8, deadline=None)
@given(LAYERS)
def test_groups_compute_the_layer(layer: Case) -> None:
    assert error(by_groups(layer), layer.wanted) < TOLERANCE[layer.x.dtype]


@pytest.mark.parametrize("skew", ["uniform", "hot"])
def test_groups_of_several_blocks_compute_the_layer(skew: str) -> None:
    layer = case(torch.float32, 45, 96, 72, 4, 2, skew, 3)
    assert error(by_groups(layer), layer.wanted) < TOLERANCE[torch.float32]


def test_the_interpreters_bfloat16_is_wrong_without_upcasting() -> None:
    """When this fails, Triton's interpreter has learned bfloat16: drop UPCAST."""
    layer = case(torch.bfloat16, 4, 64, 32, 2, 1, "uniform", 0)
    found = by_groups(layer, upcast=False).double()
    assert not float((found - layer.wanted).abs().max()) < 0.1 * float(layer.wanted.abs().max())


@pytest.fixture
def ids() -> torch.Tensor:
    return torch.tensor([[3, 0], [3, -1], [0, 7], [3, 3]], dtype=torch.int32)


def test_slots_are_grouped_by_expert(ids: torch.Tensor) -> None:
    groups: Groups = align(ids, 4, 4)
    assert groups.padded.tolist() == [12]
    assert groups.order.tolist() == [1, 4, 8, 8, 0, 2, 6, 7, 3, 5, 8, 8]
    assert groups.block_experts.tolist() == [0, 3, -1]
