"""What the Triton kernels compile to, without a GPU: registers, spills, shared memory, instructions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

pytest.importorskip("triton", reason="Triton is not installed: run `make test-kernels`")

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    # Of its own process: the interpreter and the compiler exclude each other within one.
    env = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-m", "coe_kernels.engine.gpu.static"],
        capture_output=True,
        text=True,
        env=env,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_kernel_compiles_for_every_target_and_launches(rows: list[dict[str, Any]]) -> None:
    assert {row["target"] for row in rows} == {80, 90, 100}
    assert {row["kernel"] for row in rows} == {
        "decode_gate_up",
        "decode_down",
        "grouped_gate_up",
        "grouped_down",
    }
    assert {row["dtype"] for row in rows} == {"bf16", "fp16"}
    for row in rows:
        assert row["spilled_bytes"] == 0, row
        assert row["shared_bytes"] <= 232_448, row
        assert row["registers"] <= 255, row


def test_decoding_reads_16_bytes_at_once_and_leaves_room_for_many_blocks(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        if row["kernel"].startswith("decode"):
            assert row["instructions"]["LDG.E.128"] >= 2, row
            assert row["registers"] <= 96, row
            assert row["shared_bytes"] <= 2048, row


def test_groups_use_the_tensor_cores_of_their_target(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        if row["kernel"].startswith("grouped"):
            large = row["constants"]["BLOCK_M"] >= 64
            wanted = {80: "HMMA", 90: "HGMMA" if large else "HMMA", 100: "UTCHMMA" if large else "HMMA"}
            assert row["instructions"][wanted[row["target"]]] > 0, row
            assert row["instructions"]["LDGSTS"] > 0, "copies into shared memory overlap the products"
