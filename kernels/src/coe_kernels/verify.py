"""What two trials of vLLM, with our kernels and without, must show for us to believe that ours ran."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from coe.errors import DataError

TOLERANCE = 2e-2
"""Of a log-probability of a given text."""
MARK = "TRIAL "


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must hold."""

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Trial:
    """A process's log and what it measured: see `coe_kernels.engine.trial`."""

    log: str
    result: Mapping[str, Any]

    @property
    def experts(self) -> str:
        """The class that vLLM's log says it uses."""
        found = re.findall(r"Using (\w+) MoE backend$", self.log, re.MULTILINE)
        return found[-1] if found else "none"


def read_trial(log: str) -> Trial:
    """The trial from everything that its process printed.

    Raises:
        DataError: it ended without a result; shows its last lines.
    """
    for line in reversed(log.splitlines()):
        if line.startswith(MARK):
            return Trial(log, json.loads(line.removeprefix(MARK)))
    raise DataError("vLLM ended without a result:\n" + "\n".join(log.splitlines()[-12:]))


def judge(ours: Trial, theirs: Trial, expected: str = "CoeCpuExperts") -> list[Check]:
    """Whether our class ran, for every token, mattered, and said the same as vLLM's.

    Args:
        ours: with COE_KERNELS=force.
        theirs: with COE_KERNELS=off.
        expected: the class that vLLM's log must name in the first, and must not in the second.
    """
    counts = _counts(ours.result)
    steps = ours.result["new_tokens"]
    tokens = ours.result["prompt_tokens"] + steps - 1
    pairs = list(zip(ours.result["logprobs"], theirs.result["logprobs"], strict=True))
    apart = [abs(one - other) for one, other in pairs]
    negated = ours.result["negated_tokens"]
    return [
        Check("vLLM's log names our class", ours.experts == expected, ours.experts),
        Check("without us it names its own", theirs.experts not in {expected, "none"}, theirs.experts),
        Check(
            "every forward pass and token was counted",
            bool(counts) and all(count == (steps, tokens) for count in counts.values()),
            f"{len(counts)} layers, calls and tokens {sorted(set(counts.values()))} of {(steps, tokens)}",
        ),
        Check("outputs of the other sign change the answer", negated != ours.result["tokens"], f"{negated}"),
        Check("and the right sign brings it back", ours.result["again"] == ours.result["tokens"], ""),
        Check(
            f"log-probabilities of a given text agree within {TOLERANCE}",
            bool(apart) and all(difference <= TOLERANCE for difference in apart),
            f"largest difference {max(apart, default=0):.1e} over {len(apart)} tokens",
        ),
    ]


def _counts(result: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """Calls and tokens of each layer between the two readings."""
    before = {layer["layer"]: layer for layer in result["before"]["layers"]}
    counts: dict[str, tuple[int, int]] = {}
    for layer in result["after"]["layers"]:
        was = before[layer["layer"]]
        counts[layer["layer"]] = (layer["calls"] - was["calls"], layer["tokens"] - was["tokens"])
    return counts
