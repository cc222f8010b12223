"""A reward model's folder: a manifest with hashes, written beside its place and renamed into it."""

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
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from coe.errors import ArtifactError

if TYPE_CHECKING:
    from numpy.typing import NDArray

KIND = "reward-model"
SCHEMA = 1
MANIFEST = "manifest.json"
TENSORS = "model.safetensors"


@dataclass(frozen=True, slots=True)
class Saved:
    """What a folder holds.

    Attributes:
        about: facts, JSON.
        tensors: by name.
        revision: hash of the manifest, which holds the hashes of the files.
    """

    about: Mapping[str, Any]
    tensors: Mapping[str, NDArray[Any]]
    revision: str


def write_folder(path: Path, about: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> str:
    """Write a model, replacing one that is there; all of it or nothing. Returns the revision.

    Raises:
        ArtifactError: something else lies there, or it cannot be written.
    """
    from safetensors.numpy import save

    content = save({name: np.ascontiguousarray(tensors[name]) for name in sorted(tensors)})
    manifest = {
        "schema": SCHEMA,
        "kind": KIND,
        "files": {TENSORS: hashlib.sha256(content).hexdigest()},
        "about": about,
    }
    raw = json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False).encode() + b"\n"
    if path.exists() and not (path / MANIFEST).is_file() and (not path.is_dir() or any(path.iterdir())):
        raise ArtifactError(f"{path} exists and is no reward model.", hint="Choose another folder.")
    staging = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    old = path.with_name(f"{staging.name}.old")
    try:
        staging.mkdir(parents=True)
        (staging / TENSORS).write_bytes(content)
        (staging / MANIFEST).write_bytes(raw)
        with contextlib.suppress(FileNotFoundError):
            os.rename(path, old)
        try:
            os.rename(staging, path)
        except OSError:
            with contextlib.suppress(FileNotFoundError):
                os.rename(old, path)
            raise
    except OSError as error:
        raise ArtifactError(f"The reward model {path} cannot be written: {error}.") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
    return hashlib.sha256(raw).hexdigest()


def read_folder(path: Path) -> Saved:
    """Read and verify a model.

    Raises:
        ArtifactError: no reward model there, of another schema, or a file is missing or was changed.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        raw = (path / MANIFEST).read_bytes()
        manifest = cast("dict[str, Any]", json.loads(raw))
        kind, schema = manifest["kind"], manifest["schema"]
        expected = str(manifest["files"][TENSORS])
        about = cast("Mapping[str, Any]", manifest["about"])
    except OSError as error:
        raise ArtifactError(f"{path} is no reward model: {error.strerror} ({MANIFEST}).") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{path / MANIFEST} is no manifest of a reward model: {error!r}.") from error
    if (kind, schema) != (KIND, SCHEMA):
        raise ArtifactError(
            f"{path} holds a `{kind}` of schema {schema}; expected `{KIND}` of schema {SCHEMA}.",
            hint="Train it again.",
        )
    try:
        content = (path / TENSORS).read_bytes()
        if (found := hashlib.sha256(content).hexdigest()) != expected:
            raise ArtifactError(
                f"{path / TENSORS} was changed: sha256 {found[:12]}…, the manifest says {expected[:12]}…."
            )
        tensors = load(content)
    except OSError as error:
        raise ArtifactError(f"{path / TENSORS} is missing from its model: {error.strerror}.") from error
    except SafetensorError as error:
        raise ArtifactError(f"{path / TENSORS} holds no tensors: {error}.") from error
    return Saved(about, tensors, hashlib.sha256(raw).hexdigest())


def within(tensors: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    """The tensors whose name begins with the prefix, by the rest of their name."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
