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
        int8: weights are to be rounded to 8 bits.
        forced: COE_KERNELS=force, which takes layers where a kernel works but gains nothing.
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
    int8: bool = False
    forced: bool = False


def reason_against_triton(layer: LayerFacts) -> str | None:
    """Why vLLM's own class stays on a GPU, or None where our Triton kernels take its place."""
    if layer.device != "cuda":
        return f"the Triton kernels are for CUDA devices, and this is {layer.device}"
    if layer.replaced != "TritonExperts":
        return f"vLLM chose {layer.replaced} for this device, and only TritonExperts is replaced"
    if (reason := _about_the_layer(layer)) is not None:
        return reason
    if layer.lora:
        return "adapters are enabled, for which vLLM has kernels on a GPU"
    if layer.dtype not in ("bfloat16", "float16"):
        return f"the type is {layer.dtype}, and the Triton kernels are for bfloat16 and float16"
    if not layer.forced:
        return "no GPU has been measured: `coe kernels bench --gpu` does it, and COE_KERNELS=force takes them"
    return None


def reason_against(layer: LayerFacts, isa: Isa | None, unavailable: str = "") -> str | None:
    """Why vLLM's own class stays, or None where ours takes its place.

    Args:
        layer: the facts.
        isa: the fastest instruction set that there is for bfloat16 here; None if there are no kernels.
        unavailable: why there are none.
    """
    if layer.device != "cpu":
        return f"the kernels are for CPUs, and this is {layer.device}"
    if (reason := _about_the_layer(layer)) is not None:
        return reason
    if layer.lora:
        return _reason_against_adapters(layer, isa, unavailable)
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
    if isa is Isa.AVX512 and not (layer.int8 or layer.forced):
        return "without AMX, Intel's CPUs run vLLM's own kernel 2 to 6% faster for 1 to 8 tokens"
    return None


def _about_the_layer(layer: LayerFacts) -> str | None:
    """What no kernel of ours does, whatever the device."""
    if not layer.gated or layer.activation != "silu":
        return (
            f"the activation is {layer.activation if layer.gated else 'not gated'}, and the kernels do SwiGLU"
        )
    if layer.biased:
        return "the experts have biases"
    if layer.expert_parallel:
        return "experts are spread over devices (expert parallelism)"
    if layer.batch_invariant:
        return "VLLM_BATCH_INVARIANT is set, and the order of sums depends on how many tokens share an expert"
    return None


def _reason_against_adapters(layer: LayerFacts, isa: Isa | None, unavailable: str) -> str | None:
    """With adapters vLLM 0.32 fails on a CPU: whatever works takes its place, however slow."""
    if layer.dtype not in ("bfloat16", "float16", "float32"):
        return f"the type is {layer.dtype}, which the kernels do not know"
    if layer.hidden % 32 or layer.intermediate % 32:
        return f"hidden {layer.hidden} and intermediate {layer.intermediate} are not both multiples of 32"
    return None if isa is not None else unavailable or "the kernels are not built"
