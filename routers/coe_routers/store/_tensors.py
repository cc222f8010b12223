"""Reading safetensors by memory map: pages are loaded when a row is looked up, and shared by processes."""

from __future__ import annotations

import json
import mmap
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from coe.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

_DTYPES = {"I8": "<i1", "U8": "<u1", "I32": "<i4", "I64": "<i8", "F16": "<f2", "F32": "<f4"}


def read_tensors(path: Path) -> dict[str, NDArray[Any]]:
    """Map a safetensors file. The arrays are read-only views of it.

    Raises:
        ArtifactError: not a safetensors file, or a tensor of a type that coe does not write.
    """
    try:
        with path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        header_bytes = int.from_bytes(mapped[:8], "little")
        header = cast("dict[str, dict[str, Any]]", json.loads(mapped[8 : 8 + header_bytes]))
        if not isinstance(header, dict):  # pyright: ignore[reportUnnecessaryIsInstance]  (it comes from a file)
            raise ValueError("its header is no object")
        header.pop("__metadata__", None)
        return {name: _view(mapped, 8 + header_bytes, about) for name, about in header.items()}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{path} is not a readable safetensors file: {error}.") from error


def _view(mapped: mmap.mmap, base: int, about: dict[str, Any]) -> NDArray[Any]:
    dtype = np.dtype(_DTYPES[about["dtype"]])
    start, end = about["data_offsets"]
    if start < 0 or end < start or base + end > len(mapped):
        raise ValueError("a tensor lies outside the file")
    return np.frombuffer(mapped, dtype, (end - start) // dtype.itemsize, base + start).reshape(about["shape"])


def tensor_bytes(tensors: Mapping[str, NDArray[Any]]) -> bytes:
    """The tensors as the bytes of a safetensors file; the same tensors always give the same bytes."""
    from safetensors.numpy import save

    return save({name: np.ascontiguousarray(tensors[name]) for name in sorted(tensors)})
