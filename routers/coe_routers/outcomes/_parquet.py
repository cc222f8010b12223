"""Rows of a Parquet file, through pyarrow when it is installed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from coe.errors import DataError
from coe_routers._extras import library
from coe_routers.outcomes._outcomes import OPTIONAL_COLUMNS

_MAPS = ("scores", *OPTIONAL_COLUMNS)


def parquet_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Rows as plain dicts, batch by batch. Objects may be struct or map columns.

    Raises:
        PluginError: pyarrow is not installed.
        DataError: the file cannot be read as Parquet.
    """
    # pyarrow ships no types; everything that leaves this function is checked by msgspec.
    arrow: Any = library("pyarrow", "parquet")
    parquet: Any = library("pyarrow.parquet", "parquet")
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=4096):
                for row in cast("list[dict[str, Any]]", batch.to_pylist()):
                    yield _plain(row)
    except (arrow.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a readable Parquet file: {error}.") from error


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """A map column arrives as a list of pairs; absent columns must not arrive as null."""
    plain = {key: value for key, value in row.items() if value is not None}
    for name in _MAPS:
        if isinstance(plain.get(name), list):
            plain[name] = dict(plain[name])
    return plain
