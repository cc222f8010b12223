from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from coe.contracts import Card
from coe.errors import DataError
from coe_routers.outcomes import cost_usd, read_cards, read_outcomes


def priced(name: str) -> Card:
    return Card(name=name, input_usd_per_mtok=1.0, output_usd_per_mtok=10.0)


def test_each_kind_of_cost_says_what_it_is(tmp_path: Path) -> None:
    rows = [
        {
            "prompt_id": n,
            "prompt": "x" * 400,
            "scores": dict.fromkeys(("chars", "input", "measured", "none", "tokens"), 1),
            "cost_usd": {"measured": 0.5} if n == 0 else {},
            "output_tokens": {"tokens": 20, "chars": 7} if n == 0 else {"tokens": 40},
            "response_chars": {"chars": 800},
        }
        for n in range(2)
    ]
    path = tmp_path / "o.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    outcomes = read_outcomes([path])
    costs = cost_usd(outcomes, {name: priced(name) for name in outcomes.experts if name != "none"})
    by_name = dict(zip(outcomes.experts, zip(costs.basis, costs.usd.T, strict=True), strict=True))
    assert by_name["measured"][0] == "measured"
    np.testing.assert_allclose(by_name["measured"][1], [0.5, 0.5])
    assert by_name["tokens"][0] == by_name["chars"][0] == "estimated"
    np.testing.assert_allclose(by_name["tokens"][1], [(100 + 200) / 1e6, (100 + 400) / 1e6])
    # Recorded tokens win over characters, row by row.
    np.testing.assert_allclose(by_name["chars"][1], [(100 + 70) / 1e6, (100 + 2000) / 1e6])
    assert by_name["input"][0] == "estimated without output"
    np.testing.assert_allclose(by_name["input"][1], [100 / 1e6] * 2)
    assert by_name["none"][0] == "unknown"
    assert np.isnan(by_name["none"][1]).all()


def test_cards_are_read(tmp_path: Path) -> None:
    path = tmp_path / "models.json"
    path.write_text(
        json.dumps([{"model": "a", "params_b": 7, "price_source": "list"}, {"model": "b", "prompt": "x"}])
    )
    cards = read_cards(path)
    assert cards["a"].active_params_b == 7.0
    assert cards["b"].params_b is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{}", "array"),
        ("[", "models.json"),
        ('[{"params_b": 3}]', "entry 1 has no `model`"),
        ('[{"model": "a"}, {"model": "a"}]', "`a` comes twice"),
        ('[{"model": "a", "params_b": "7"}]', "params_b"),
        ('[{"model": "a", "params_b": -7}]', "`params_b` of `a` is -7"),
        ('[{"model": "a", "capabilities": ["fly"]}]', "capabilities"),
    ],
)
def test_bad_cards_say_where(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "models.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"models\.json") as error:
        read_cards(path)
    assert says in str(error.value)


def test_missing_cards(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        read_cards(tmp_path / "models.json")
