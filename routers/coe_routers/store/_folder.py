"""An artifact is a folder: `manifest.json` and the files it lists with their hashes.

Written beside its place and renamed into it, so that a reader sees the old folder or the new one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from coe.errors import ArtifactError

MANIFEST = "manifest.json"
SCHEMA = 1
"""Version of the manifest; a folder of another version is refused."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A verified artifact folder.

    Attributes:
        path: where it lies.
        kind: what it holds: `static-embedder` or `router`.
        about: the manifest's own facts, as its kind defines them.
        files: names of its files, without the manifest.
        revision: sha256 of the manifest, which holds the hash of every file.
    """

    path: Path
    kind: str
    about: Mapping[str, Any]
    files: tuple[str, ...]
    revision: str


def write_folder(path: Path, kind: str, about: Mapping[str, Any], files: Mapping[str, bytes]) -> str:
    """Write an artifact, replacing one that is there. Returns its revision.

    Raises:
        ArtifactError: the place is taken by something that is not an artifact, or cannot be written.
    """
    manifest = manifest_bytes(kind, about, files)
    if path.exists() and not (path / MANIFEST).is_file() and (not path.is_dir() or any(path.iterdir())):
        raise ArtifactError(f"{path} exists and is not an artifact.", hint="Choose another folder.")
    staging = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        staging.mkdir(parents=True)
        for name, content in {**files, MANIFEST: manifest}.items():
            (staging / name).write_bytes(content)
        _swap(staging, path)
    except OSError as error:
        raise ArtifactError(f"The artifact {path} cannot be written: {error}.") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return _revision(manifest)


def manifest_bytes(kind: str, about: Mapping[str, Any], files: Mapping[str, bytes]) -> bytes:
    """The manifest of such an artifact."""
    hashes = {name: hashlib.sha256(files[name]).hexdigest() for name in sorted(files)}
    manifest = {"schema": SCHEMA, "kind": kind, "files": hashes, "about": about}
    return (
        json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False).encode() + b"\n"
    )


def _swap(staging: Path, path: Path) -> None:
    # A folder cannot be renamed over one with content: the old one steps aside, and back on failure.
    old = path.with_name(f"{staging.name}.old")
    with contextlib.suppress(FileNotFoundError):
        os.rename(path, old)
    try:
        os.rename(staging, path)
    except OSError:
        with contextlib.suppress(FileNotFoundError):
            os.rename(old, path)
        raise
    shutil.rmtree(old, ignore_errors=True)


def read_folder(path: Path, kind: str) -> Folder:
    """Read and verify an artifact.

    Raises:
        ArtifactError: no artifact there, not of this kind or schema, or a file is missing or was changed.
    """
    try:
        raw = (path / MANIFEST).read_bytes()
    except OSError as error:
        raise ArtifactError(f"{path} is not an artifact: {error.strerror} ({MANIFEST}).") from error
    try:
        manifest = cast("dict[str, Any]", json.loads(raw))
        schema, found_kind = manifest["schema"], manifest["kind"]
        hashes = cast("dict[str, str]", manifest["files"])
        about = cast("dict[str, Any]", manifest["about"])
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{path / MANIFEST} is not a manifest: {error!r}.") from error
    if schema != SCHEMA:
        raise ArtifactError(f"{path} has schema {schema}; this coe reads {SCHEMA}.", hint="Train it again.")
    if found_kind != kind:
        raise ArtifactError(f"{path} is of kind `{found_kind}`, expected `{kind}`.")
    for name, expected in hashes.items():
        if Path(name).name != name:
            raise ArtifactError(f"{path / MANIFEST} names a file outside its folder: {name}.")
        _verify(path / name, expected)
    return Folder(path, kind, about, tuple(hashes), _revision(raw))


def kind_of(path: Path) -> str:
    """What kind of artifact lies there; its files are not verified. Raises `ArtifactError`."""
    try:
        return str(json.loads((path / MANIFEST).read_bytes())["kind"])
    except OSError as error:
        raise ArtifactError(f"{path} is not an artifact: {error.strerror} ({MANIFEST}).") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{path / MANIFEST} is not a manifest: {error!r}.") from error


def _verify(path: Path, expected: str) -> None:
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ArtifactError(f"{path} is missing from its artifact: {error.strerror}.") from error
    if found != expected:
        raise ArtifactError(f"{path} is corrupt: sha256 {found[:12]}…, the manifest says {expected[:12]}….")


def _revision(manifest: bytes) -> str:
    return hashlib.sha256(manifest).hexdigest()
