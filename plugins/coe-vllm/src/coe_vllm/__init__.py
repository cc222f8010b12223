"""vLLM servers, their LoRA adapters and reward models, as experts of coe.

Importing this package and building its experts needs no vLLM and touches no network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from coe.contracts import Expert, Plugin

if TYPE_CHECKING:
    from coe.contracts import EmbeddingExpert, RewardExpert


def vllm() -> Plugin[Expert]:
    """Entry point `vllm`: a running vLLM server, or one that is launched and looked after."""
    from coe_vllm._create import create_model
    from coe_vllm._settings import VllmSettings

    return Plugin(VllmSettings, create_model, "A vLLM server: a running one, or launched by coe", shared=True)


def adapter() -> Plugin[Expert]:
    """Entry point `adapter`: a LoRA adapter on a `vllm` expert."""
    from coe_vllm._create import create_adapter
    from coe_vllm._settings import AdapterSettings

    return Plugin(AdapterSettings, create_adapter, "A LoRA adapter on a vLLM server", shared=True)


def reward() -> Plugin[RewardExpert]:
    """Entry point `vllm-reward`: a reward model behind vLLM's pooling runner."""
    from coe_vllm._create import create_reward
    from coe_vllm._settings import RewardSettings

    return Plugin(RewardSettings, create_reward, "A reward model on a vLLM server", shared=True)


def embedding() -> Plugin[EmbeddingExpert]:
    """Entry point `vllm-embedding`: an embedding model behind vLLM's pooling runner."""
    from coe_vllm._create import create_embedding
    from coe_vllm._settings import VllmSettings

    return Plugin(VllmSettings, create_embedding, "An embedding model on a vLLM server", shared=True)


def memory() -> Plugin[Expert]:
    """Entry point `vllm-memory`: what several servers share, and who of them is awake."""
    from coe_vllm._create import create_memory
    from coe_vllm._settings import MemorySettings

    return Plugin(MemorySettings, create_memory, "Memory that several vLLM servers share", shared=True)


__all__ = ["adapter", "embedding", "memory", "reward", "vllm"]
