from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from coe.cli import main
from coe.contracts import Card, ExpertState, Features, PoolView
from coe_routers.offline import OTHER_KINDS, decides_by, find_embedder, load_router_of


def asked(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    """What `coe ARGUMENTS --json` prints."""
    with pytest.raises(SystemExit) as caught:
        main([*(str(argument) for argument in arguments), "--json"])
    out, err = capsys.readouterr()
    assert not caught.value.code, err
    return json.loads(out)


@pytest.mark.parametrize(
    "kind",
    [
        kind if kind in ("knn", "ridge") else pytest.param(kind, marks=pytest.mark.slow)
        for kind in OTHER_KINDS
    ],
)
def test_from_outcomes_to_decisions(
    capsys: pytest.CaptureFixture[str], folder: Path, tmp_path: Path, kind: str
) -> None:
    """Train, evaluate and route from the command line; what is served decides the same."""
    router = tmp_path / kind
    trained = asked(
        capsys,
        *("train", folder / "train.jsonl", "--models", folder / "models.json"),
        *("--out", router, "--router", kind),
    )
    assert trained["kind"] == kind == decides_by(router)
    assert set(trained["experts"]) <= {"large", "coder", "small"}

    report = asked(capsys, "evaluate", router, folder / "test.jsonl")
    rows = {row["policy"]: row for row in report["rows"]}
    assert report["best_single"] == "large"
    assert rows["k-NN per prompt"]["n"] == 300
    assert rows["router"]["n"] == rows["best single"]["n"] == 300
    if kind in ("knn", "ridge", "cumulative"):
        assert rows["router"]["diff_points"] > 1, "code goes to the coder"

    decisions = tmp_path / "decisions.jsonl"
    arguments = ("route", "--router", router, "--input", folder / "test.jsonl", "--output", decisions)
    assert asked(capsys, *arguments)["routed"] == 300
    lines = [json.loads(line) for line in decisions.read_text().splitlines()]
    assert {"prompt_id", "category", "uncertainty", "expert", "reason"} <= set(lines[0])
    shares = {name: sum(line["expert"] == name for line in lines) / 300 for name in report["experts"]}
    assert shares == pytest.approx(report["experts"], abs=1e-6)

    config = tmp_path / "coe.yaml"
    experts = "".join(f"  {name}: {{kind: echo}}\n" for name in ("large", "coder", "small"))
    config.write_text(f"experts:\n{experts}routers:\n  auto: {{kind: {kind}, artifact: {kind}}}\n")
    prompt = json.loads((folder / "test.jsonl").read_text().splitlines()[0])["prompt"]
    served = asked(capsys, "route", prompt, "--config", config)
    assert served["expert"] == lines[0]["expert"]


def test_a_router_without_embedder_where_it_needs_one(
    capsys: pytest.CaptureFixture[str], folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(
            [
                *("train", str(folder / "train.jsonl"), "--out", str(tmp_path / "router")),
                *("--router", "knn", "--features", "ngrams"),
            ]
        )
    assert caught.value.code
    assert "needs an embedder" in capsys.readouterr().err
    assert not (tmp_path / "router").exists()


def test_commands_that_change_a_map_say_why_they_cannot(
    capsys: pytest.CaptureFixture[str], folder: Path, tmp_path: Path
) -> None:
    arguments = ("train", folder / "train.jsonl", "--out", tmp_path / "ridge", "--router", "ridge")
    asked(capsys, *arguments)
    for command in (("optimize", tmp_path / "ridge"), ("experts", "add", tmp_path / "ridge")):
        with pytest.raises(SystemExit) as caught:
            main([str(argument) for argument in command])
        assert caught.value.code
        said = capsys.readouterr().err
        assert "holds a router of kind `ridge`, which has no map" in said
        assert "`coe train` without --router" in said


def test_the_usual_router_is_told_apart(trained: Path) -> None:
    assert decides_by(trained) == "expected"
    router, experts = load_router_of(trained, find_embedder)
    view = PoolView(experts={name: ExpertState(Card(name=name)) for name in experts}, digest="test")
    assert router.route(Features(text="python function loop class"), view).expert == "coder"
