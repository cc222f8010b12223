"""Reading examples, metrics, choosing by recorded scores."""

import gzip
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from coe.errors import ConfigError, DataError, PluginError
from coe_mop._examples import Example, read_examples, read_queries
from coe_mop._metrics import find_metric, score
from coe_mop._prompts import cleaned
from coe_mop.choice import choose_per_region


def test_examples_are_read(tmp_path: Path) -> None:
    path = tmp_path / "e.jsonl.gz"
    rows = [
        {"input": "a", "output": 1, "task": "t"},
        {"input": {"cause": "rain", "n": 2}, "output": ["x", "y"]},
        {"input": "a", "output": 1, "task": "t"},
    ]
    with gzip.open(path, "wt") as file:
        file.write("\n\n".join(map(json.dumps, rows)))
    assert read_examples(path) == [Example("a", ("1",), "t"), Example("cause: rain\nn: 2", ("x", "y"))]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", r"e\.jsonl:1: not JSON"),
        ("[]", "expected an object with `input`, found list"),
        ('{"output": "x"}', "`input` must be a text"),
        ('{"input": "x"}', "`output` must be a text"),
        ('{"input": "x", "output": []}', "at least one"),
        ('{"input": "x", "output": "y", "task": 3}', "`task` must be a text"),
        ("", "holds no example"),
    ],
)
def test_a_wrong_row_is_named(line: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "e.jsonl").write_text(line)
    with pytest.raises(DataError, match=message):
        read_examples(tmp_path / "e.jsonl")


def test_queries_keep_their_ids(tmp_path: Path) -> None:
    (tmp_path / "q.jsonl").write_text('{"input": "a"}\n{"id": "x", "input": "b"}\n')
    assert [query.id for query in read_queries(tmp_path / "q.jsonl")] == [0, "x"]
    with pytest.raises(DataError, match="cannot be read"):
        read_queries(tmp_path / "nothing.jsonl")


@pytest.mark.parametrize(
    ("name", "answer", "right", "expected"),
    [
        ("exact", " yes\n", "yes", 1),
        ("exact", "Yes", "yes", 0),
        ("normalised", "The  Cat.", "cat", 1),
        ("normalised", "(A)", "A", 1),
        ("normalised", "] )", "] )", 1),
        ("normalised", "] )", ") ]", 0),
        ("contains", "It is Paris, I think", "Paris", 1),
        ("contains", "Parisian", "Paris", 0),
        ("f1", "red big cat", "big cat", 0.8),
        ("f1", "dog", "cat", 0),
        ("set", "dog, cat", "cat, dog", 1),
        ("set", "dog", "cat, dog", 0),
        ("operator:eq", "a", "a", 1),
    ],
)
def test_metrics(name: str, answer: str, right: str, expected: float) -> None:
    assert score(find_metric(name), answer, (right, "something else")) == pytest.approx(expected)


def test_metrics_that_do_not_exist() -> None:
    for name, message in (
        ("bleu", "Unknown metric"),
        ("no_such:f", "cannot be imported"),
        ("math:pi", "not a"),
    ):
        with pytest.raises(ConfigError, match=message):
            find_metric(name)
    with pytest.raises(DataError, match="A metric gave 7"):
        score(lambda _answer, _right: 7.0, "a", ("b",))


@pytest.mark.parametrize(
    ("answer", "right", "expected"),
    [
        ("the cat sat", "The cat sat down.", 6 / 7),
        ("down sat the cat", "the cat sat down", 1 / 2),
        ("für Elise", "Für Elise!", 1),
        ("dog", "cat", 0),
        ("", "", 0),
    ],
)
def test_rouge_l_is_the_longest_common_subsequence(answer: str, right: str, expected: float) -> None:
    assert find_metric("rouge-l")(answer, right) == pytest.approx(expected)


def test_rouge_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rapidfuzz.distance", None)
    with pytest.raises(PluginError) as caught:
        find_metric("rouge-l")
    assert caught.value.hint == "pip install 'coe-mop[rouge]'"


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ('Instruction: "Add the numbers."', "Add the numbers."),
        ("The task is: name\nthe animal\n\nExample: x", "name the animal"),
        ("  ", ""),
    ],
)
def test_instructions_are_cleaned(said: str, kept: str) -> None:
    assert cleaned(said) == kept


def test_choice_by_recorded_scores() -> None:
    nan = np.nan
    scores = np.array([[1, 0], [1, 0], [1, 0], [1, 0], [0, 1], [0, 1], [0, 1], [0, 1], [1, nan]], float)
    region = np.array([0, 0, 0, 0, 1, 1, 1, 1, 0])
    assert choose_per_region(scores, region, 3).tolist()[:2] == [0, 1]
    same = np.ones((4, 2))
    cheaper = choose_per_region(same, np.zeros(4, int), 2, cost=np.array([5.0, 1.0]))
    assert cheaper.tolist() == [1, 1], "ties go to the cheaper one, also where nothing was seen"
    lone = choose_per_region(
        np.vstack([np.tile([1.0, 0.0], (50, 1)), [[0.0, 1.0]]]), np.array([0] * 50 + [1]), 2
    )
    assert lone.tolist() == [0, 0], "one item does not outweigh fifty"
