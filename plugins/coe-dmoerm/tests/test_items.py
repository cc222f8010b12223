"""Reading pairs and ratings, and saying where a file is wrong."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from reward_data import pairs, ratings, write

from coe.errors import DataError
from coe_dmoerm._items import Item, Pair, rated_pairs, read_data, read_items


def rated(prompt: str, value: float) -> Item:
    return Item(f"{prompt}{value}", "t", prompt, "", "x", {"a": value})


def test_pairs_and_ratings_may_be_mixed(tmp_path: Path) -> None:
    files = [write(tmp_path / "p.jsonl", pairs(5)), write(tmp_path / "r.jsonl", ratings(2))]
    data = read_data(files)
    assert len(data.items) == 2 * 5 + 2 * 2 * 4
    assert data.tasks == ("explain", "greet", "writing")
    assert all("what?" in data.items[pair.worse].response for pair in data.pairs[:5])


def test_ties_are_counted_and_left_out(tmp_path: Path) -> None:
    rows = pairs(3)
    rows[1]["label"] = "tie"
    data = read_data([write(tmp_path / "p.jsonl", rows)])
    assert (len(data.pairs), data.ties, len(data.items)) == (2, 1, 4)


def test_a_gzip_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl.gz"
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in pairs(2)).encode()))
    assert len(read_data([path]).pairs) == 2


def test_pairs_of_ratings_need_the_same_prompt_and_a_gap() -> None:
    items = [rated("p", 0.5), rated("p", 0.54), rated("p", 0.55), rated("q", 1.0)]
    assert rated_pairs(items) == [Pair(2, 0)]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"label": "c"}, "`label` is 'c'; expected `a`, `b` or `tie`"),
        ({"response_b": 3}, "`response_b` must be a text, found int"),
        ({"prompt": None}, "`prompt` must be a text, found NoneType"),
        ({"aspects": {"x": 2}}, r"`aspects.x` is 2; expected a number in 0..1"),
        ({"aspects": {"x": True}}, "`aspects.x` is True"),
        ({"aspects": {}}, "`aspects` must be an object with at least one rating"),
    ],
)
def test_a_wrong_row_is_named(tmp_path: Path, change: dict[str, object], said: str) -> None:
    row = {**pairs(1)[0], "item_id": "i", "task": "t", "response": "r", **change}
    path = write(tmp_path / "p.jsonl", [pairs(1)[0], row])
    with pytest.raises(DataError, match=f"p.jsonl:2: {said}"):
        read_data([path])


def test_what_is_no_json_or_neither_kind_is_named(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text("{}\n")
    with pytest.raises(DataError, match=r"p.jsonl:1: neither `aspects`"):
        read_data([path])
    path.write_text("[1]\n")
    with pytest.raises(DataError, match=r"p.jsonl:1: expected an object, found list"):
        read_data([path])
    path.write_text("\n")
    with pytest.raises(DataError, match="no rating and no pair"):
        read_data([path])
    with pytest.raises(DataError, match="cannot be read"):
        read_data([tmp_path / "absent.jsonl"])


def test_items_to_score_may_lack_task_and_id(tmp_path: Path) -> None:
    path = write(tmp_path / "i.jsonl", [{"prompt": "p", "response": "r"}])
    (item,) = read_items(path)
    assert (item.item_id, item.task, item.context) == ("0", None, "")
