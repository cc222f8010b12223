"""More models than memory: who is awake. Planning is pure; `Residency` is a state machine without a clock."""

from coe_vllm.residency._demand import Demand
from coe_vllm.residency._plan import Memory, Model, Step, Tier, plan, victims
from coe_vllm.residency._simulate import POLICIES, Call, Outcome, Policy, simulate
from coe_vllm.residency._state import Residency
from coe_vllm.residency._turns import Waiting, next_turn

__all__ = [
    "POLICIES",
    "Call",
    "Demand",
    "Memory",
    "Model",
    "Outcome",
    "Policy",
    "Residency",
    "Step",
    "Tier",
    "Waiting",
    "next_turn",
    "plan",
    "simulate",
    "victims",
]
