"""How many parameters a model has, in all and per token, from its Hugging Face configuration. Pure.

Counts what the usual decoder has: embeddings, attention (grouped queries, or DeepSeek's latent attention),
gated feed-forward layers, dense or a mixture of experts. Norms and biases are left out: below a thousandth.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

Config = Mapping[str, Any]

_EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
_CHOSEN = ("num_experts_per_tok", "experts_per_token", "moe_topk", "top_k_experts", "moe_k")
_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2, "float8_e4m3fn": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Parameters of a model, in billions, and what a plan needs to know of its shape.

    Attributes:
        params_b: all.
        active_params_b: those that one token passes through.
        experts, experts_per_token: of a mixture; 0 for a dense model.
        expert_params_b: one expert of one layer, over all layers: what one more expert per token adds.
        kv_bytes_per_token: of the KV cache at two bytes a number.
        bytes_per_param: of the weights as stored.
        layers, hidden_size: of the decoder; 0 when not known.
        head_params_b: of the output layer, which a prompt passes once and an answer with each token.
    """

    params_b: float
    active_params_b: float
    experts: int = 0
    experts_per_token: int = 0
    expert_params_b: float = 0.0
    kv_bytes_per_token: int = 0
    bytes_per_param: float = 2.0
    layers: int = 0
    hidden_size: int = 0
    head_params_b: float = 0.0


def read_size(folder: Path) -> Size | None:
    """The size of the model in a folder; None when there is no configuration, or one of an unknown shape."""
    try:
        config: Any = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError):
        return None
    return size_of(cast("Config", config)) if isinstance(config, dict) else None


def chat_template(folder: Path) -> bool | None:
    """Whether the tokenizer in a folder has a template for chats; None when there is no tokenizer."""
    try:
        config: Any = json.loads((folder / "tokenizer_config.json").read_text())
    except (OSError, ValueError):
        return None
    files = (folder / name for name in ("chat_template.jinja", "chat_template.json"))
    return bool(isinstance(config, dict) and "chat_template" in config) or any(map(Path.exists, files))


def size_of(config: Config) -> Size | None:
    """The size of a model from its config.json; None when its shape is not known."""
    text = config.get("text_config")
    if isinstance(text, dict):
        # A vision model: its language part, which does nearly all of the work.
        config = {**config, **cast("dict[str, Any]", text)}
    try:
        return _count(config)
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None


def _count(config: Config) -> Size:
    hidden, layers, vocab = (int(config[key]) for key in ("hidden_size", "num_hidden_layers", "vocab_size"))
    tied = bool(config.get("tie_word_embeddings", False))
    embeddings = vocab * hidden
    # Looking a token up reads one row; the output layer is a product with all of them.
    attention, kv = _attention(config, hidden)
    experts, chosen = _first(config, _EXPERTS), _first(config, _CHOSEN)
    dense = 3 * hidden * int(config["intermediate_size"])
    sparse_layers = _sparse_layers(config, layers) if experts else 0
    width = _first(config, ("moe_intermediate_size", "expert_ffn_hidden_size")) or int(
        config["intermediate_size"]
    )
    expert = 3 * hidden * width
    shared = 3 * hidden * _shared_width(config, width)
    router = hidden * experts
    total = embeddings * (1 if tied else 2) + layers * attention
    total += (layers - sparse_layers) * dense + sparse_layers * (experts * expert + shared + router)
    active = total - sparse_layers * (experts - chosen) * expert - (0 if tied else embeddings)
    return Size(
        params_b=total / 1e9,
        active_params_b=active / 1e9,
        experts=experts,
        experts_per_token=chosen,
        expert_params_b=sparse_layers * expert / 1e9,
        kv_bytes_per_token=2 * layers * kv,
        bytes_per_param=_bytes(config),
        layers=layers,
        hidden_size=hidden,
        head_params_b=embeddings / 1e9,
    )


def _attention(config: Config, hidden: int) -> tuple[int, int]:
    """Parameters of one attention layer, and numbers that it keeps per token."""
    heads = int(config["num_attention_heads"])
    if (latent := config.get("kv_lora_rank")) is not None:
        rope, nope = int(config["qk_rope_head_dim"]), int(config["qk_nope_head_dim"])
        value = int(config["v_head_dim"])
        query = heads * (nope + rope)
        rank = config.get("q_lora_rank")
        queries = int(rank) * (hidden + query) if rank else hidden * query
        keys = hidden * (int(latent) + rope) + int(latent) * heads * (nope + value)
        return queries + keys + heads * value * hidden, int(latent) + rope
    groups = int(config.get("num_key_value_heads") or heads)
    dim = int(config.get("head_dim") or hidden // heads)
    return 2 * hidden * heads * dim + 2 * hidden * groups * dim, 2 * groups * dim


def _sparse_layers(config: Config, layers: int) -> int:
    first = int(config.get("first_k_dense_replace") or 0)
    if step := int(config.get("decoder_sparse_step") or config.get("interleave_moe_layer_step") or 1):
        only = cast("list[int]", config.get("mlp_only_layers") or [])
        return sum(1 for at in range(first, layers) if (at + 1) % step == 0 and at not in only)
    return 0


def _shared_width(config: Config, width: int) -> int:
    if given := config.get("shared_expert_intermediate_size"):
        return int(given)
    return width * int(config.get("n_shared_experts") or 0)


def _bytes(config: Config) -> float:
    quantised: Any = config.get("quantization_config")
    if isinstance(quantised, dict):
        method = str(cast("dict[str, Any]", quantised).get("quant_method", ""))
        bits: Any = cast("dict[str, Any]", quantised).get("bits")
        if isinstance(bits, int):
            return bits / 8
        if method in ("mxfp4", "awq", "gptq"):
            return 0.53 if method == "mxfp4" else 0.5
        if method == "fp8":
            return 1.0
    return float(_BYTES.get(str(config.get("torch_dtype") or config.get("dtype")), 2))


def _first(config: Config, names: tuple[str, ...]) -> int:
    return next((int(config[name]) for name in names if config.get(name) is not None), 0)
