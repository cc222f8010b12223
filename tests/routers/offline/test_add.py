from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from coe.cli import main
from coe.errors import DataError
from coe_routers.artifact import read_facts
from coe_routers.mapping import Budget
from coe_routers.offline import add_experts, optimize, read_state
from coe_routers.outcomes import Outcomes, read_cards, read_outcomes


@pytest.fixture
def copied(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "router"))


@pytest.fixture
def files(folder: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Outcomes and card of a poet: perfect on poems, of which it was asked half, never tried elsewhere."""
    rows = [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]
    poems = [row for row in rows if row["category"] == "poems"][::2]
    outcomes, cards = tmp_path / "poet.jsonl", tmp_path / "poet.json"
    outcomes.write_text(
        "".join(
            json.dumps({"prompt_id": row["prompt_id"], "prompt": row["prompt"], "scores": {"poet": 1}}) + "\n"
            for row in poems
        )
    )
    cards.write_text(json.dumps([{"model": "poet", "params_b": 9}]))
    return outcomes, cards


def outcomes_of(files: tuple[Path, Path]) -> Outcomes:
    return read_outcomes([files[0]])


def test_a_new_expert_wins_what_it_was_tried_on(copied: Path, files: tuple[Path, Path]) -> None:
    model = (copied / "model.safetensors").read_bytes()
    added = add_experts(copied, outcomes_of(files), read_cards(files[1]), seed=0)
    assert added.takes == (("poems", "poet"),)
    assert (copied / "model.safetensors").read_bytes() == model
    state = read_state(copied)
    assert state.evidence.experts[-1] == "poet"
    assert state.cards["poet"].params_b == 9.0
    assert state.evidence.active_params_b[-1] == 9.0
    tried = np.isfinite(state.evidence.scores[:, -1])
    assert tried.sum() == added.matched
    assert {state.evidence.categories[label] for label in state.evidence.label[tried]} == {"poems"}
    again = optimize(copied, Budget(), seed=0, resamples=2)
    assert again.choice.map.named()["poems"] == "poet"


def test_the_budget_of_the_last_map_holds(copied: Path, files: tuple[Path, Path]) -> None:
    optimize(copied, Budget(max_experts=1), seed=0, resamples=2)
    added = add_experts(copied, outcomes_of(files), {}, seed=0)
    assert len(added.choice.map.used()) == 1


def test_who_must_and_must_not_answer_still_holds(copied: Path, files: tuple[Path, Path]) -> None:
    optimize(
        copied,
        Budget(required={"poems": "small"}, forbidden={"sums": frozenset({"large"})}),
        seed=0,
        resamples=2,
        fall_back=False,
    )
    named = add_experts(copied, outcomes_of(files), {}, seed=0).choice.map.named()
    assert named["poems"] == "small"
    assert named["sums"] != "large"
    assert read_facts(copied).facts["fall_back"] is False


def test_known_experts_and_strange_prompts_are_refused(
    copied: Path, files: tuple[Path, Path], folder: Path
) -> None:
    with pytest.raises(DataError, match="knows `coder`, `large`, `small` already"):
        add_experts(copied, read_outcomes([folder / "train.jsonl"]), {}, seed=0)
    files[0].write_text(json.dumps({"prompt_id": "elsewhere", "prompt": "x", "scores": {"poet": 1}}))
    with pytest.raises(DataError, match="share no prompt_id"):
        add_experts(copied, outcomes_of(files), {}, seed=0)


def test_the_command(copied: Path, files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["experts", "add", str(copied), str(files[0]), "--models", str(files[1]), "--json"])
    assert not caught.value.code
    assert json.loads(capsys.readouterr().out)["takes"] == {"poems": "poet"}
    with pytest.raises(SystemExit) as caught:
        main(["experts", "add", "--help"])
    assert not caught.value.code
    assert "--models" in capsys.readouterr().out


def test_an_unmeasured_expert_stays_marked_until_it_has_scores(
    copied: Path, files: tuple[Path, Path], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By description, then solved again, then with scores: all from the command line."""

    def run(*arguments: object) -> str:
        with pytest.raises(SystemExit) as caught:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert not caught.value.code, err
        return out

    examples = folder / "examples.jsonl"
    examples.write_text(json.dumps({"prompt_id": 1, "prompt": "verse rhyme sonnet stanza moon"}) + "\n")
    for name, how in (
        ("poet", ("--examples", examples)),
        ("oracle", ("--description", "python compile bug")),
    ):
        told = run("experts", "add", copied, "--expert", name, *how)
        assert f"{name} is unmeasured: it has no score" in told
    for _ in range(2):
        facts = read_facts(copied)
        assert set(facts.facts["unmeasured"]) == {"poet", "oracle"}
        for experts in facts.expert_map.values():
            assert {name for name, score in experts[-2:]} == {"poet", "oracle"}
            assert [score is None for _, score in experts] == [False] * (len(experts) - 2) + [True] * 2
        assert [name for name, _ in facts.expert_map["poems"]][-2:] == ["poet", "oracle"]
        run("optimize", copied, "--resamples", 2)
    run("experts", "add", copied, files[0], "--models", files[1])
    facts = read_facts(copied)
    assert set(facts.facts["unmeasured"]) == {"oracle"}
    poems = facts.expert_map["poems"]
    assert poems[0][0] == "poet"
    assert poems[0][1] is not None
    assert poems[-1] == ("oracle", None)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [((), "Neither outcomes nor an expert"), (("outcomes.jsonl", "--expert", "poet"), "without scores")],
)
def test_scores_or_a_guess_but_not_both(
    copied: Path, arguments: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["experts", "add", str(copied), *arguments])
    assert caught.value.code
    assert says in capsys.readouterr().err
