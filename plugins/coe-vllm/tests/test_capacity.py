"""The roofline, by cases that can be worked out on paper."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from coe.errors import DataError
from coe_vllm._model import Size
from coe_vllm.capacity import Machine, Traffic, estimate, plan_capacity, step_s, weights_read_b
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
    assert "Upper bounds at 60%" in shown.stdout


@pytest.mark.parametrize("model", ["a", "a=x", "a=-1", "=7"])
def test_what_is_no_model_is_named(model: str) -> None:
    options = ["--memory-gb", "80", "--bandwidth-gb-s", "2000", "--tflops", "1000"]
    assert isinstance(CliRunner().invoke(app, [model, *options]).exception, DataError)
