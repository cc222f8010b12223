import os
import subprocess
import sys
from pathlib import Path

import pytest

from coe.contracts import Card, ExpertState
from coe.errors import ConfigError, InvalidRequest, PluginError
from coe.testing import Clock, build, chat, context, create, load, pool_view
from coe.wire import last_user_text


def test_a_chat_is_validated_as_by_the_gateway() -> None:
    request = chat("hi", stream=True, temperature=0.5)
    assert request.body.stream is True
    assert last_user_text(request.body) == "hi"
    assert request.payload == {
        "model": "auto",
        "messages": [{"role": "user", "content": "hi"}],
        "stream": True,
        "temperature": 0.5,
    }
    assert (
        chat([{"role": "system", "content": "s"}, {"role": "user", "content": "u"}], model="m").body.model
        == "m"
    )
    with pytest.raises(InvalidRequest, match="tempratur"):
        chat("hi", tempratur=1)


def test_a_context_counts_down_on_the_given_clock() -> None:
    clock = Clock(100)
    made = context(tenant="acme", request_id="r", timeout_s=5, clock=clock)
    clock.advance(2)
    assert made.remaining_s() == 3
    clock.advance(4)
    assert made.remaining_s() == -1
    assert (made.tenant, made.request_id) == ("acme", "r")


def test_a_clock_does_not_go_back() -> None:
    with pytest.raises(ValueError, match="cannot go back by 1 s"):
        Clock().advance(-1)


def test_a_pool_view_keeps_the_order_and_takes_names_cards_and_states() -> None:
    view = pool_view("b", Card(name="a", params_b=7), ExpertState(Card(name="c"), awake=False))
    assert list(view.experts) == ["b", "a", "c"]
    assert view.experts["a"].card.params_b == 7
    assert not view.experts["c"].awake


def test_the_digest_follows_every_fact() -> None:
    card = Card(name="a")
    views = [
        pool_view(card),
        pool_view(card, "b"),
        pool_view("b", card),
        pool_view(Card(name="a", params_b=1)),
        pool_view(Card(name="a", capabilities=frozenset({"chat"}))),
        pool_view(ExpertState(card, awake=False)),
        pool_view(ExpertState(card, healthy=False)),
    ]
    assert len({view.digest for view in views}) == len(views)
    assert pool_view(card).digest == views[0].digest


def test_the_digest_is_the_same_in_every_process() -> None:
    program = "from coe.testing import pool_view; print(pool_view('a', 'b').digest)"
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1


def test_a_build_gives_what_it_was_given(tmp_path: Path) -> None:
    shout = create(load("coe.experts", "shout"), "shout")
    letters = create(load("coe.embedders", "letters"))
    made = build(
        experts={"shout": shout}, embedders={"letters": letters}, card={"params_b": 3}, base_dir=tmp_path
    )
    assert made.base_dir == tmp_path
    assert made.expert("shout") is shout
    assert made.embedder("letters", {}) is letters
    assert build().embedder("letters", {"dim": 7}).dim == 7, "kinds that are not given are those installed"
    assert made.card(Card(name="x", license="MIT")) == Card(name="x", license="MIT", params_b=3)
    with pytest.raises(ConfigError, match=r"No expert is called `loud`.*Known: shout"):
        made.expert("loud")
    with pytest.raises(PluginError, match="`numbers`"):
        made.embedder("numbers", {})


def test_create_checks_settings_as_the_host_does() -> None:
    plugin = load("coe.experts", "shout")
    assert create(plugin, "loud", {"marks": 3}).card.name == "loud"
    with pytest.raises(ConfigError, match=r"loud: unknown key `mark`.*fail_on, marks"):
        create(plugin, "loud", {"mark": 3})
    with pytest.raises(ConfigError, match=r"(?s)loud: .*marks"):
        create(plugin, "loud", {"marks": 30})


def test_load_names_what_is_missing() -> None:
    with pytest.raises(PluginError, match="Did you mean `shout`"):
        load("coe.experts", "shuot")
