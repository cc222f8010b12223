"""Tuned configurations of vLLM's Triton kernel, in files as vLLM reads them from VLLM_TUNED_CONFIG_FOLDER.

A file is for a number of experts E, an intermediate size N and a device; it maps batch sizes to tiles. vLLM
takes the entry of the nearest batch. Hidden size, experts per token and how skewed the traffic is are in no
name: one folder per model is the way to keep them apart.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from coe.errors import DataError
from coe_kernels.roofline import Shape, distinct_experts

Config = Mapping[str, int]
"""BLOCK_SIZE_M, BLOCK_SIZE_N, BLOCK_SIZE_K, GROUP_SIZE_M, num_warps, num_stages."""
Table = Mapping[int, Config]
"""By batch size."""
KEYS = ("BLOCK_SIZE_M", "BLOCK_SIZE_N", "BLOCK_SIZE_K", "GROUP_SIZE_M", "num_warps", "num_stages")
BATCHES = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 256, 512, 1024, 1536, 2048, 3072, 4096)
"""Those of the files that vLLM ships."""
SHARED_BYTES = 232_448
"""Shared memory that one block may use: 227 KB from Hopper on."""
_NAME = re.compile(r"E=(\d+),N=(\d+),device_name=([^,]+)\.json")


def device_in_names(name: str) -> str:
    """A device's name as vLLM writes it into file names, such as `NVIDIA_H100_80GB_HBM3`."""
    written = re.sub(r"[\s/]+", "_", name)
    return "NVIDIA_H200" if "H200" in written.split("_") else written


def file_name(experts: int, intermediate: int, device: str) -> str:
    """Where vLLM looks for unquantised experts of 16 bits."""
    return f"E={experts},N={intermediate},device_name={device_in_names(device)}.json"


def read_table(path: Path) -> Table:
    """A file of the store, or one that vLLM ships.

    Raises:
        DataError: it is something else.
    """
    try:
        said = cast("dict[str, Any]", json.loads(path.read_text()))
        table = {
            int(batch): {key: int(value) for key, value in config.items()}
            for batch, config in said.items()
            if batch != "triton_version"
        }
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise DataError(f"{path} is no tuned configuration: {error}") from error
    # num_warps and num_stages may be left out, which vLLM then leaves to Triton.
    if not table or any(not set(KEYS[:4]) <= set(config) for config in table.values()):
        raise DataError(f"{path} is no tuned configuration: each batch needs {', '.join(KEYS[:4])}")
    return table


def write_table(folder: Path, experts: int, intermediate: int, device: str, table: Table) -> Path:
    """Writes a file of the store as a whole, and says where it is."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / file_name(experts, intermediate, device)
    rough = path.with_suffix(".rough")
    rough.write_text(json.dumps({str(batch): dict(table[batch]) for batch in sorted(table)}, indent=4) + "\n")
    rough.replace(path)
    return path


def nearest(table: Table, tokens: float) -> Config:
    """The entry that vLLM would take for a batch."""
    return table[min(table, key=lambda batch: abs(batch - tokens))]


@dataclass(frozen=True, slots=True)
class Shipped:
    """A file that vLLM ships."""

    path: Path
    experts: int
    intermediate: int
    device: str


def shipped(folder: Path, device: str) -> list[Shipped]:
    """Those for a device and unquantised experts."""
    wanted, found = device_in_names(device), list[Shipped]()
    for path in sorted(folder.glob("E=*.json")):
        named = _NAME.fullmatch(path.name)
        if named and named[3] == wanted:
            found.append(Shipped(path, int(named[1]), int(named[2]), named[3]))
    return found


def closest(files: Iterable[Shipped], experts: int, intermediate: int) -> Shipped | None:
    """The shape that differs least: in intermediate size, which fixes the tiles' work, before experts."""

    def apart(file: Shipped) -> tuple[float, float]:
        return _times(file.intermediate, intermediate), _times(file.experts, experts)

    return min(files, key=apart, default=None)


def transferred(
    shape: Shape, source: Table, source_experts: int, histogram: Sequence[float] | None = None
) -> Table:
    """A table for a shape that has none, from that of another: entries of batches that fill experts as much.

    What a tile should be depends on how many tokens an expert gets. So each batch takes the entry of the
    batch with as many tokens per used expert in the source's shape, under uniform routing there. A guess, not
    a measurement.

    Args:
        shape: of the layer.
        source: a tuned table.
        source_experts: of its shape; experts per token are taken for those of `shape`.
        histogram: recorded uses of the layer's experts; uniform if None.
    """
    there = Shape(
        hidden=shape.hidden,
        intermediate=shape.intermediate,
        experts=source_experts,
        top_k=min(shape.top_k, source_experts),
    )
    fill = {batch: batch * there.top_k / distinct_experts(there, batch) for batch in source}
    table: dict[int, Config] = {}
    for batch in BATCHES:
        wanted = batch * shape.top_k / distinct_experts(shape, batch, histogram)
        table[batch] = source[min(fill, key=lambda one: (_times(fill[one], wanted), abs(one - batch)))]
    return table


def candidates(tokens: int, element_bytes: int = 2) -> Iterator[Config]:
    """Tiles worth timing for a batch, all of which fit into shared memory."""
    rows = [16] if tokens <= 16 else [16, 32, 64] if tokens <= 256 else [32, 64, 128]
    for m, n, k, group, warps, stages in itertools.product(
        rows, (32, 64, 128, 256), (64, 128, 256), (1, 16), (4, 8), (2, 3, 4, 5)
    ):
        if stages * element_bytes * k * (m + n) > SHARED_BYTES or (group > 1 and tokens < 64):
            continue
        if m * n > 128 * 128 or (warps == 8 and m * n < 64 * 64):
            continue
        yield dict(zip(KEYS, (m, n, k, group, warps, stages), strict=True))


def for_gate_up(config: Config, element_bytes: int = 2) -> Config:
    """A tile for a kernel that has two products of the same rows at once, from one for a single product.

    Two sums and two blocks of columns must fit into registers and shared memory: as many columns in all, and
    no more stages than there is room for.
    """
    m, n, k = (config[f"BLOCK_SIZE_{one}"] for one in "MNK")
    fitted = {**config, "BLOCK_SIZE_N": max(32, n // 2)}
    stages = config.get("num_stages", 3)
    while stages > 2 and stages * element_bytes * k * (m + 2 * fitted["BLOCK_SIZE_N"]) > SHARED_BYTES:
        stages -= 1
    return {**fitted, "num_stages": stages}


def _times(one: float, other: float) -> float:
    return max(one, other) / min(one, other)
