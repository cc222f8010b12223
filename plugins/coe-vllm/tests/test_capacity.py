"""The roofline, by cases that can be worked out on paper."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from coe.errors import DataError
from coe_vllm._model import Size
from coe_vllm.capacity import (
    Machine,
    Measured,
    Traffic,
    estimate,
    measure,
    plan_capacity,
    prompt_s,
    step_s,
    weights_read_b,
)
from coe_vllm.commands.plan import app

DENSE = Size(params_b=10, active_params_b=10, kv_bytes_per_token=100_000)
MIXTURE = Size(
    params_b=50, active_params_b=10, experts=10, experts_per_token=1, expert_params_b=4, kv_bytes_per_token=1
)
MACHINE = Machine(memory_gb=80, bandwidth_gb_s=2000, tflops=1000, efficiency=1.0)
ASKED = Traffic(requests_per_s=1, prompt_tokens=900, output_tokens=200)


def test_one_request_reads_all_active_weights_for_each_token() -> None:
    seconds, bottleneck = step_s(DENSE, MACHINE, 1, 0)
    assert seconds == pytest.approx(20 / 2000)
    assert bottleneck == "bandwidth: weights"


def test_a_large_batch_is_bound_by_its_cache_or_by_arithmetic() -> None:
    seconds, bottleneck = step_s(DENSE, MACHINE, 1000, 1000)
    assert seconds == pytest.approx((20 + 100) / 2000)
    assert bottleneck == "bandwidth: cache"
    assert step_s(DENSE, MACHINE, 10_000, 0) == (pytest.approx(0.2), "arithmetic")


def test_a_batch_reads_each_expert_of_a_mixture_once() -> None:
    assert weights_read_b(MIXTURE, 1) == pytest.approx(10)
    assert weights_read_b(MIXTURE, 2) == pytest.approx(10 + (1.9 - 1) * 4)
    assert weights_read_b(MIXTURE, 10_000) == pytest.approx(10 + 9 * 4)


def test_the_batch_is_what_the_cache_holds() -> None:
    # 80 GB less 20 GB of weights, at 1100 tokens of 0.1 MB a request.
    found = estimate(DENSE, MACHINE, ASKED, 80, max_batch=10_000)
    assert found.batch == int(60 / 0.11)
    assert found.tokens_per_s_alone == pytest.approx(1 / (20.1 / 2000))
    assert estimate(DENSE, MACHINE, ASKED, 80, max_batch=7).batch == 7


def test_without_room_for_a_cache_nothing_is_served() -> None:
    found = estimate(DENSE, MACHINE, ASKED, 20.05)
    assert (found.batch, found.tokens_per_s, found.busy) == (0, 0, float("inf"))
    assert found.bottleneck == "memory: no room for a cache"


@settings(deadline=None)
@given(st.integers(1, 500), st.integers(1, 500), st.floats(0, 5000))
def test_a_larger_batch_is_never_slower_in_all(a: int, b: int, context: float) -> None:
    small, large = sorted((a, b))
    for size in (DENSE, MIXTURE):
        before, _ = step_s(size, MACHINE, small, context)
        after, _ = step_s(size, MACHINE, large, context)
        assert after >= before * (1 - 1e-9)
        assert large / after >= small / before * (1 - 1e-9)


def test_what_is_asked_most_per_gigabyte_is_awake() -> None:
    sizes = {"big": DENSE, "small": Size(params_b=5, active_params_b=5, kv_bytes_per_token=1000)}
    traffic = {name: Traffic(requests_per_s=1, prompt_tokens=100, output_tokens=100) for name in sizes}
    tight = Machine(memory_gb=26, bandwidth_gb_s=1000, tflops=100)
    plan = plan_capacity(sizes, tight, traffic)
    assert (list(plan.awake), plan.asleep) == (["small"], ("big",))
    assert plan.awake["small"].cache_gb == pytest.approx(16)
    busy = traffic | {"big": Traffic(requests_per_s=9, prompt_tokens=100, output_tokens=100)}
    assert list(plan_capacity(sizes, tight, busy).awake) == ["big"]
    wide = plan_capacity(sizes, MACHINE, traffic)
    assert not wide.asleep
    assert sum(each.weights_gb + each.cache_gb for each in wide.awake.values()) == pytest.approx(80)


def test_the_command_prints_the_plan(tmp_path: Path) -> None:
    options = ["--memory-gb", "80", "--bandwidth-gb-s", "2000", "--tflops", "1000"]
    done = CliRunner().invoke(app, ["a=7", "b=20/3", "c=200", *options, "--rate", "a=4", "--json"])
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert (list(said["awake"]), said["asleep"]) == (["a", "b"], ["c"])
    assert said["awake"]["b"]["tokens_per_s_alone"] > said["awake"]["a"]["tokens_per_s_alone"]
    shown = CliRunner().invoke(app, ["a=7", "c=200", *options])
    assert "c: no room beside the others" in shown.stdout
    assert "Upper bounds at 60%" in shown.stdout.replace("\n", " ")


def test_the_engine_adds_to_each_step_and_bounds_small_models() -> None:
    slow = replace(MACHINE, step_ms=2, layer_us=100, request_us=10, request_layer_us=1)
    small = Size(params_b=0.01, active_params_b=0.01, layers=30)
    seconds, bottleneck = step_s(small, slow, 4, 0)
    assert seconds == pytest.approx(0.02 / 2000 + 0.002 + 30 * 104e-6 + 4 * 10e-6)
    assert bottleneck == "engine"
    deep = replace(DENSE, layers=30)
    assert step_s(deep, slow, 1, 0) == (pytest.approx(20 / 2000 + 0.00504), "bandwidth: weights")


def test_a_prompt_passes_the_output_layer_once_and_reads_the_weights_at_least_once() -> None:
    size = replace(DENSE, head_params_b=2)
    assert prompt_s(size, MACHINE, 1) == pytest.approx(20 / 2000)
    assert prompt_s(size, MACHINE, 10_000) == pytest.approx(2 * (8 * 10_000 + 2) / 1e6)
    assert prompt_s(size, replace(MACHINE, step_ms=5), 1) == pytest.approx(20 / 2000 + 0.005)


def test_what_a_machine_was_measured_to_do_is_taken_whole() -> None:
    machine = Measured(bandwidth_gb_s=4, tflops=0.2, operation_us=5).machine(3)
    assert (machine.memory_gb, machine.bandwidth_gb_s, machine.tflops, machine.efficiency) == (3, 4, 0.2, 1)
    twice = Measured(bandwidth_gb_s=4, tflops=0.2, operation_us=10).machine(3)
    assert twice.step_ms == 2 * machine.step_ms > 0
    assert twice.layer_us == 2 * machine.layer_us > 0


def test_a_python_without_torch_is_named(tmp_path: Path) -> None:
    bare = tmp_path / "python"
    bare.write_text("#!/bin/sh\necho 'No module named torch' >&2\nexit 1\n")
    bare.chmod(0o755)
    with pytest.raises(DataError, match=r"cannot measure this machine: No module named torch \(status 1\)"):
        measure(bare, 64)
    with pytest.raises(DataError, match="No such file"):
        measure(tmp_path / "none", 64)


def test_a_plan_needs_a_machine(tmp_path: Path) -> None:
    run = CliRunner().invoke
    assert "or --probe" in str(run(app, ["a=7", "--memory-gb", "80"]).exception)
    both = ["a=7", "--memory-gb", "80", "--tflops", "1", "--probe", "python"]
    assert "Give either --probe" in str(run(app, both).exception)
    shapeless = ["a=7", "--memory-gb", "80", "--probe", "python"]
    assert "needs the shape" in str(run(app, shapeless).exception)


@pytest.mark.parametrize("model", ["a", "a=x", "a=-1", "=7"])
def test_what_is_no_model_is_named(model: str) -> None:
    options = ["--memory-gb", "80", "--bandwidth-gb-s", "2000", "--tflops", "1000"]
    assert isinstance(CliRunner().invoke(app, [model, *options]).exception, DataError)
