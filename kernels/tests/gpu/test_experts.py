"""vLLM's class with our kernels, called as vLLM calls it, in Triton's interpreter."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("vllm", reason="vLLM is not installed: run `make test-kernels`")
pytest.importorskip("triton", reason="Triton is not installed: run `make test-kernels`")

import numpy as np
import torch

from coe_kernels import reference

if TYPE_CHECKING:  # vLLM is imported by the fixture: what torch says of itself then is no error there
    from coe_kernels.engine.gpu.experts import CoeTritonExperts

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.skipif(
        os.environ.get("TRITON_INTERPRET") != "1",
        reason="Triton's interpreter is chosen by TRITON_INTERPRET=1: run `make test-kernels`",
    ),
]
HIDDEN, INTERMEDIATE, EXPERTS, TOP_K = 64, 32, 4, 2
TILE = {"BLOCK_SIZE_M": 16, "BLOCK_SIZE_N": 64, "BLOCK_SIZE_K": 64, "GROUP_SIZE_M": 4}


@pytest.fixture
def ours(monkeypatch: pytest.MonkeyPatch) -> CoeTritonExperts:
    from vllm.model_executor.layers.fused_moe.activation import MoEActivation
    from vllm.model_executor.layers.fused_moe.config import (
        FUSED_MOE_UNQUANTIZED_CONFIG,
        FusedMoEConfig,
        FusedMoEParallelConfig,
        RoutingMethodType,
    )

    from coe_kernels.engine.gpu import layer
    from coe_kernels.engine.gpu.experts import CoeTritonExperts

    # vLLM's choice of a tile asks for the GPU's name.
    monkeypatch.setattr(layer, "try_get_optimal_moe_config", lambda *_: TILE)
    config = FusedMoEConfig(
        num_experts=EXPERTS,
        experts_per_token=TOP_K,
        hidden_dim=HIDDEN,
        intermediate_size=INTERMEDIATE,
        num_local_experts=EXPERTS,
        num_logical_experts=EXPERTS,
        activation=MoEActivation.SILU,
        device="cpu",
        routing_method=RoutingMethodType.Renormalize,
        moe_parallel_config=FusedMoEParallelConfig.make_no_parallel(),
        in_dtype=torch.bfloat16,
    )
    made = CoeTritonExperts(config, FUSED_MOE_UNQUANTIZED_CONFIG)
    made.upcast = True
    return made


def call(ours: CoeTritonExperts, tokens: int, **changes: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """What the class says, and what the oracle does; the output lies within the first workspace."""
    from vllm.model_executor.layers.fused_moe.activation import MoEActivation

    rng = np.random.default_rng(tokens)
    routing = reference.uniform(tokens, EXPERTS, TOP_K, rng)
    x, w13, w2 = (
        torch.from_numpy(rng.standard_normal(shape).astype(np.float32) * shape[-1] ** -0.5).bfloat16()
        for shape in ((tokens, HIDDEN), (EXPERTS, 2 * INTERMEDIATE, HIDDEN), (EXPERTS, HIDDEN, INTERMEDIATE))
    )
    first, second, _ = ours.workspace_shapes(
        tokens, 2 * INTERMEDIATE, HIDDEN, TOP_K, EXPERTS, EXPERTS, None, MoEActivation.SILU
    )
    workspace13, workspace2 = (torch.full(shape, float("nan"), dtype=x.dtype) for shape in (first, second))
    output = workspace13.flatten()[: tokens * HIDDEN].view(tokens, HIDDEN)
    given: dict[str, Any] = {
        "output": output,
        "hidden_states": x,
        "w1": w13,
        "w2": w2,
        "topk_weights": torch.from_numpy(routing.weights),
        "topk_ids": torch.from_numpy(routing.ids),
        "activation": MoEActivation.SILU,
        "global_num_experts": EXPERTS,
        "expert_map": None,
        "a1q_scale": None,
        "a2_scale": None,
        "workspace13": workspace13,
        "workspace2": workspace2,
        "expert_tokens_meta": None,
        "apply_router_weight_on_input": False,
    }
    ours.apply(**given | changes)
    wanted = reference.fused_moe(*(one.float().numpy() for one in (x, w13, w2)), routing)
    return output, torch.from_numpy(wanted)


@pytest.mark.parametrize("tokens", [1, 8, 9, 40])
def test_the_layer_is_computed_in_vllms_workspaces(ours: CoeTritonExperts, tokens: int) -> None:
    found, wanted = call(ours, tokens)
    assert float((found.double() - wanted).abs().max()) < 2e-2 * float(wanted.abs().max())


@pytest.mark.parametrize(
    "changes",
    [
        {"activation": "gelu"},
        {"expert_map": torch.arange(EXPERTS)},
        {"apply_router_weight_on_input": True},
    ],
)
def test_what_is_not_covered_goes_to_vllms_own(
    ours: CoeTritonExperts, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[object] = []
    monkeypatch.setattr(type(ours).__mro__[1], "apply", lambda *_: calls.append(_))
    call(ours, 2, **changes)
    assert len(calls) == 1


def test_adapters_go_to_vllms_own(ours: CoeTritonExperts, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []
    monkeypatch.setattr(type(ours).__mro__[1], "apply", lambda *_: calls.append(_))
    monkeypatch.setattr(ours, "_lora_context", object())
    call(ours, 2)
    assert len(calls) == 1


def test_without_a_compiler_the_gpu_kernels_are_chosen_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    from coe_kernels import cpu
    from coe_kernels.engine.gpu.experts import CoeTritonExperts
    from coe_kernels.engine.method import _choice
    from coe_kernels.select import LayerFacts

    monkeypatch.setenv("CXX", "no-such-compiler")
    cpu.library.cache_clear()
    facts: dict[str, Any] = {
        "dtype": "bfloat16",
        "hidden": 64,
        "intermediate": 32,
        "activation": "silu",
        "gated": True,
        "biased": False,
        "expert_parallel": False,
        "batch_invariant": False,
        "replaced": "TritonExperts",
        "zentorch": False,
        "lora": False,
        "forced": True,
    }
    assert _choice(LayerFacts(device="cuda", **facts)) == (CoeTritonExperts, "")
    chosen, reason = _choice(LayerFacts(device="cpu", **facts))
    assert chosen is None
    assert "no-such-compiler was not found" in reason


@pytest.mark.parametrize("tokens", [3, 20])
def test_what_the_benchmark_times_is_the_layer(tokens: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from coe_kernels.engine import bench
    from coe_kernels.engine.gpu import layer as layer_module
    from coe_kernels.engine.gpu.bench import our_layer
    from coe_kernels.roofline import Shape

    monkeypatch.setattr(layer_module, "try_get_optimal_moe_config", lambda *_: TILE)
    shape = Shape(hidden=HIDDEN, intermediate=INTERMEDIATE, experts=EXPERTS, top_k=TOP_K)
    generator = torch.Generator().manual_seed(0)
    layer = bench.weights(shape, generator)
    routing = reference.uniform(tokens, EXPERTS, TOP_K, np.random.default_rng(0))
    x = torch.randn(tokens, HIDDEN, generator=generator).bfloat16()
    given = torch.from_numpy(routing.weights), torch.from_numpy(routing.ids)
    found = our_layer(x, shape, upcast=True)(layer, given)
    wanted = torch.from_numpy(reference.fused_moe(*(one.float().numpy() for one in (x, *layer)), routing))
    assert float((found.double() - wanted).abs().max()) < 2e-2 * float(wanted.abs().max())
