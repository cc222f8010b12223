from __future__ import annotations

import json
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

from coe.cli import main


def coe(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Run `coe ARGUMENTS`: exit code, stdout, stderr."""
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return int(caught.value.code or 0), out, err


def asked(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    code, out, err = coe(capsys, *arguments, "--json")
    assert code == 0, err
    return json.loads(out)


def test_from_outcomes_to_decisions(capsys: pytest.CaptureFixture[str], folder: Path, tmp_path: Path) -> None:
    router = tmp_path / "router"
    trained = asked(
        capsys, "train", folder / "train.jsonl", "--models", folder / "models.json", "--out", router
    )
    assert trained["best_single"] == "large"
    assert trained["map"]["code"] == "coder"
    assert trained["accuracy"] > 0.9

    solved = asked(
        capsys,
        *("optimize", router, "--budget", "active_params_b=25", "--max-experts", 2),
        *("--forbid", "poems=coder", "--resamples", 5, "--plot", tmp_path / "front.svg"),
    )
    assert solved["budget"] == {"active_params_b": 25.0, "max_experts": 2.0}
    assert solved["spends"]["active_params_b"] <= 25
    assert len(set(solved["map"].values())) <= 2
    assert {row["k"] for row in solved["pruning"]} == {1, 2}
    assert solved["pareto"][0]["spend"] < solved["pareto"][-1]["spend"]
    assert ElementTree.parse(tmp_path / "front.svg").getroot().tag.endswith("svg")

    report = asked(capsys, "evaluate", router, folder / "test.jsonl", "--plot", tmp_path / "policies.svg")
    assert set(report["rows"][0]) == {
        "policy",
        "score",
        "score_ci95",
        "cost",
        "diff_points",
        "diff_ci95",
        "n",
    }
    policies = ["router", "best single", "k-NN per prompt", "random", "category oracle", "prompt oracle"]
    # Within 25B the best single expert is another; its row stands beside that of no budget.
    assert [row["policy"] for row in report["rows"]] == [
        *policies[:2],
        "best single in budget",
        *policies[2:],
    ]
    assert "router" in (tmp_path / "policies.svg").read_text()

    decisions = tmp_path / "decisions.jsonl"
    arguments = ("route", "--router", router, "--input", folder / "test.jsonl", "--output", decisions)
    assert asked(capsys, *arguments) == {"routed": 300, "already": 0, "output": str(decisions)}
    assert asked(capsys, *arguments)["already"] == 300
    lines = [json.loads(line) for line in decisions.read_text().splitlines()]
    assert {"prompt_id", "category", "uncertainty", "expert", "reason"} <= set(lines[0])


def test_what_evaluate_says_of_the_classifier(
    capsys: pytest.CaptureFixture[str], trained: Path, folder: Path
) -> None:
    report = asked(capsys, "evaluate", trained, folder / "test.jsonl")
    rows = {row["policy"]: row for row in report["rows"]}
    assert all(row["n"] == 300 for row in rows.values())
    assert rows["best single"]["diff_points"] == 0.0
    router = rows["router"]
    assert router["diff_points"] == pytest.approx(
        100 * (router["score"] - rows["best single"]["score"]), abs=1e-3
    )
    assert router["diff_ci95"][0] < router["diff_points"] < router["diff_ci95"][1]
    assert router["score_ci95"][0] < router["score"] < router["score_ci95"][1]

    confusion, c = report["confusion"], len(report["categories"])
    assert [len(row) for row in confusion] == [c + 1] * c
    assert sum(map(sum, confusion)) == 300
    # The last column is what went to `general`, whatever the classifier took it for.
    assert report["general_share"] == pytest.approx(sum(row[-1] for row in confusion) / 300, abs=1e-6)
    assert sum(report["general_by"].values()) == pytest.approx(report["general_share"], abs=1e-5)
    assert report["accuracy"] >= sum(confusion[k][k] for k in range(c)) / 300
    assert 0.0 <= report["calibration_error"] < 0.2
    assert report["stated_coverage"] == 0.9
    assert report["accuracy"] <= report["coverage"] <= 1.0
    assert 1.0 <= report["set_size"] <= c
    assert sum(report["experts"].values()) == pytest.approx(1.0, abs=1e-5)


def test_without_labels_evaluate_leaves_out_what_it_cannot_know(
    capsys: pytest.CaptureFixture[str], trained: Path, folder: Path, tmp_path: Path
) -> None:
    rows = [json.loads(line) for line in (folder / "test.jsonl").read_text().splitlines()]
    for row in rows:
        del row["category"]
    (tmp_path / "bare.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    report = asked(capsys, "evaluate", trained, tmp_path / "bare.jsonl")
    labelled = asked(capsys, "evaluate", trained, folder / "test.jsonl")
    assert "category oracle" not in [row["policy"] for row in report["rows"]]
    assert report["rows"][0] == labelled["rows"][0]
    assert report["accuracy"] is None
    assert report["coverage"] is None


def test_tables_for_people(capsys: pytest.CaptureFixture[str], trained: Path, folder: Path) -> None:
    copied = Path(shutil.copytree(trained, folder / "copied"))
    code, out, _ = coe(capsys, "optimize", copied, "--resamples", 3)
    assert code == 0
    for part in ("Routing beats `large`", "Map", "Pareto front", "Lost without", "Fewer experts", "poems"):
        assert part in out
    code, out, _ = coe(capsys, "evaluate", copied, folder / "test.jsonl")
    assert code == 0
    assert "prompt oracle" in out
    assert "sent to general" in out
    code, out, _ = coe(
        capsys, "train", folder / "test.jsonl", "--out", folder / "other", "--features", "ngrams", "--select"
    )
    assert code == 0
    assert "linear (n-grams)" in out
    assert "within a standard error of centroid (n-grams)" in out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--budget", "active_params_b=1"), "Raise active_params_b to 3"),
        (("--budget", "speed=1"), "names `speed`"),
        (("--budget", "usd_per_1k"), "expected KEY=VALUE"),
        (("--budget", "usd_per_1k=cheap"), "expected a number"),
        (("--require", "poems=nobody"), "expert `nobody`"),
        (("--max-experts", "0"), "`max_experts` is 0"),
        (("--resamples", "0"), "--resamples"),
        (("--plot", "missing/front.svg"), "there is no folder missing"),
    ],
)
def test_what_is_wrong_is_said(
    capsys: pytest.CaptureFixture[str], trained: Path, arguments: tuple[str, ...], says: str
) -> None:
    code, out, err = coe(capsys, "optimize", trained, *arguments)
    assert code != 0
    assert out == ""
    assert says in err


def test_a_bad_row_writes_nothing(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "o.jsonl").write_text('{"prompt_id": 1, "prompt": "x", "scores": {"a": 2}}\n')
    code, _, err = coe(capsys, "train", tmp_path / "o.jsonl", "--out", tmp_path / "router")
    assert code == 1
    assert f"error: {tmp_path / 'o.jsonl'}:1: `scores.a` is 2" in err
    assert not (tmp_path / "router").exists()


@pytest.mark.parametrize("arguments", [(), ("--input", "x"), ("hello", "--router", "x")])
def test_half_of_a_file_is_refused(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]) -> None:
    code, _, err = coe(capsys, "route", *arguments)
    assert code == 2
    assert "--output" in err
