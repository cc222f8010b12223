import contextlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coe.errors import ArtifactError
from coe_routers.store import read_folder, read_tensors, tensor_bytes, write_folder

FILES = {"a.bin": b"first", "b.bin": b"second"}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    revision = write_folder(tmp_path / "x", "thing", {"n": 1}, FILES)
    folder = read_folder(tmp_path / "x", "thing")
    assert folder.about == {"n": 1}
    assert set(folder.files) == set(FILES)
    assert folder.revision == revision
    assert [path.name for path in tmp_path.iterdir()] == ["x"], "nothing is left beside it"


def test_the_revision_follows_every_byte(tmp_path: Path) -> None:
    first = write_folder(tmp_path / "x", "thing", {}, FILES)
    assert write_folder(tmp_path / "y", "thing", {}, FILES) == first
    assert write_folder(tmp_path / "x", "thing", {}, {**FILES, "b.bin": b"secone"}) != first
    assert write_folder(tmp_path / "x", "thing", {"n": 1}, FILES) != first


def test_replacing_leaves_no_old_file(tmp_path: Path) -> None:
    write_folder(tmp_path / "x", "thing", {}, FILES)
    write_folder(tmp_path / "x", "thing", {}, {"c.bin": b""})
    assert sorted(path.name for path in (tmp_path / "x").iterdir()) == ["c.bin", "manifest.json"]


def test_a_folder_of_somebody_else_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "to-mother.txt").write_text("dear")
    with pytest.raises(ArtifactError, match="is not an artifact"):
        write_folder(tmp_path / "letters", "thing", {}, FILES)
    assert (tmp_path / "letters" / "to-mother.txt").read_text() == "dear"


def test_a_failed_write_leaves_the_old_artifact(tmp_path: Path) -> None:
    write_folder(tmp_path / "x", "thing", {}, FILES)
    with pytest.raises(ArtifactError, match="cannot be written"):
        write_folder(tmp_path / "x", "thing", {}, {"no/such/folder.bin": b""})
    assert set(read_folder(tmp_path / "x", "thing").files) == set(FILES)
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def damage(path: Path, how: str) -> None:
    manifest = path / "manifest.json"
    document = json.loads(manifest.read_text())
    match how:
        case "changed":
            (path / "a.bin").write_bytes(b"fIrst")
        case "missing":
            (path / "a.bin").unlink()
        case "schema":
            manifest.write_text(json.dumps({**document, "schema": 99}))
        case "kind":
            manifest.write_text(json.dumps({**document, "kind": "other"}))
        case "cut":
            manifest.write_bytes(manifest.read_bytes()[:40])
        case "list":
            manifest.write_text("[]")
        case _:
            manifest.unlink()


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("changed", "is corrupt"),
        ("missing", "is missing"),
        ("schema", "schema 99"),
        ("kind", "kind `other`, expected `thing`"),
        ("cut", "not a manifest"),
        ("list", "not a manifest"),
        ("gone", "not an artifact"),
    ],
)
def test_a_damaged_artifact_is_refused_with_the_reason(tmp_path: Path, how: str, why: str) -> None:
    write_folder(tmp_path / "x", "thing", {}, FILES)
    damage(tmp_path / "x", how)
    with pytest.raises(ArtifactError, match=why):
        read_folder(tmp_path / "x", "thing")


def test_a_manifest_cannot_point_outside_its_folder(tmp_path: Path) -> None:
    write_folder(tmp_path / "x", "thing", {}, FILES)
    manifest = tmp_path / "x" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"a.bin"', '"../a.bin"'))
    (tmp_path / "a.bin").write_bytes(b"first")
    with pytest.raises(ArtifactError, match="names a file outside"):
        read_folder(tmp_path / "x", "thing")


def test_tensors_come_back(tmp_path: Path) -> None:
    tensors = {
        "i8": np.arange(-3, 3, dtype=np.int8).reshape(2, 3),
        "f32": np.array([0.5, np.inf], np.float32),
        "i32": np.zeros((0, 4), np.int32),
    }
    path = tmp_path / "model.safetensors"
    path.write_bytes(tensor_bytes(tensors))
    read = read_tensors(path)
    assert set(read) == set(tensors)
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(read[name], tensor)
        assert read[name].dtype == tensor.dtype
        assert not read[name].flags.writeable


@given(st.binary(max_size=200), st.integers(0, 120))
def test_any_bytes_are_read_or_refused_and_never_crash(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, keep: int
) -> None:
    path = tmp_path_factory.mktemp("noise") / "model.safetensors"
    good = tensor_bytes({"x": np.ones(8, np.float32)})
    path.write_bytes(good[:keep] + noise)
    with contextlib.suppress(ArtifactError):
        assert set(read_tensors(path)) <= {"x"}
