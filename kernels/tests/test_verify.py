"""The judgement of two trials: each thing that can be wrong is found."""

import json
from typing import Any

import pytest

from coe.errors import DataError
from coe_kernels.verify import Trial, judge, read_trial


def result(**changes: Any) -> dict[str, Any]:
    def status(calls: int, tokens: int) -> dict[str, Any]:
        return {"layers": [{"layer": str(n), "calls": calls, "tokens": tokens} for n in range(2)]}

    return {
        "tokens": [1, 2, 3],
        "negated_tokens": [4, 5, 6],
        "again": [1, 2, 3],
        "logprobs": [-1.0, -2.0],
        "before": status(2, 7),
        "after": status(5, 14),
        "prompt_tokens": 5,
        "new_tokens": 3,
    } | changes


def trial(experts: str, **changes: Any) -> Trial:
    log = (
        f"INFO [unquantized.py:529] Using {experts} MoE backend\nTRIAL {json.dumps(result(**changes))}\nbye\n"
    )
    return read_trial(log)


THEIRS = trial("X86CPUUnquantizedExperts")


def failed(ours: Trial, theirs: Trial = THEIRS) -> list[str]:
    return [check.name for check in judge(ours, theirs) if not check.passed]


def test_a_good_trial_passes() -> None:
    assert failed(trial("CoeCpuExperts")) == []


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"negated_tokens": [1, 2, 3]}, "other sign"),
        ({"again": [9, 9, 9]}, "right sign"),
        ({"logprobs": [-1.0, -2.03]}, "log-probabilities"),
        ({"logprobs": [-1.0, float("nan")]}, "log-probabilities"),
        ({"before": {"layers": []}, "after": {"layers": []}}, "counted"),
        ({"new_tokens": 4}, "counted"),
        ({"prompt_tokens": 4}, "counted"),
    ],
)
def test_each_fault_is_found(change: dict[str, Any], name: str) -> None:
    names = failed(trial("CoeCpuExperts", **change))
    assert len(names) == 1
    assert name in names[0]


def test_a_class_that_did_not_run_is_found() -> None:
    assert "names our class" in failed(trial("X86CPUUnquantizedExperts"))[0]
    assert "names its own" in failed(trial("CoeCpuExperts"), trial("CoeCpuExperts"))[0]


def test_a_process_without_a_result_shows_its_last_lines() -> None:
    with pytest.raises(DataError, match="out of memory"):
        read_trial("starting\nout of memory\n")
