"""A sparse model with fewer experts per layer: watching its router, writing the smaller one, judging both."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from coe.errors import DataError
from coe_kernels.checkpoint import EXPERTS
from coe_kernels.pruning import RouterUse, router_use

_EXPERT = re.compile(r"^(.+)\.experts\.(\d+)\.(.+)$")
_ROUTER = re.compile(r"^(.+)\.(?:gate|router)(?:\.proj)?\.(?:weight|bias|e_score_correction_bias)$")
_LONGEST = 512
"""Tokens of a text that are read."""


def tokens(model: Path, texts: Sequence[str]) -> list[torch.Tensor]:
    """Each text as int64[1, tokens], those of two tokens and more."""
    tokenizer: Any = AutoTokenizer.from_pretrained(model)
    rows = (tokenizer(text, return_tensors="pt").input_ids[:, :_LONGEST] for text in texts)
    return [row for row in rows if row.shape[1] > 1]


def watch(model: Path, texts: Sequence[torch.Tensor], top_k: int) -> tuple[dict[str, RouterUse], float]:
    """How every layer's router used its experts, by the layer's name, and the texts' mean log-probability.

    Raises:
        DataError: no routers were found.
    """
    loaded = _load(model)
    seen: dict[str, list[np.ndarray[Any, Any]]] = {}
    for name, module in loaded.named_modules():
        weight = getattr(module, "weight", None)
        router = name.rpartition(".")[2] in ("gate", "router") and weight is not None and weight.dim() == 2
        if router and hasattr(loaded.get_submodule(name.rpartition(".")[0]), "experts"):
            module.register_forward_pre_hook(_listener(seen.setdefault(name.rpartition(".")[0], []), weight))
    if not seen:
        raise DataError(f"{model} has no routers called gate or router beside experts")
    score = _score(loaded, texts)
    return {name: router_use(np.concatenate(parts), top_k) for name, parts in seen.items()}, score


def score(model: Path, texts: Sequence[torch.Tensor]) -> float:
    """Mean log-probability of a token of the texts, given those before it."""
    return _score(_load(model), texts)


def write_smaller(model: Path, out: Path, kept: dict[str, list[int]]) -> None:
    """Writes the checkpoint with the experts that are kept, numbered anew, and its routers' rows.

    Args:
        model: folder with config.json and safetensors, experts one by one as transformers saves them.
        out: a new folder.
        kept: numbers by the layer's name, of all layers equally many.

    Raises:
        DataError: the checkpoint has no experts of these names; nothing is written then.
    """
    files = sorted(model.glob("*.safetensors"))
    found = {expert[1] for file in files for name in _names(file) if (expert := _EXPERT.match(name))}
    if missing := sorted(set(kept) - found):
        raise DataError(
            f"{model} has no tensors {missing[0]}.experts.0.…: experts that are stored together are not read"
        )
    out.mkdir(parents=True)
    place = {layer: {old: new for new, old in enumerate(numbers)} for layer, numbers in kept.items()}
    where: dict[str, str] = {}
    size = 0
    for file in files:
        smaller: dict[str, torch.Tensor] = {}
        for name, tensor in load_file(file).items():
            expert, router = _EXPERT.match(name), _ROUTER.match(name)
            if expert and expert[1] in place:
                if (number := place[expert[1]].get(int(expert[2]))) is not None:
                    smaller[f"{expert[1]}.experts.{number}.{expert[3]}"] = tensor
            elif router and router[1] in kept:
                smaller[name] = tensor[kept[router[1]]].clone()
            else:
                smaller[name] = tensor
        save_file(smaller, out / file.name, {"format": "pt"})
        where |= dict.fromkeys(smaller, file.name)
        size += sum(tensor.numel() * tensor.element_size() for tensor in smaller.values())
    for file in model.glob("*.json"):
        text = file.read_text()
        if file.name == "config.json":
            text = _smaller_config(text, len(next(iter(kept.values()))))
        elif file.name.endswith(".safetensors.index.json"):
            text = json.dumps({"metadata": {"total_size": size}, "weight_map": where}, indent=2)
        (out / file.name).write_text(text)
    for file in (*model.glob("*.jinja"), *model.glob("*.model"), *model.glob("merges.txt")):
        (out / file.name).write_bytes(file.read_bytes())


def _names(file: Path) -> list[str]:
    with safe_open(file, "pt") as tensors:
        return list(tensors.keys())


def _smaller_config(text: str, experts: int) -> str:
    config: Any = json.loads(text)
    for part in (config, config.get("text_config") or {}):
        for name in EXPERTS:
            if name in part:
                part[name] = experts
    return json.dumps(config, indent=2)


def _load(model: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()


def _listener(to: list[np.ndarray[Any, Any]], weight: torch.Tensor) -> Any:
    """The router's logits from what goes in: what comes out differs by family."""

    def listen(_module: Any, given: tuple[torch.Tensor, ...]) -> None:
        rows = given[0].reshape(-1, weight.shape[1])
        to.append(torch.nn.functional.linear(rows, weight).double().numpy())

    return listen


@torch.inference_mode()
def _score(model: Any, texts: Sequence[torch.Tensor]) -> float:
    total, count = 0.0, 0
    for row in texts:
        logits = model(row).logits[0, :-1].double().log_softmax(-1)
        total += float(logits.gather(1, row[0, 1:, None]).sum())
        count += row.shape[1] - 1
    return total / max(1, count)
