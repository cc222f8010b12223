"""Records as Parquet, with the field names of `Record`. Needs pyarrow, the extra `parquet`."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from coe.errors import PluginError
from coe.journal._record import Record

_ROWS = 4096


def write_parquet(path: Path, batches: Iterable[Sequence[Record]]) -> None:
    """Write a file, one row group per batch. Raises `OSError`."""
    arrow, parquet = _pyarrow()
    schema = _schema(arrow)
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for batch in batches:
            rows = [msgspec.to_builtins(record) for record in batch]
            writer.write_table(arrow.Table.from_pylist(rows, schema=schema))


def read_parquet(path: Path) -> Iterator[Record]:
    """The records of a file, in their order.

    Raises:
        PluginError: pyarrow is not installed.
        ValueError, OSError: it is not a readable Parquet file of records.
    """
    _, parquet = _pyarrow()
    with parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=_ROWS):
            # msgspec.ValidationError is a ValueError.
            yield from msgspec.convert(batch.to_pylist(), list[Record])


def _pyarrow() -> tuple[Any, Any]:
    # pyarrow ships no types; what leaves this module is checked by msgspec.
    try:
        return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise PluginError(
            "This journal holds Parquet files; reading them needs pyarrow.",
            hint="pip install 'coe-router[parquet]'",
        ) from error


def _schema(arrow: Any) -> Any:
    text, integer, real = arrow.string(), arrow.int64(), arrow.float64()

    def rows_of(**fields: Any) -> Any:
        return arrow.list_(arrow.struct(fields))

    types: dict[str, Any] = {
        "id": text,
        "time": real,
        "schema": integer,
        "tenant": text,
        "model": text,
        "session": text,
        "category": text,
        "probabilities": arrow.map_(text, real),
        "uncertainty": real,
        "reason": text,
        "chosen": text,
        "propensity": real,
        "ranked": rows_of(expert=text, score=real),
        "excluded": rows_of(expert=text, why=text),
        "revision": text,
        "cache": text,
        "route_us": integer,
        "attempts": rows_of(expert=text, error=text, seconds=real),
        "expert": text,
        "status": integer,
        "error": text,
        "streamed": arrow.bool_(),
        "sent_chunks": integer,
        "sent_bytes": integer,
        "prompt_tokens": integer,
        "completion_tokens": integer,
        "cost_usd": real,
        "first_byte_us": integer,
        "total_us": integer,
        "prompt": text,
    }
    return arrow.schema(list(types.items()))
