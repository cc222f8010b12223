"""Every no has its reason, and what is left is a yes."""

import dataclasses
from typing import Any

import pytest

from coe_kernels.cpu import Isa
from coe_kernels.cpu._library import fastest
from coe_kernels.select import LayerFacts, reason_against, reason_against_triton

GOOD = LayerFacts(
    device="cpu",
    dtype="bfloat16",
    hidden=1024,
    intermediate=512,
    activation="silu",
    gated=True,
    biased=False,
    expert_parallel=False,
    batch_invariant=False,
    replaced="X86CPUUnquantizedExperts",
    zentorch=False,
    lora=False,
)


@pytest.mark.parametrize("isa", [Isa.AVX512_BF16, Isa.AMX])
def test_a_plain_layer_is_taken(isa: Isa) -> None:
    assert reason_against(GOOD, isa) is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"device": "cuda"}, "this is cuda"),
        ({"dtype": "float16"}, "the type is float16"),
        ({"hidden": 1000}, "hidden 1000"),
        ({"intermediate": 48}, "intermediate 48"),
        ({"activation": "gelu"}, "the activation is gelu"),
        ({"gated": False}, "not gated"),
        ({"biased": True}, "biases"),
        ({"expert_parallel": True}, "expert parallelism"),
        ({"batch_invariant": True}, "VLLM_BATCH_INVARIANT"),
        ({"zentorch": True}, "zentorch"),
        ({"lora": True, "hidden": 40}, "hidden 40"),
        ({"lora": True, "dtype": "float8"}, "float8"),
    ],
)
def test_each_hindrance_is_named(change: dict[str, Any], reason: str) -> None:
    assert reason in str(reason_against(dataclasses.replace(GOOD, **change), Isa.AMX))


def test_intel_without_amx_is_left_alone_unless_its_weights_are_rounded_or_it_is_forced() -> None:
    assert "2 to 6% faster" in str(reason_against(GOOD, Isa.AVX512))
    assert reason_against(dataclasses.replace(GOOD, int8=True), Isa.AVX512) is None
    assert reason_against(dataclasses.replace(GOOD, forced=True), Isa.AVX512) is None


def test_no_kernel_and_a_slow_one_are_told_apart() -> None:
    assert reason_against(GOOD, None, "no compiler") == "no compiler"
    assert "portable" in str(reason_against(GOOD, Isa.PORTABLE))


def test_intels_dot_product_is_passed_over_and_amds_is_not() -> None:
    both = (Isa.PORTABLE, Isa.AVX512, Isa.AVX512_BF16)
    assert fastest(both, intel=True) is Isa.AVX512
    assert fastest(both, intel=False) is Isa.AVX512_BF16
    assert fastest((*both, Isa.AMX), intel=True) is Isa.AMX
    assert fastest((Isa.PORTABLE,), intel=True) is Isa.PORTABLE


GPU = dataclasses.replace(GOOD, device="cuda", replaced="TritonExperts", forced=True)


def test_a_gpu_is_taken_by_force_only_because_none_was_measured() -> None:
    assert reason_against_triton(GPU) is None
    assert "no GPU has been measured" in str(reason_against_triton(dataclasses.replace(GPU, forced=False)))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"device": "xpu"}, "this is xpu"),
        ({"replaced": "FlashInferExperts"}, "vLLM chose FlashInferExperts"),
        ({"dtype": "float32"}, "the type is float32"),
        ({"activation": "gelu"}, "the activation is gelu"),
        ({"lora": True}, "adapters"),
        ({"expert_parallel": True}, "expert parallelism"),
    ],
)
def test_each_hindrance_on_a_gpu_is_named(change: dict[str, Any], reason: str) -> None:
    assert reason in str(reason_against_triton(dataclasses.replace(GPU, **change)))


def test_with_adapters_whatever_works_is_taken_because_vllm_fails() -> None:
    slow = dataclasses.replace(GOOD, lora=True, dtype="float32", replaced="TritonExperts", zentorch=True)
    assert reason_against(slow, Isa.PORTABLE) is None
    assert reason_against(slow, None, "no compiler") == "no compiler"
