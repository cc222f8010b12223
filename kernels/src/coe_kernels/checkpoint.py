"""The sparse layers of a model, as its config.json has them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from coe.errors import DataError

EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
TOP_K = ("num_experts_per_tok", "num_experts_per_token", "moe_top_k", "moe_topk")
INTERMEDIATE = ("moe_intermediate_size", "expert_intermediate_size", "intermediate_size")
"""Names of the same thing in different families; the first that is there counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SparseModel:
    """What its configuration says.

    Attributes:
        architecture: as transformers names it.
        layers: all of them.
        sparse: numbers of those that are mixtures.
        experts, top_k: of each mixture.
        hidden, intermediate: of one expert.
        shared: experts beside them that every token uses, which are dense for vLLM.
        activation: such as `silu`.
        dtype: of the weights.
        quantised: the method, if any.
    """

    architecture: str
    layers: int
    sparse: tuple[int, ...]
    experts: int
    top_k: int
    hidden: int
    intermediate: int
    shared: int
    activation: str
    dtype: str
    quantised: str | None


def read_model(where: Path) -> SparseModel:
    """The sparse layers of a checkpoint.

    Args:
        where: its folder, or a config.json.

    Raises:
        DataError: there is no readable configuration, or it has no mixtures.
    """
    path = where / "config.json" if where.is_dir() else where
    try:
        config: Any = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is not a model's configuration: {error}") from error
    if not isinstance(config, dict):
        raise DataError(f"{path} is not a model's configuration: it holds {type(config).__name__}")
    whole = cast("dict[str, Any]", config)
    return sparse_model(whole, str(path))


def sparse_model(config: Mapping[str, Any], origin: str) -> SparseModel:
    """As `read_model`, from what config.json holds."""
    text = {**config, **cast("Mapping[str, Any]", config.get("text_config") or {})}
    experts = _first(text, EXPERTS)
    if not experts:
        raise DataError(f"{origin} has no mixture of experts: none of {', '.join(EXPERTS)} is in it")
    layers = _needed(text, ("num_hidden_layers",), origin)
    quantisation = cast("Mapping[str, Any]", config.get("quantization_config") or {})
    return SparseModel(
        architecture=str((config.get("architectures") or ["unknown"])[0]),
        layers=layers,
        sparse=tuple(number for number in range(layers) if _is_sparse(text, number)),
        experts=experts,
        top_k=_needed(text, TOP_K, origin),
        hidden=_needed(text, ("hidden_size",), origin),
        intermediate=_needed(text, INTERMEDIATE, origin),
        shared=_first(text, ("n_shared_experts", "num_shared_experts")) or 0,
        activation=str(text.get("hidden_act", "silu")),
        dtype=str(text.get("dtype") or text.get("torch_dtype") or "bfloat16"),
        quantised=str(quantisation["quant_method"]) if "quant_method" in quantisation else None,
    )


def _is_sparse(config: Mapping[str, Any], layer: int) -> bool:
    """Whether a layer is a mixture: families leave out the first, named ones, or all but every n-th."""
    if layer in cast("list[int]", config.get("mlp_only_layers") or []):
        return False
    if layer < int(config.get("first_k_dense_replace") or 0):
        return False
    step = int(config.get("decoder_sparse_step") or 1)
    frequency: Any = config.get("moe_layer_freq") or 1
    if isinstance(frequency, list):  # 1 for each mixture, 0 for the others
        return any(cast("list[int]", frequency)[layer : layer + 1])
    return (layer + 1) % step == 0 and layer % int(frequency) == 0


def _first(config: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    for name in names:
        if isinstance(value := config.get(name), int):
            return value
    return None


def _needed(config: Mapping[str, Any], names: tuple[str, ...], origin: str) -> int:
    value = _first(config, names)
    if value is None or value < 1:
        raise DataError(f"{origin} lacks {' or '.join(names)}")
    return value
