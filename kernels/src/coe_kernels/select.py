"""Which layers take our kernels: a pure rule that gives a reason for every no."""

from __future__ import annotations

from dataclasses import dataclass

from coe_kernels.cpu import Isa


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerFacts:
    """What the choice depends on.

    Attributes:
        device: vLLM's platform, such as `cpu`.
        dtype: of weights and activations, such as `bfloat16`.
        hidden, intermediate: sizes on this device, as vLLM pads them.
        activation: by vLLM's name.
        gated: gate and up, not up alone.
        biased: the experts add biases.
        expert_parallel: only some of the experts are here.
        batch_invariant: vLLM was told that a token's result may not depend on its batch.
        replaced: the name of the class that vLLM chose.
        zentorch: AMD's kernels are installed and used.
        lora: adapters are enabled.
    """

    device: str
    dtype: str
    hidden: int
    intermediate: int
    activation: str
    gated: bool
    biased: bool
    expert_parallel: bool
    batch_invariant: bool
    replaced: str
    zentorch: bool
    lora: bool


def reason_against(layer: LayerFacts, isa: Isa | None, unavailable: str = "") -> str | None:
    """Why vLLM's own class stays, or None where ours takes its place.

    Args:
        layer: the facts.
        isa: the fastest instruction set that there is for bfloat16 here; None if there are no kernels.
        unavailable: why there are none.
    """
    if layer.device != "cpu":
        return f"the kernels are for CPUs, and this is {layer.device}"
    if not layer.gated or layer.activation != "silu":
        return (
            f"the activation is {layer.activation if layer.gated else 'not gated'}, and the kernels do SwiGLU"
        )
    if layer.biased:
        return "the experts have biases"
    if layer.expert_parallel:
        return "experts are spread over devices (expert parallelism)"
    if layer.lora:
        return "adapters are enabled, which the kernels do not know"
    if layer.batch_invariant:
        return "VLLM_BATCH_INVARIANT is set, and the order of sums depends on how many tokens share an expert"
    if layer.dtype != "bfloat16":
        return f"the type is {layer.dtype}, and only bfloat16 has kernels that are faster than vLLM's"
    if layer.hidden % 32 or layer.intermediate % 32:
        return f"hidden {layer.hidden} and intermediate {layer.intermediate} are not both multiples of 32"
    if layer.zentorch:
        return "zentorch is installed, whose kernels are faster for large batches"
    if isa is None:
        return unavailable or "the kernels are not built"
    if isa is Isa.PORTABLE:
        return "this CPU has neither AMX nor AVX-512, and the portable kernel is slower than vLLM's"
    return None
