"""Which experts stay, by hand and by property; and a small model that loses some, which needs torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from coe.errors import CoeError, DataError
from coe_kernels._prune_command import read_texts
from coe_kernels.checkpoint import read_model
from coe_kernels.commands import app
from coe_kernels.pruning import METHODS, by_groups, by_mass, kept_share, router_use


def logits(tokens: int, experts: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.random.default_rng(seed).normal(size=(tokens, experts))


def test_mass_is_that_of_the_chosen() -> None:
    use = router_use(np.log(np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]])), 2)
    np.testing.assert_allclose(use.mass, [0.5, 0.5, 0.7])
    assert kept_share(use, [0, 2]) == pytest.approx(1.2 / 1.7)
    np.testing.assert_allclose(np.diag(use.correlation), 1)


@given(st.integers(1, 40), st.integers(2, 12), st.data())
@settings(max_examples=50, deadline=None)
def test_as_many_as_wanted_stay(tokens: int, experts: int, data: st.DataObject) -> None:
    top_k = data.draw(st.integers(1, experts))
    keep = data.draw(st.integers(top_k, experts))
    use = router_use(logits(tokens, experts, data.draw(st.integers(0, 99))), top_k)
    for choose in METHODS.values():
        kept = choose(use, keep)
        assert kept == sorted(set(kept))
        assert len(kept) == keep
        assert set(kept) <= set(range(experts))
    assert kept_share(use, by_mass(use, keep)) >= kept_share(use, by_groups(use, keep)) - 1e-12


def test_of_two_that_the_router_takes_for_each_other_one_stays() -> None:
    rows = logits(500, 4)
    rows[:, 1] = rows[:, 0] + 0.01
    rows[:, :2] += 1.0
    use = router_use(rows, 2)
    assert by_mass(use, 2) == [0, 1]
    assert len({0, 1} & set(by_groups(use, 3))) == 1


def test_what_is_no_routers_is_refused() -> None:
    with pytest.raises(ValueError, match="chooses 5"):
        router_use(logits(3, 4), 5)


def test_texts_are_lines_or_prompts(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\n\ntwo\n")
    (tmp_path / "b.jsonl").write_text('{"prompt": "x", "scores": {}}\n{"prompt": "y"}\n')
    (tmp_path / "c.jsonl").write_text('{"prompt": "x"}\n{"text": "y"}\n')
    assert read_texts(tmp_path / "a.txt") == ["one", "two"]
    assert read_texts(tmp_path / "b.jsonl") == ["x", "y"]
    with pytest.raises(DataError, match=r"c\.jsonl:2"):
        read_texts(tmp_path / "c.jsonl")


def run(*arguments: object) -> Any:
    done = CliRunner().invoke(app, ["prune", *[str(one) for one in arguments]])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.stdout


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--keep", 8], "expected 2"),
        (["--keep", 1], "expected 2"),
        (["--keep", 4, "--method", "x"], "one of mass"),
    ],
)
def test_nonsense_is_refused(tmp_path: Path, options: list[object], words: str) -> None:
    config = {"num_experts": 8, "num_experts_per_tok": 2, "hidden_size": 8, "intermediate_size": 8}
    (tmp_path / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 1}))
    with pytest.raises(CoeError, match=words):
        run(tmp_path, "--out", tmp_path / "out", "--texts", tmp_path / "texts", *options)


@pytest.mark.heavy
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_model_loses_what_it_does_not_use_and_says_the_same(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="transformers is not installed: run `make test-kernels`")
    from coe_kernels.engine import prune
    from coe_kernels.engine.model import write_model

    model, out = tmp_path / "model", tmp_path / "smaller"
    write_model(model, experts=12)
    rng = np.random.default_rng(0)
    words = [" ".join(f"w{token}" for token in rng.integers(0, 1000, 6)) for _ in range(20)]
    (tmp_path / "texts").write_text("\n".join(words))
    (tmp_path / "smaller.random").mkdir()
    report = json.loads(
        run(model, "--out", out, "--keep", 6, "--texts", tmp_path / "texts", "--method", "mass", "--json")
    )
    assert (report["experts"], report["kept"]) == (12, 6)
    assert read_model(out).experts == 6
    assert 0.5 < report["share"] < 1
    assert report["perplexity"] != report["pruned_perplexity"] != report["random_perplexity"]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["model", "smaller", "smaller.random", "texts"]
    # One text uses few experts: without the others the model says exactly the same of it.
    [row] = prune.tokens(model, ["w5 w6"])
    uses, before = prune.watch(model, [row], 2)
    kept = {name: by_mass(use, 6) for name, use in uses.items()}
    assert all(kept_share(use, kept[name]) == 1 for name, use in uses.items())
    prune.write_smaller(model, tmp_path / "exact", kept)
    assert prune.score(tmp_path / "exact", [row]) == pytest.approx(before, abs=1e-6)


@pytest.mark.heavy
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_experts_that_are_stored_together_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="transformers is not installed: run `make test-kernels`")
    import torch
    from safetensors.torch import save_file

    from coe_kernels.engine import prune

    model = tmp_path / "model"
    model.mkdir()
    save_file({"mlp.experts.gate_up_proj": torch.zeros(4, 2, 2)}, model / "model.safetensors")
    with pytest.raises(DataError, match="stored together"):
        prune.write_smaller(model, tmp_path / "out", {"mlp": [0, 1]})
    assert not (tmp_path / "out").exists()
