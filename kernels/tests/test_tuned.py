"""The store of tuned configurations: names, files, and tables carried over to another shape."""

import json
from pathlib import Path

import pytest

from coe.errors import DataError
from coe_kernels import tuned
from coe_kernels.roofline import Shape, distinct_experts

FULL = Shape(hidden=2048, intermediate=768, experts=128, top_k=8)


def config(size: int) -> dict[str, int]:
    return dict(zip(tuned.KEYS, (size, 64, 64, 1, 4, 3), strict=True))


SOURCE = {1: config(16), 64: config(17), 1024: config(18)}


def test_names_are_vllms() -> None:
    assert (
        tuned.file_name(96, 768, "NVIDIA H100 80GB HBM3")
        == "E=96,N=768,device_name=NVIDIA_H100_80GB_HBM3.json"
    )
    assert tuned.device_in_names("NVIDIA H200 NVL") == "NVIDIA_H200"


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tuned.write_table(tmp_path / "new", 96, 768, "NVIDIA H100", SOURCE)
    assert tuned.read_table(path) == SOURCE
    assert [file.name for file in path.parent.iterdir()] == ["E=96,N=768,device_name=NVIDIA_H100.json"]
    [found] = tuned.shipped(path.parent, "NVIDIA H100")
    assert (found.experts, found.intermediate) == (96, 768)
    assert tuned.shipped(path.parent, "NVIDIA H200") == []


@pytest.mark.parametrize("text", ["[]", "{}", "{", '{"x": {}}', '{"1": {"BLOCK_SIZE_M": 16}}', '{"1": 3}'])
def test_what_is_no_table_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "file.json").write_text(text)
    with pytest.raises(DataError, match="no tuned configuration"):
        tuned.read_table(tmp_path / "file.json")


def test_the_same_shape_keeps_its_entries() -> None:
    table = tuned.transferred(FULL, SOURCE, 128)
    assert {batch: table[batch] for batch in SOURCE} == SOURCE
    assert set(table) == set(tuned.BATCHES)


def test_fewer_experts_take_entries_of_larger_batches() -> None:
    pruned = Shape(hidden=2048, intermediate=768, experts=32, top_k=8)
    source = {batch: config(16 + index) for index, batch in enumerate(tuned.BATCHES)}
    table = tuned.transferred(pruned, source, 128)
    # 64 tokens give each of 32 experts 16, as 256 tokens do with 128.
    assert table[64] == source[256]
    assert table[1] == source[1], "one token is one token, however many experts there are"


def test_skewed_traffic_takes_entries_of_larger_batches_too() -> None:
    source = {batch: config(16 + index) for index, batch in enumerate(tuned.BATCHES)}
    uses = [1000.0] * 16 + [0.0] * 112
    table = tuned.transferred(FULL, source, 128, uses)
    assert distinct_experts(FULL, 64, uses) == pytest.approx(16)
    # 64 tokens of 8 over 16 experts: 32 each, as 512 tokens give 128 experts.
    assert table[64] == source[512]


def test_the_closest_shape_is_that_of_the_nearest_intermediate_size() -> None:
    files = [
        tuned.Shipped(Path(f"{e}-{n}"), e, n, "d") for e, n in ((128, 384), (64, 768), (8, 768), (128, 1024))
    ]
    found = tuned.closest(files, 96, 768)
    assert found is not None
    assert (found.experts, found.intermediate) == (64, 768)
    assert tuned.closest([], 1, 1) is None


@pytest.mark.parametrize("tokens", [1, 64, 4096])
def test_candidates_fit_into_shared_memory_and_are_distinct(tokens: int) -> None:
    found = [tuple(one.values()) for one in tuned.candidates(tokens)]
    assert 20 < len(found) == len(set(found)) < 400
    assert all(s * 2 * k * (m + n) <= tuned.SHARED_BYTES for m, n, k, _, _, s in found)


def test_the_nearest_batch_counts_as_in_vllm() -> None:
    assert tuned.nearest(SOURCE, 30) == SOURCE[1]
    assert tuned.nearest(SOURCE, 40) == SOURCE[64]
    assert json.dumps(tuned.nearest(SOURCE, 5000)) == json.dumps(SOURCE[1024])
