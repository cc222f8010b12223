"""A small random mixture of experts on disk, with weights large enough for its experts to matter."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

VOCABULARY = 1000


def write_model(
    folder: Path,
    *,
    layers: int = 2,
    hidden: int = 256,
    intermediate: int = 128,
    experts: int = 8,
    top_k: int = 2,
    seed: int = 0,
    tokenizer: bool = True,
) -> None:
    """A Qwen3-MoE checkpoint in bfloat16. Its tokenizer knows the words `w0`, `w1` … by their numbers."""
    torch.manual_seed(seed)
    config = Qwen3MoeConfig(
        vocab_size=VOCABULARY,
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        moe_intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        num_experts=experts,
        num_experts_per_tok=top_k,
        norm_topk_prob=True,
        max_position_embeddings=1024,
        tie_word_embeddings=False,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    model = Qwen3MoeForCausalLM(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() >= 2:
                # The experts' answers must weigh enough for tokens to show what they do.
                weight.normal_(
                    0, 1.5 / weight.shape[-1] ** 0.5 if "experts" in name else weight.shape[-1] ** -0.5
                )
    model.to(torch.bfloat16).save_pretrained(folder)
    if tokenizer:
        _write_tokenizer(folder)


def _write_tokenizer(folder: Path) -> None:
    vocabulary = {f"w{number}": number for number in range(VOCABULARY)}
    whole = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": None,
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "w2"},
    }
    (folder / "tokenizer.json").write_text(json.dumps(whole))
    template = "{% for message in messages %}{{ message['content'] }} {% endfor %}"
    said = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "unk_token": "w2",
        "eos_token": "w1",
        "chat_template": template,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(said))
