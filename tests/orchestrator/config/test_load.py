"""Text to `Config`, and what is said about a wrong one."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coe.config import Config, InvalidConfig, load, loads
from coe.errors import ConfigError

GOOD = """\
version: 1
server:
  port: ${PORT}
experts:
  coder:
    kind: openai
    base_url: http://127.0.0.1:8000/v1
    model: qwen
    api_key: ${KEY}
    card:
      domains: [coding]
routers:
  auto:
    kind: two-step
    experts: [coder]
"""
ENVIRON = {"PORT": "8642", "KEY": "hunter2-hunter2"}


def problems(text: str, **environ: str) -> list[str]:
    with pytest.raises(InvalidConfig) as caught:
        loads(text, environ, source="coe.yaml")
    return [str(problem) for problem in caught.value.problems]


def changed(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


def test_a_good_file_is_read() -> None:
    config = loads(GOOD, ENVIRON)
    assert config.server.port == 8642
    assert config.experts["coder"].kind == "openai"
    assert config.experts["coder"].settings == {
        "base_url": "http://127.0.0.1:8000/v1",
        "model": "qwen",
        "api_key": "hunter2-hunter2",
    }
    assert config.experts["coder"].card.domains == ("coding",)
    assert config.routers["auto"].experts == ("coder",)


def test_a_file_knows_where_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "coe.yaml").write_text("\ufeff" + GOOD)
    monkeypatch.chdir(tmp_path)
    config = load("deep/coe.yaml", ENVIRON)
    assert config.source == "deep/coe.yaml"
    assert config.base_dir == tmp_path / "deep"
    assert config.origin.lines["experts", "coder"] == 5


def test_secret_files_start_at_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from-file\n")
    (tmp_path / "coe.yaml").write_text(changed("${KEY}", "${file:key}"))
    assert load(tmp_path / "coe.yaml", ENVIRON).experts["coder"].settings["api_key"] == "from-file"


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "binary.yaml").write_bytes(b"a: \xff")
    with pytest.raises(ConfigError, match=r"absent\.yaml cannot be read: No such file.*coe init"):
        load(tmp_path / "absent.yaml", {})
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load(tmp_path, {})
    with pytest.raises(ConfigError, match="is not UTF-8 text: byte 3"):
        load(tmp_path / "binary.yaml", {})


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("server:", "sever:", "coe.yaml:2: sever: unknown key. Did you mean `server`?"),
        ("  port:", "  prot:", "coe.yaml:3: server.prot: unknown key. Did you mean `port`?"),
        (
            "domains:",
            "domain:",
            "coe.yaml:11: experts.coder.card.domain: unknown key. Did you mean `domains`?",
        ),
        ("  port:", "  zzz:", "coe.yaml:3: server.zzz: unknown key. Known: host, port, workers"),
        ("    kind: openai\n", "", "coe.yaml:5: experts.coder: `kind` is required."),
        ("${PORT}", "99999", "coe.yaml:3: server.port: must be less than or equal to 65535."),
        ("${PORT}", "eighty", "coe.yaml:3: server.port: expected a whole number; found text."),
        ("${PORT}", "80.5", "coe.yaml:3: server.port: expected a whole number; found a number."),
        ("${PORT}", "[80]", "coe.yaml:3: server.port: expected a whole number; found a list."),
        ("${PORT}", "", "coe.yaml:3: server.port: expected a whole number; found nothing."),
        ("version: 1", "version: 2", "coe.yaml:1: version: expected 1; found `2`."),
        ("[coding]", "coding", "coe.yaml:11: experts.coder.card.domains: expected a list; found text."),
        (
            "[coding]",
            "[coding, 1]",
            "coe.yaml:11: experts.coder.card.domains[1]: expected text; found a number.",
        ),
        (
            "domains: [coding]",
            "locality: moon",
            "coe.yaml:11: experts.coder.card.locality: expected 'local' or 'remote'; found `moon`.",
        ),
        (
            "[coder]",
            "[coer]",
            "coe.yaml:15: routers.auto.experts[0]: no expert is called `coer`. Did you mean `coder`?",
        ),
        ("[coder]", "[x]", "coe.yaml:15: routers.auto.experts[0]: no expert is called `x`. Known: coder."),
        ("[coder]", "[]", "coe.yaml:15: routers.auto.experts: names no expert."),
        ("  auto:", "  coder:", "coe.yaml:13: routers.coder: an expert has the same name"),
        ("${KEY}", "${KEZ}", "coe.yaml:9: experts.coder.api_key: environment variable `KEZ` is not set."),
        (
            "  coder:\n",
            '  "a.b c":\n    zip: ${NO}\n',
            'coe.yaml:6: experts."a.b c".zip: environment variable',
        ),
    ],
)
def test_a_wrong_file_is_explained(old: str, new: str, problem: str) -> None:
    found = problems(changed(old, new), **ENVIRON)
    assert any(line.startswith(problem) for line in found), found


def test_all_problems_are_listed_in_the_order_of_the_file() -> None:
    text = changed("version: 1", "version: 3").replace("[coding]", "1").replace("  port:", "  prot:")
    lines = [line.split(": ")[:2] for line in problems(text, **ENVIRON)]
    assert lines == [
        ["coe.yaml:1", "version"],
        ["coe.yaml:3", "server.prot"],
        ["coe.yaml:11", "experts.coder.card.domains"],
    ]


def test_a_value_that_could_not_be_read_is_told_once() -> None:
    assert problems(GOOD, KEY="x") == ["coe.yaml:3: server.port: environment variable `PORT` is not set."]


def test_no_routable_expert_is_a_problem() -> None:
    text = changed("    experts: [coder]\n", "").replace("    model: qwen", "    routable: false")
    assert problems(text, **ENVIRON) == ["coe.yaml:13: routers.auto: no expert is routable."]


@pytest.mark.parametrize(
    "text", ["", "# nothing\n", "[]", "coe", "experts: {}\nrouters: {}", "experts:\nrouters:\n"]
)
def test_what_is_no_configuration_is_a_problem(text: str) -> None:
    assert problems(text)


def test_an_error_reads_as_its_problems() -> None:
    with pytest.raises(InvalidConfig) as caught:
        loads("version: 1\nexperts: 1", {}, source="coe.yaml")
    assert str(caught.value).splitlines() == [str(problem) for problem in caught.value.problems]
    assert len(caught.value.problems) == 2
    assert caught.value.code == "config_invalid"


@given(
    secret=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=30),
    place=st.sampled_from(["${PORT}", "qwen", "[coding]", "version: 1", "coder]", "two-step", "openai"]),
)
def test_no_secret_is_ever_shown(secret: str, place: str) -> None:
    """Wherever a secret is put, by whatever mistake, neither problems nor repr show it."""
    secret = f"#{secret}#"
    text = (
        changed("version: 1", 'version: "${S}"')
        if place == "version: 1"
        else changed(place, place.replace(place.strip("]"), '"${S}"'))
    )
    try:
        config = loads(text, {**ENVIRON, "S": secret})
        shown = repr([*config.experts.values(), config.origin]) if place != "openai" else ""
    except ConfigError as error:
        shown = f"{error} {error!r}"
    assert secret not in shown


def test_repr_hides_settings() -> None:
    config = loads(GOOD + "cache:\n  shared: {kind: redis, url: 'redis://:${KEY}@host'}\n", ENVIRON)
    assert ENVIRON["KEY"] not in repr(config)
    assert ENVIRON["KEY"] not in repr(config.origin)
    assert "settings=['api_key', 'base_url', 'model']" in repr(config.experts["coder"])


NAMES = st.from_regex(r"[a-z][a-z0-9.-]{0,8}", fullmatch=True)
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=20)
CARDS = st.fixed_dictionaries(
    {},
    optional={
        "params_b": st.floats(min_value=0.1, max_value=1000),
        "context_window": st.integers(1, 10**6),
        "domains": st.lists(TEXTS, max_size=3),
        "locality": st.sampled_from(["local", "remote"]),
    },
)
EXPERTS = st.dictionaries(
    NAMES.map("e-{}".format),
    st.fixed_dictionaries(
        {"kind": NAMES},
        optional={"card": CARDS, "model": TEXTS, "limits": st.dictionaries(NAMES, st.integers())},
    ),
    min_size=1,
    max_size=3,
)


@settings(max_examples=40)
@given(experts=EXPERTS, router=NAMES, port=st.integers(0, 65535))
def test_a_configuration_survives_writing_and_reading(
    experts: dict[str, dict[str, Any]], router: str, port: int
) -> None:
    data = {"server": {"port": port}, "experts": experts, "routers": {router: {"kind": "two-step"}}}
    text = json.dumps(data, ensure_ascii=False).replace("${", "$${")
    config = loads(text, {})
    assert config.model_dump() == Config.model_validate(data).model_dump()


@given(st.text(st.characters(codec="utf-8")) | st.lists(st.sampled_from(GOOD.splitlines())).map("\n".join))
def test_any_text_is_a_configuration_or_a_config_error(text: str) -> None:
    with suppress(InvalidConfig):
        loads(text, ENVIRON)
