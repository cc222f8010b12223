from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coe.errors import DataError
from coe_routers.outcomes import merge, read_outcomes, read_prompts


def row(number: int, **more: object) -> dict[str, object]:
    return {"prompt_id": f"p{number}", "prompt": f"text {number}", "scores": {"a": 1, "b": 0.5}, **more}


def written(path: Path, *rows: object) -> Path:
    text = "".join((each if isinstance(each, str) else json.dumps(each)) + "\n" for each in rows)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text, encoding="utf-8")
    return path


def test_columns_of_two_files(tmp_path: Path) -> None:
    first = written(tmp_path / "one.jsonl", row(1, category="maths", cost_usd={"a": 0.1}, benchmark="x"))
    second = written(
        tmp_path / "two.jsonl.gz",
        {"prompt_id": 7, "prompt": "", "scores": {"c": 0, "a": None}, "tools": [{"name": "f"}]},
    )
    outcomes = read_outcomes([first, second])
    assert outcomes.prompt_ids == ("p1", "7")
    assert outcomes.experts == ("a", "b", "c")
    assert outcomes.categories == ("maths",)
    assert outcomes.category.tolist() == [0, -1]
    assert not outcomes.labelled
    np.testing.assert_array_equal(
        outcomes.scores, np.array([[1, 0.5, np.nan], [np.nan, np.nan, 0]], np.float32)
    )
    assert outcomes.cost_usd is not None
    np.testing.assert_array_equal(outcomes.cost_usd[0], np.array([0.1, np.nan, np.nan], np.float32))
    assert outcomes.latency_s is None
    assert [len(each.tools) for each in outcomes.features()] == [0, 1]


def test_numbers_of_an_expert_without_a_score_are_left_out(tmp_path: Path) -> None:
    outcomes = read_outcomes([written(tmp_path / "o.jsonl", row(1, latency_s={"nobody": 3, "b": 2}))])
    assert outcomes.experts == ("a", "b")


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ("{", ":2: "),
        ("[1]", ":2: "),
        ({"prompt": "x", "scores": {"a": 1}}, "prompt_id"),
        ({"prompt_id": "x", "scores": {"a": 1}}, "prompt"),
        ({"prompt_id": "x", "prompt": 3, "scores": {"a": 1}}, "$.prompt"),
        ({"prompt_id": "x", "prompt": "y", "scores": {"a": "1"}}, "$.scores"),
        ({"prompt_id": "x", "prompt": "y", "scores": {"a": 1.5}}, "`scores.a` is 1.5"),
        ({"prompt_id": "x", "prompt": "y", "scores": {"a": -0.1}}, "`scores.a` is -0.1"),
        ({"prompt_id": "x", "prompt": "y", "scores": {}}, "`scores` is missing or empty"),
        ({"prompt_id": "x", "prompt": "y", "scores": {"a": None}}, "`scores` is missing or empty"),
        ({"prompt_id": "x", "prompt": "y"}, "`scores` is missing or empty"),
        (row(2, latency_s={"a": -1}), "`latency_s.a` is -1"),
        (row(2, tools=[{"description": "nameless"}]), "$.tools"),
        (row(1), "'p1' comes twice; first at"),
        ('{"prompt_id": "x", "prompt": "y", "scores": {"a": NaN}}', ":2: "),
    ],
)
def test_a_bad_row_names_file_line_and_field(tmp_path: Path, bad: object, says: str) -> None:
    path = written(tmp_path / "o.jsonl", row(1), bad)
    with pytest.raises(DataError) as error:
        read_outcomes([path])
    assert f"{path}:2: " in str(error.value)
    assert says in str(error.value)
    assert error.value.code == "data_invalid"


def test_text_that_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "o.jsonl"
    path.write_bytes(b'{"prompt_id": "x", "prompt": "\xff\xfe", "scores": {"a": 1}}\n')
    with pytest.raises(DataError, match=r"o\.jsonl:1: "):
        read_outcomes([path])


def test_a_cut_gzip_file_says_after_which_line(tmp_path: Path) -> None:
    path = written(tmp_path / "o.jsonl.gz", *(row(n, note=str(n) * 50) for n in range(2000)))
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(DataError, match=r"damaged gzip file after line \d+"):
        read_outcomes([path])


@pytest.mark.parametrize("name", ["missing.jsonl", "missing.jsonl.gz", "data.csv"])
def test_a_file_that_cannot_be_read(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=name):
        read_outcomes([tmp_path / name])


def test_no_rows(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No rows"):
        read_outcomes([written(tmp_path / "o.jsonl", "", "  ")])


def test_prompts_need_no_scores(tmp_path: Path) -> None:
    path = written(tmp_path / "p.jsonl", {"prompt_id": "x", "prompt": "y", "tools": [{"name": "f"}]})
    [prompt] = read_prompts(path)
    assert (prompt.prompt_id, prompt.prompt) == ("x", "y")
    assert prompt.tools is not None
    assert prompt.tools[0].name == "f"


def test_rows_and_experts_are_picked(tmp_path: Path) -> None:
    path = written(tmp_path / "o.jsonl", *(row(n, latency_s={"a": n, "b": 2 * n}) for n in (1, 2, 3)))
    part = read_outcomes([path]).rows(np.array([2, 0])).of_experts(["b"])
    assert part.prompt_ids == ("p3", "p1")
    assert part.experts == ("b",)
    assert part.latency_s is not None
    assert part.latency_s.ravel().tolist() == [6.0, 2.0]
    with pytest.raises(DataError, match="No outcomes of `z`"):
        part.of_experts(["z"])


def test_new_experts_are_merged_by_prompt_id(tmp_path: Path) -> None:
    old = read_outcomes([written(tmp_path / "o.jsonl", row(1), row(2))])
    new = {"prompt_id": "p2", "prompt": "text 2", "scores": {"new": 0.25}, "latency_s": {"new": 4}}
    both = merge(old, read_outcomes([written(tmp_path / "n.jsonl", new)]))
    assert both.experts == ("a", "b", "new")
    np.testing.assert_array_equal(both.scores[:, 2], np.array([np.nan, 0.25], np.float32))
    assert both.latency_s is not None
    assert np.isnan(both.latency_s[:, :2]).all()
    with pytest.raises(DataError, match="exist already"):
        merge(old, old)
    stranger = written(tmp_path / "s.jsonl", {"prompt_id": "q", "prompt": "q", "scores": {"z": 1}})
    with pytest.raises(DataError, match="share no prompt_id"):
        merge(old, read_outcomes([stranger]))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from("abcd"), st.none() | st.floats(0, 1, width=32)), max_size=8))
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, float | None]]
) -> None:
    path = tmp_path_factory.mktemp("outcomes") / "o.jsonl"
    good = [each for each in rows if any(value is not None for value in each.values())]
    if not good:
        return
    written(path, *({"prompt_id": n, "prompt": "p", "scores": each} for n, each in enumerate(good)))
    outcomes = read_outcomes([path])
    for scores, each in zip(outcomes.scores, good, strict=True):
        read = {
            name: float(value) for name, value in zip(outcomes.experts, scores, strict=True) if value == value
        }
        assert read == {name: value for name, value in each.items() if value is not None}
