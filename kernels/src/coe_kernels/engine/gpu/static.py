"""What the kernels compile to for GPUs that need not be there: `python -m coe_kernels.engine.gpu.static`."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from coe_kernels.engine.gpu import kernels
from coe_kernels.engine.gpu.launch import DECODE
from coe_kernels.tuned import for_gate_up

TARGETS = (80, 90, 100)
"""Ampere, Hopper, Blackwell."""
_TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
_INSTRUCTION = re.compile(r"^\s+/\*[0-9a-f]+\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """One kernel for one target.

    Attributes:
        registers: per thread.
        spilled_bytes: of local memory per thread.
        shared_bytes: per block.
        instructions: of the machine code, by name, how many.
    """

    registers: int
    spilled_bytes: int
    shared_bytes: int
    instructions: Mapping[str, int]

    def count(self, beginning: str) -> int:
        """Instructions whose names begin so."""
        return sum(many for name, many in self.instructions.items() if name.startswith(beginning))


def compiled(
    kernel: Any, target: int, dtype: str, constants: Mapping[str, Any], warps: int, stages: int
) -> Compiled:
    """Compiles a kernel of `coe_kernels.engine.gpu.kernels`.

    Args:
        kernel: the function.
        target: compute capability, such as 90.
        dtype: of weights and activations, in Triton's short names, such as `bf16`.
        constants: its constexpr arguments.
        warps, stages: Triton's options.
    """
    signature: dict[str, str] = {}
    attributes: dict[tuple[int], list[list[object]]] = {}
    for index, name in enumerate(kernel.arg_names):
        if name in constants:
            signature[name] = "constexpr"
            continue
        signature[name] = _TYPES.get(name, f"*{dtype}")
        # Triton learns at launch that addresses and sizes are multiples of 16; without it loads are narrow.
        if signature[name].startswith("*") or name in ("hidden", "intermediate"):
            attributes[(index,)] = [["tt.divisibility", 16]]
    source = ASTSource(fn=kernel, signature=signature, constexprs=dict(constants), attrs=attributes)
    made = triton.compile(
        source, target=GPUTarget("cuda", target, 32), options={"num_warps": warps, "num_stages": stages}
    )
    with tempfile.TemporaryDirectory() as folder:
        cubin = Path(folder) / "kernel.cubin"
        cubin.write_bytes(made.asm["cubin"])
        usage = _run("cuobjdump", "--dump-resource-usage", str(cubin))
        code = _run("nvdisasm", "-c", str(cubin))
    names: dict[str, int] = {}
    for name in _INSTRUCTION.findall(code):
        names[name] = names.get(name, 0) + 1
    return Compiled(
        registers=int(_found(r"REG:(\d+)", usage)),
        spilled_bytes=int(_found(r"LOCAL:(\d+)", usage)) + int(_found(r"STACK:(\d+)", usage)),
        shared_bytes=int(made.metadata.shared),
        instructions=names,
    )


def report() -> list[dict[str, Any]]:
    """Every kernel for every target and type, with the tiles that are used."""
    small, large = ((16, 64, 128), 4), ((64, 128, 64), 3)
    rows: list[dict[str, Any]] = []
    for target, dtype in itertools.product(TARGETS, ("bf16", "fp16")):
        for kernel in (kernels.decode_gate_up, kernels.decode_down):
            tile = {name: DECODE[name] for name in ("BLOCK_N", "BLOCK_K")}
            rows.append(_row(kernel, target, dtype, {**tile, "TOP_K": 8}, DECODE["num_stages"]))
        for (m, n, k), stages in (small, large):
            sizes = {"BLOCK_SIZE_M": m, "BLOCK_SIZE_N": n, "BLOCK_SIZE_K": k, "num_stages": stages}
            first, rest = for_gate_up(sizes), {"BLOCK_M": m, "BLOCK_K": k, "GROUP_M": 8, "UPCAST": False}
            gate_up = {**rest, "BLOCK_N": first["BLOCK_SIZE_N"], "TOP_K": 8}
            rows.append(_row(kernels.grouped_gate_up, target, dtype, gate_up, first["num_stages"]))
            rows.append(_row(kernels.grouped_down, target, dtype, {**rest, "BLOCK_N": n}, stages))
    return rows


def _row(kernel: Any, target: int, dtype: str, constants: Mapping[str, Any], stages: int) -> dict[str, Any]:
    found = compiled(kernel, target, dtype, constants, 4, stages)
    return {
        "kernel": kernel.__name__,
        "target": target,
        "dtype": dtype,
        "constants": dict(constants),
        "registers": found.registers,
        "spilled_bytes": found.spilled_bytes,
        "shared_bytes": found.shared_bytes,
        "instructions": {name: found.count(name) for name in _TELLING},
    }


_TELLING = ("LDG.E.128", "LDGSTS", "HMMA", "HGMMA", "UTCHMMA", "STL")
_TYPES = {
    "ids": "*i32",
    "order": "*i32",
    "block_experts": "*i32",
    "padded": "*i32",
    "weights": "*fp32",
    "hidden": "i32",
    "intermediate": "i32",
    "experts": "i32",
    "slots": "i32",
    "capacity": "i32",
}


def _run(tool: str, *arguments: str) -> str:
    done = subprocess.run(  # noqa: S603 - a tool of the Triton distribution
        [str(_TOOLS / tool), *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise ValueError(f"no {pattern} in what the tool says: {text[:200]}")
    return match[1]


if __name__ == "__main__":
    print(json.dumps(report()))
