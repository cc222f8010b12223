"""`coe train` with the real sentence encoder and FAISS, from outcomes to decisions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from coe.cli import main


def asked(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    """What `coe ARGUMENTS --json` prints."""
    with pytest.raises(SystemExit) as caught:
        main([*(str(argument) for argument in arguments), "--json"])
    out, err = capsys.readouterr()
    assert not caught.value.code, err
    return json.loads(out)


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("how", "method", "encoded"),
    [
        (("--classifier", "knn"), "knn", True),
        (("--classifier", "knn"), "knn", False),
        ((), "linear", True),
        (("--features", "embedding"), "linear", True),
    ],
)
def test_train_evaluate_and_route(
    capsys: pytest.CaptureFixture[str],
    folder: Path,
    tmp_path: Path,
    how: tuple[str, ...],
    method: str,
    encoded: bool,
    sentence_encoder: str,
) -> None:
    """k-NN through FAISS and a sentence-transformers model, alone, together and joined to n-grams."""
    router, decisions = tmp_path / "router", tmp_path / "decisions.jsonl"
    trained = asked(
        capsys,
        *("train", folder / "train.jsonl", "--models", folder / "models.json", "--out", router),
        *how,
        *(("--embedder", sentence_encoder) if encoded else ()),
    )
    assert trained["classifier"] == method
    assert trained["accuracy"] > 0.95

    report = asked(capsys, "evaluate", router, folder / "test.jsonl")
    rows = {row["policy"]: row for row in report["rows"]}
    assert report["accuracy"] > 0.95
    assert rows["router"]["n"] == rows["k-NN per prompt"]["n"] == 300

    arguments = ("route", "--router", router, "--input", folder / "test.jsonl", "--output", decisions)
    assert asked(capsys, *arguments)["routed"] == 300
    lines = [json.loads(line) for line in decisions.read_text().splitlines()]
    shares = {name: sum(line["expert"] == name for line in lines) / 300 for name in report["experts"]}
    assert shares == pytest.approx(report["experts"], abs=1e-6)
