"""The file of API keys: read whole, replaced whole."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from coe.errors import ConfigError
from coe.tenants._keys import Key

SCHEMA = 1


class _KeyFile(msgspec.Struct, forbid_unknown_fields=True):
    schema: int
    keys: list[Key]


class _Schema(msgspec.Struct):
    schema: int | None = None


def read_keys(path: Path) -> tuple[Key, ...]:
    """The keys of a file, in the order of their creation.

    Raises:
        ConfigError: the file is not there, cannot be read, or is no file of keys of this schema.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise ConfigError(
            f"{path} does not exist.", hint="Make a first key with `coe keys create`."
        ) from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from error
    try:
        # The schema first: the keys of another one may look different.
        found = msgspec.json.decode(raw, type=_Schema).schema
        if found != SCHEMA:
            raise ConfigError(f"{path} has schema {found}; expected {SCHEMA}.")
        keys = tuple(msgspec.json.decode(raw, type=_KeyFile).keys)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no file of API keys: {error}.") from None
    if len({key.id for key in keys}) != len(keys):
        raise ConfigError(f"{path} holds two keys of the same id.")
    return keys


def change_keys(path: Path, change: Callable[[tuple[Key, ...]], Sequence[Key]]) -> None:
    """Replace the keys of a file by what `change` makes of them; a file that is missing holds none.

    Readers see the old keys or the new ones, never a part; other writers wait. Only its owner may read the
    file.

    Raises:
        ConfigError: it cannot be read or written. What `change` raises passes through unwritten.
    """
    path = path.resolve()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path.parent) as folder:
            new = change(read_keys(path) if path.exists() else ())
            _replace(path, msgspec.json.format(msgspec.json.encode(_KeyFile(SCHEMA, list(new)))))
            os.fsync(folder)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}.") from error


@contextmanager
def _locked(folder: Path) -> Generator[int]:
    """Hold the folder's lock, which leaves no lock file behind."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield handle
    finally:
        os.close(handle)


def _replace(path: Path, content: bytes) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)  # readable by its owner only
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content + b"\n")
            file.flush()
            os.fsync(handle)
        os.replace(name, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise
