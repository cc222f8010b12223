"""LoRA adapters as matrices: read what PEFT saves, write it back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import safetensors
from numpy.typing import NDArray
from safetensors.numpy import save_file  # pyright: ignore[reportUnknownVariableType]  (untyped library)

from coe.errors import DataError
from coe_vllm._adapters import WEIGHTS, read_adapter

Matrix = NDArray[np.float32]
_DTYPES: Mapping[str, type[np.generic]] = {"F32": np.float32, "F16": np.float16, "F64": np.float64}


@dataclass(frozen=True, slots=True)
class Delta:
    """What an adapter adds to one weight: `up @ down`, with the adapter's scale already in `up`.

    Attributes:
        up: float32[out, rank].
        down: float32[rank, in].
    """

    up: Matrix
    down: Matrix

    @property
    def rank(self) -> int:
        """Columns of `up`."""
        return int(self.up.shape[1])


@dataclass(frozen=True, slots=True)
class Lora:
    """An adapter: its deltas by the name of the weight, and its PEFT configuration."""

    deltas: Mapping[str, Delta]
    config: Mapping[str, Any]


def read_lora(folder: Path) -> Lora:
    """Read an adapter; float32 whatever it was saved in.

    Raises:
        ConfigError: no adapter, or one that vLLM does not serve.
        DataError: a matrix without its other half, or of an unknown type.
    """
    read_adapter(folder)
    config: dict[str, Any] = json.loads((folder / "adapter_config.json").read_text())
    raw = cast(
        "list[tuple[str, dict[str, Any]]]",
        safetensors.deserialize((folder / WEIGHTS).read_bytes()),  # pyright: ignore[reportUnknownMemberType]  (untyped library)
    )
    matrices = {name: _array(folder, name, tensor) for name, tensor in raw}
    deltas: dict[str, Delta] = {}
    for name, down in matrices.items():
        stem, mark, _ = name.partition(".lora_A.")
        if not mark:
            continue
        up = matrices.get(name.replace(".lora_A.", ".lora_B."))
        if up is None:
            raise DataError(f"The adapter in {folder} has `{name}` without its other half.")
        deltas[stem] = Delta(up * np.float32(_scale(config, stem, down.shape[0])), down)
    return Lora(deltas, config)


def write_lora(folder: Path, lora: Lora) -> None:
    """Write an adapter in PEFT's format; ranks may differ from weight to weight."""
    folder.mkdir(parents=True, exist_ok=True)
    rank = max(delta.rank for delta in lora.deltas.values())
    own = {
        stem.removeprefix("base_model.model."): d.rank for stem, d in lora.deltas.items() if d.rank != rank
    }
    config = {
        **lora.config,
        "r": rank,
        "lora_alpha": rank,  # the scale is in the matrices
        "use_rslora": False,
        "rank_pattern": own,
        "alpha_pattern": own,
    }
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    tensors: dict[str, Matrix] = {}
    for stem, delta in lora.deltas.items():
        tensors[f"{stem}.lora_A.weight"] = np.ascontiguousarray(delta.down)
        tensors[f"{stem}.lora_B.weight"] = np.ascontiguousarray(delta.up)
    save_file(tensors, folder / WEIGHTS, {"format": "pt"})


def _array(folder: Path, name: str, tensor: Mapping[str, Any]) -> Matrix:
    kind, shape, data = tensor["dtype"], tensor["shape"], tensor["data"]
    if kind == "BF16":
        # A bfloat16 is the upper half of a float32.
        wide = np.frombuffer(data, np.uint16).astype(np.uint32) << np.uint32(16)
        return wide.view(np.float32).reshape(shape)
    if kind not in _DTYPES:
        raise DataError(f"The adapter in {folder}: `{name}` is of type {kind}, expected a float.")
    return np.frombuffer(data, _DTYPES[kind]).astype(np.float32).reshape(shape)


def _scale(config: Mapping[str, Any], stem: str, rank: int) -> float:
    alpha = float(config.get("lora_alpha") or rank)
    for pattern, value in cast("dict[str, float]", config.get("alpha_pattern") or {}).items():
        if stem.endswith(pattern):
            alpha = float(value)
    return alpha / (rank**0.5 if config.get("use_rslora") else rank)
