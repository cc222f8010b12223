"""The CPU kernels against the float64 oracle, on every instruction set that this machine has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from coe_kernels import reference
from coe_kernels.cpu import Isa, Type, best_isa, from_bfloat16, fused_moe, library, pack, to_bfloat16
from coe_kernels.reference import ROUTINGS, Routing

pytestmark = pytest.mark.slow

TOLERANCE = {"float32": 1e-6, "float16": 1e-3, "bfloat16": 2e-2}
"""Of the largest value of the output."""
STORE: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "float32": lambda values: values.astype(np.float32),
    "float16": lambda values: values.astype(np.float16),
    "bfloat16": to_bfloat16,
}
KERNELS = [("float32", Isa.PORTABLE), ("float16", Isa.PORTABLE), *[("bfloat16", isa) for isa in Isa]]


def exact(values: NDArray[Any]) -> NDArray[Any]:
    return from_bfloat16(values) if values.dtype == np.uint16 else values


def needs(isa: Isa) -> None:
    if isa not in library().isas:
        pytest.skip(f"this CPU has no {isa.name} kernel; the others are tried")


def layer(
    rng: np.random.Generator, dtype: str, tokens: int, hidden: int, intermediate: int, experts: int
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    store = STORE[dtype]
    return (
        store(rng.normal(size=(tokens, hidden))),
        store(rng.normal(size=(experts, 2 * intermediate, hidden)) / np.sqrt(hidden)),
        store(rng.normal(size=(experts, hidden, intermediate)) / np.sqrt(intermediate)),
    )


def error(out: NDArray[Any], wanted: NDArray[np.float64]) -> float:
    return float(np.abs(exact(out) - wanted).max(initial=0) / max(np.abs(wanted).max(initial=0), 1e-3))


@pytest.mark.parametrize(("dtype", "isa"), KERNELS)
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_any_layer_is_what_the_oracle_says(dtype: str, isa: Isa, data: st.DataObject) -> None:
    needs(isa)
    tokens, hidden, intermediate, experts = (
        data.draw(st.integers(low, high)) for low, high in [(0, 70), (16, 100), (1, 100), (1, 9)]
    )
    top_k, threads = data.draw(st.integers(1, min(4, experts))), data.draw(st.integers(1, 3))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    x, w13, w2 = layer(rng, dtype, tokens, hidden, intermediate, experts)
    routing = ROUTINGS[data.draw(st.sampled_from(sorted(ROUTINGS)))](tokens, experts, top_k, rng)
    out = fused_moe(library(), x, pack(library(), w13, w2), routing, isa=isa, threads=threads)
    assert error(out, reference.fused_moe(exact(x), exact(w13), exact(w2), routing)) < TOLERANCE[dtype]


@pytest.mark.parametrize(("dtype", "isa"), KERNELS)
@pytest.mark.parametrize(("hidden", "intermediate"), [(1, 1), (1, 40), (2, 3), (33, 1), (7, 31)])
def test_the_smallest_layers(dtype: str, isa: Isa, hidden: int, intermediate: int) -> None:
    """All positive: with so few outputs, terms that cancel would leave no maximum to compare with."""
    needs(isa)
    rng = np.random.default_rng(12)
    store = STORE[dtype]
    shapes = [(19, hidden), (3, 2 * intermediate, hidden), (3, hidden, intermediate)]
    x, w13, w2 = (store(rng.uniform(0.2, 1.0, size)) for size in shapes)
    routing = reference.duplicates(19, 3, 2, rng)
    out = fused_moe(library(), x, pack(library(), w13, w2), routing, isa=isa)
    assert error(out, reference.fused_moe(exact(x), exact(w13), exact(w2), routing)) < TOLERANCE[dtype]


@pytest.mark.parametrize(("dtype", "isa"), KERNELS)
@pytest.mark.parametrize("tokens", [1, 3, 8, 200])
def test_the_sizes_of_a_real_layer(dtype: str, isa: Isa, tokens: int) -> None:
    needs(isa)
    rng = np.random.default_rng(tokens)
    x, w13, w2 = layer(rng, dtype, tokens, 1024, 512, 4)
    routing = reference.uniform(tokens, 4, 2, rng)
    out = fused_moe(library(), x, pack(library(), w13, w2), routing, isa=isa)
    assert error(out, reference.fused_moe(exact(x), exact(w13), exact(w2), routing)) < TOLERANCE[dtype]


@pytest.mark.parametrize(("dtype", "isa"), KERNELS)
def test_nothing_outside_the_buffers_is_used_or_written(dtype: str, isa: Isa) -> None:
    """Every buffer lies between NaNs; hidden and intermediate are no multiples of anything."""
    needs(isa)
    rng = np.random.default_rng(8)
    x, w13, w2 = layer(rng, dtype, 37, 45, 51, 5)
    packed = pack(library(), w13, w2)
    routing = reference.uniform(37, 5, 2, rng)
    nan = STORE[dtype](np.array([np.inf])).dtype.type(0x7FC0 if dtype == "bfloat16" else np.nan)

    def guarded(values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        whole = np.full(values.size + 512, nan, values.dtype)
        inside = whole[256 : 256 + values.size].reshape(values.shape)
        inside[...] = values
        return whole, inside

    inside_layer = type(packed)(
        guarded(packed.w13)[1], guarded(packed.w2)[1], packed.hidden, packed.intermediate, packed.experts
    )
    whole, out = guarded(np.full_like(x, nan))
    fused_moe(library(), guarded(x)[1], inside_layer, routing, isa=isa, out=out)
    assert error(out, reference.fused_moe(exact(x), exact(w13), exact(w2), routing)) < TOLERANCE[dtype]
    assert np.isnan(exact(whole[:256])).all()
    assert np.isnan(exact(whole[-256:])).all()


@pytest.mark.parametrize(("dtype", "isa"), KERNELS)
def test_a_token_that_is_not_a_number_spoils_no_other(dtype: str, isa: Isa) -> None:
    needs(isa)
    rng = np.random.default_rng(9)
    x, w13, w2 = layer(rng, dtype, 40, 64, 64, 3)
    packed, routing = pack(library(), w13, w2), reference.hot(40, 3, 2, rng)
    good = fused_moe(library(), x, packed, routing, isa=isa)
    x[7] = 0x7FC0 if dtype == "bfloat16" else np.nan
    out = fused_moe(library(), x, packed, routing, isa=isa)
    assert np.isnan(exact(out[7])).all()
    np.testing.assert_array_equal(np.delete(out, 7, 0), np.delete(good, 7, 0))


@pytest.mark.parametrize("isa", list(Isa))
def test_gates_far_from_zero_neither_overflow_nor_vanish(isa: Isa) -> None:
    needs(isa)
    x = to_bfloat16(np.array([[1e4, 0.0], [-1e4, 0.0], [0.0, 1.0]]))
    w13 = to_bfloat16(np.array([[[1.0, 0.5], [0.01, 1.0]]]))
    w2 = to_bfloat16(np.array([[[1.0], [-1.0]]]))
    routing = Routing(np.zeros((3, 1), np.int32), np.ones((3, 1), np.float32))
    out = exact(fused_moe(library(), x, pack(library(), w13, w2), routing, isa=isa))
    np.testing.assert_allclose(
        out, reference.fused_moe(exact(x), exact(w13), exact(w2), routing), rtol=2e-2, atol=1e-6
    )


@pytest.mark.parametrize("isa", list(Isa))
def test_threads_change_nothing(isa: Isa) -> None:
    needs(isa)
    rng = np.random.default_rng(10)
    x, w13, w2 = layer(rng, "bfloat16", 90, 160, 96, 6)
    packed, routing = pack(library(), w13, w2), reference.zipf(90, 6, 3, rng)
    alone = fused_moe(library(), x, packed, routing, isa=isa)
    for threads in (2, 3):
        np.testing.assert_array_equal(
            fused_moe(library(), x, packed, routing, isa=isa, threads=threads), alone
        )
    np.testing.assert_array_equal(pack(library(), w13, w2, threads=3).w13, packed.w13)


def test_packing_whole_sizes_needs_no_more_room() -> None:
    assert library().packed_size(7, 2 * 96, 64, interleaved=True) == 7 * 2 * 96 * 64
    assert library().packed_size(7, 64, 96, interleaved=False) == 7 * 64 * 96


def test_halves_are_rounded_as_numpy_does() -> None:
    """One expert passes its input through, scaled: every float16 and many float32 between them."""
    values = np.arange(0, 0x7C00, dtype=np.uint16).view(np.float16)
    rng = np.random.default_rng(11)
    scale = rng.uniform(0.5, 1.0, values.size).astype(np.float32)
    gate = np.float16(20.0)
    w13, w2 = np.array([[[gate], [1.0]]], np.float16), np.array([[[1.0]]], np.float16)
    packed = pack(library(), w13, w2)
    ones = np.ones((values.size, 1), np.float16)
    inner = np.float16(20.0)
    routing = Routing(np.zeros((values.size, 1), np.int32), (scale * values.astype(np.float32))[:, None])
    out = fused_moe(library(), ones, packed, routing)
    with np.errstate(over="ignore"):
        wanted = (scale * values.astype(np.float32) * np.float32(inner)).astype(np.float16)
    np.testing.assert_array_equal(out[:, 0], wanted)


def test_what_does_not_fit_is_refused() -> None:
    w13, w2 = np.zeros((2, 8, 3), np.float32), np.zeros((2, 3, 4), np.float32)
    with pytest.raises(ValueError, match="does not belong"):
        pack(library(), w13[:, :6], w2)
    packed = pack(library(), w13, w2)
    routing = Routing(np.zeros((5, 1), np.int32), np.ones((5, 1), np.float32))
    with pytest.raises(ValueError, match="hidden 3"):
        fused_moe(library(), np.zeros((5, 4), np.float32), packed, routing)
    with pytest.raises(ValueError, match="not for 4 tokens"):
        fused_moe(library(), np.zeros((4, 3), np.float32), packed, routing)


def test_float32_has_no_faster_kernel() -> None:
    from coe.errors import PluginError

    assert best_isa(library(), Type.FLOAT32) is Isa.PORTABLE
    packed = pack(library(), np.zeros((1, 2, 1), np.float32), np.zeros((1, 1, 1), np.float32))
    routing = Routing(np.zeros((1, 1), np.int32), np.ones((1, 1), np.float32))
    with pytest.raises(PluginError, match="no AVX512 kernel for FLOAT32"):
        fused_moe(library(), np.zeros((1, 1), np.float32), packed, routing, isa=Isa.AVX512)


def rounded(matrix: NDArray[Any]) -> NDArray[Any]:
    """What 8-bit weights stand for: multiples of a bfloat16 scale, one for each 16 of a row."""
    groups = exact(matrix).reshape(-1, 16)
    scales = from_bfloat16(to_bfloat16(np.abs(groups).max(1, keepdims=True) / 127))
    steps = np.clip(np.rint(groups / np.where(scales > 0, scales, 1)), -127, 127)
    return (steps * scales).reshape(matrix.shape)


@pytest.mark.parametrize("isa", list(Isa))
@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_eight_bit_weights_are_what_the_oracle_says_of_rounded_ones(isa: Isa, data: st.DataObject) -> None:
    needs(isa)
    tokens, experts = data.draw(st.integers(0, 30)), data.draw(st.integers(1, 5))
    hidden, intermediate = (32 * data.draw(st.integers(1, 4)) for _ in range(2))
    top_k = data.draw(st.integers(1, experts))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    routing = ROUTINGS[data.draw(st.sampled_from(sorted(ROUTINGS)))](tokens, experts, top_k, rng)
    x, w13, w2 = layer(rng, "bfloat16", tokens, hidden, intermediate, experts)
    packed = pack(library(), w13, w2, int8=True)
    whole = np.full((tokens + 2, hidden), 0x7FC0, np.uint16)
    out = fused_moe(
        library(), x, packed, routing, isa=isa, threads=data.draw(st.integers(1, 3)), out=whole[1:-1]
    )
    assert error(out, reference.fused_moe(exact(x), rounded(w13), rounded(w2), routing)) < 2e-2
    assert (whole[[0, -1]] == 0x7FC0).all(), "nothing is written round the output"


def test_eight_bit_weights_are_within_one_percent_of_the_plain_ones() -> None:
    rng = np.random.default_rng(0)
    x, w13, w2 = layer(rng, "bfloat16", 8, 512, 256, 8)
    routing = ROUTINGS["uniform"](8, 8, 4, rng)
    out = exact(fused_moe(library(), x, pack(library(), w13, w2, int8=True), routing))
    wanted = reference.fused_moe(exact(x), exact(w13), exact(w2), routing)
    assert np.linalg.norm(out - wanted) < 0.01 * np.linalg.norm(wanted)


def test_eight_bit_weights_need_bfloat16_and_sizes_of_32() -> None:
    rng = np.random.default_rng(0)
    for dtype, hidden in (("float32", 64), ("bfloat16", 48)):
        _, w13, w2 = layer(rng, dtype, 1, hidden, 32, 2)
        with pytest.raises(ValueError, match="8-bit weights are made of bfloat16"):
            pack(library(), w13, w2, int8=True)
