"""Records as Parquet, with the field names of `Record`. Needs pyarrow, the extra `parquet`."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from coe.errors import PluginError
from coe.journal._record import Record

_ROWS = 4096
_REQUIRED = [field.name for field in msgspec.structs.fields(Record) if field.required]


def write_parquet(path: Path, chunks: Iterable[bytes]) -> None:
    """Write a file, one row group per chunk of whole lines. Arrow reads them: no record becomes an object.

    Raises:
        ValueError: a line is no record of this version; the file is not complete.
        OSError: the disk is full, or worse.
    """
    arrow, parquet = _pyarrow()
    json: Any = importlib.import_module("pyarrow.json")
    schema = _schema(arrow)
    parsing = json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="error")
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for chunk in chunks:
            # One block, because a line must not be longer than one; one thread, because requests come first.
            reading = json.ReadOptions(use_threads=False, block_size=len(chunk) + 1)
            table = json.read_json(arrow.BufferReader(chunk), reading, parsing)
            if any(table.column(name).null_count for name in _REQUIRED):
                raise ValueError(f"a line lacks one of {', '.join(_REQUIRED)}")
            writer.write_table(table)


def read_parquet(path: Path, *, flat: bool = False) -> Iterator[Record]:
    """The records of a file, in their order; when `flat`, without the fields that are lists.

    Raises:
        PluginError: pyarrow is not installed.
        ValueError, OSError: it is not a readable Parquet file of records.
    """
    arrow, parquet = _pyarrow()
    columns = [each.name for each in _schema(arrow) if not (flat and arrow.types.is_list(each.type))]
    with parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=_ROWS, columns=columns):
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
        "cache": text,
        "route_us": integer,
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
        "endpoint": text,
        "estimated": arrow.bool_(),
        "session_switch": text,
        "candidates": rows_of(
            expert=text, reward=real, tokens=integer, cost_usd=real, chosen=arrow.bool_(), error=text
        ),
        "category": text,
        "categories": rows_of(category=text, probability=real),
        "uncertainty": real,
        "reason": text,
        "chosen": text,
        "propensity": real,
        "ranked": rows_of(expert=text, score=real),
        "excluded": rows_of(expert=text, why=text),
        "revision": text,
        "attempts": rows_of(expert=text, error=text, seconds=real),
    }
    return arrow.schema(list(types.items()))
