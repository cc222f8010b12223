"""Offline merging of LoRA adapters."""

from coe_vllm.merging._lora import Delta, Lora, read_lora, write_lora
from coe_vllm.merging._merge import Loss, Merged, Method, merge

__all__ = ["Delta", "Lora", "Loss", "Merged", "Method", "merge", "read_lora", "write_lora"]
