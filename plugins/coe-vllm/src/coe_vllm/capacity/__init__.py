"""Capacity planning: which experts fit, and how fast they can be."""

from coe_vllm.capacity._probe import Measured, measure
from coe_vllm.capacity._roofline import (
    Bottleneck,
    Estimate,
    Machine,
    Plan,
    Traffic,
    estimate,
    plan_capacity,
    prompt_s,
    step_s,
    weights_read_b,
)

__all__ = [
    "Bottleneck",
    "Estimate",
    "Machine",
    "Measured",
    "Plan",
    "Traffic",
    "estimate",
    "measure",
    "plan_capacity",
    "prompt_s",
    "step_s",
    "weights_read_b",
]
