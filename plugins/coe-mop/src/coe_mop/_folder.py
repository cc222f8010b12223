"""A bundle's folder: a manifest with the hash of every file, written beside its place and renamed into it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from coe.errors import ArtifactError

KIND = "mop-bundle"
SCHEMA = 1
MANIFEST = "manifest.json"


def write_folder(path: Path, about: Mapping[str, Any], files: Mapping[str, bytes]) -> str:
    """Write a bundle, replacing one that is there; all of it or nothing. Returns the revision.

    Raises:
        ArtifactError: something else lies there, or it cannot be written.
    """
    hashes = {name: hashlib.sha256(files[name]).hexdigest() for name in sorted(files)}
    manifest = {"schema": SCHEMA, "kind": KIND, "files": hashes, "about": about}
    raw = json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False).encode() + b"\n"
    if path.exists() and not (path / MANIFEST).is_file() and (not path.is_dir() or any(path.iterdir())):
        raise ArtifactError(f"{path} exists and is no bundle.", hint="Choose another folder.")
    staging = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    old = path.with_name(f"{staging.name}.old")
    try:
        staging.mkdir(parents=True, mode=0o700)  # demonstrations are the user's data
        for name, content in {**files, MANIFEST: raw}.items():
            (staging / name).write_bytes(content)
        with contextlib.suppress(FileNotFoundError):
            os.rename(path, old)
        try:
            os.rename(staging, path)
        except OSError:
            with contextlib.suppress(FileNotFoundError):
                os.rename(old, path)
            raise
    except OSError as error:
        raise ArtifactError(f"The bundle {path} cannot be written: {error}.") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
    return hashlib.sha256(raw).hexdigest()


def read_folder(path: Path) -> tuple[Mapping[str, Any], dict[str, bytes], str]:
    """Read and verify a bundle: its facts, its files, its revision.

    Raises:
        ArtifactError: no bundle there, of another schema, or a file is missing or was changed.
    """
    try:
        raw = (path / MANIFEST).read_bytes()
        manifest = cast("dict[str, Any]", json.loads(raw))
        kind, schema = manifest["kind"], manifest["schema"]
        hashes = cast("dict[str, str]", manifest["files"])
        about = cast("Mapping[str, Any]", manifest["about"])
    except OSError as error:
        raise ArtifactError(f"{path} is no bundle: {error.strerror} ({MANIFEST}).") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{path / MANIFEST} is no manifest: {error!r}.") from error
    if (kind, schema) != (KIND, SCHEMA):
        raise ArtifactError(
            f"{path} holds a `{kind}` of schema {schema}; expected `{KIND}` of schema {SCHEMA}.",
            hint="Build it again.",
        )
    files: dict[str, bytes] = {}
    for name, expected in hashes.items():
        if Path(name).name != name:
            raise ArtifactError(f"{path / MANIFEST} names a file outside its folder: {name}.")
        try:
            files[name] = (path / name).read_bytes()
        except OSError as error:
            raise ArtifactError(f"{path / name} is missing from its bundle: {error.strerror}.") from error
        if (found := hashlib.sha256(files[name]).hexdigest()) != expected:
            raise ArtifactError(
                f"{path / name} was changed: sha256 {found[:12]}…, the manifest says {expected[:12]}…."
            )
    return about, files, hashlib.sha256(raw).hexdigest()
