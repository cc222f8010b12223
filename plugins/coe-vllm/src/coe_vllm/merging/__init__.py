"""Offline merging of LoRA adapters."""

from coe_vllm.merging._answers import Kept, Question, answers_kept
from coe_vllm.merging._lora import Delta, Lora, read_lora, write_lora
from coe_vllm.merging._merge import Loss, Merged, Method, merge
from coe_vllm.merging._weights import documents, router_weights, usage_weights

__all__ = [
    "Delta",
    "Kept",
    "Lora",
    "Loss",
    "Merged",
    "Method",
    "Question",
    "answers_kept",
    "documents",
    "merge",
    "read_lora",
    "router_weights",
    "usage_weights",
    "write_lora",
]
