from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coe.errors import DataError
from coe_routers.outcomes import read_outcomes

arrow: Any = pytest.importorskip("pyarrow", reason="pyarrow is the extra `parquet`", exc_type=ImportError)
parquet: Any = pytest.importorskip("pyarrow.parquet", exc_type=ImportError)

ROWS = [
    {"prompt_id": "1", "prompt": "x", "category": "c", "scores": {"a": 1.0, "b": 0.5}},
    {"prompt_id": "2", "prompt": "y", "category": None, "scores": {"a": 0.0, "b": None}},
]


@pytest.mark.parametrize("as_map", [False, True])
def test_objects_may_be_structs_or_maps(tmp_path: Path, as_map: bool) -> None:
    table = arrow.Table.from_pylist(ROWS)
    if as_map:
        pairs = [list(row["scores"].items()) for row in ROWS]  # type: ignore[union-attr]  # all are dicts
        column = arrow.array(pairs, type=arrow.map_(arrow.string(), arrow.float64()))
        table = table.set_column(table.schema.get_field_index("scores"), "scores", column)
    parquet.write_table(table, tmp_path / "o.parquet")
    outcomes = read_outcomes([tmp_path / "o.parquet"])
    np.testing.assert_array_equal(outcomes.scores, np.array([[1, 0.5], [0, np.nan]], np.float32))
    assert outcomes.category.tolist() == [0, -1]


def test_a_bad_row_names_file_row_and_field(tmp_path: Path) -> None:
    parquet.write_table(arrow.Table.from_pylist([*ROWS, {**ROWS[0], "prompt": None}]), tmp_path / "o.parquet")
    with pytest.raises(DataError, match=r"o\.parquet: row 3: .*prompt"):
        read_outcomes([tmp_path / "o.parquet"])


def test_not_parquet(tmp_path: Path) -> None:
    (tmp_path / "o.parquet").write_bytes(b"PAR1 but not really")
    with pytest.raises(DataError, match="not a readable Parquet file"):
        read_outcomes([tmp_path / "o.parquet"])
