"""`coe experts`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

Run = Callable[..., tuple[int, str, str]]


def test_the_list_shows_facts(run: Run, pool_file: Path) -> None:
    code, out, err = run("experts", "list", "-c", pool_file)
    assert (code, err) == (0, "")
    alpha = next(line for line in out.splitlines() if line.startswith("alpha"))
    for fact in ("model", "chat", "500", "8", "0.5 / 2", "math"):
        assert fact in alpha
    assert "auto" not in out
    assert "awake" not in out


def test_json_has_every_key_even_when_the_fact_is_unknown(run: Run, pool_file: Path) -> None:
    rows = {row["name"]: row for row in json.loads(run("experts", "list", "--json", "-c", pool_file)[1])}
    assert list(rows)[:3] == ["alpha", "beta", "down"]
    assert rows["alpha"] == {
        "name": "alpha",
        "kind": "model",
        "capabilities": ["chat", "json_schema", "stream", "tools", "vision"],
        "context_window": 500,
        "params_b": 8.0,
        "active_params_b": None,
        "input_usd_per_mtok": 0.5,
        "output_usd_per_mtok": 2.0,
        "domains": ["math"],
        "license": None,
        "locality": "local",
        "description": "",
        "routable": True,
    }
    assert rows["beta"].keys() == rows["alpha"].keys()


def test_a_server_also_tells_their_state(run: Run, server_url: str) -> None:
    rows = json.loads(run("experts", "list", "--json", "--url", server_url)[1])
    assert (rows[0]["name"], rows[0]["awake"], rows[0]["healthy"]) == ("alpha", True, True)
    out = run("experts", "list", "--url", server_url)[1]
    assert "healthy" in out.splitlines()[0]


def test_experts_that_answer_pass(run: Run, pool_file: Path) -> None:
    code, out, err = run("experts", "test", "alpha", "beta", "-c", pool_file)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("✓ alpha: ")
    assert lines[0].endswith(" ms, 6 tokens")
    assert lines[1].startswith("✓ beta: ")


def test_one_that_does_not_answer_fails_the_command(run: Run, pool_file: Path, server_url: str) -> None:
    for where in (("-c", str(pool_file)), ("--url", server_url)):
        code, out, err = run("experts", "test", "down", "alpha", "server-error", *where)
        assert (code, err) == (1, "")
        marks = [line.split(":")[0] for line in out.splitlines()]
        assert marks == ["✗ down", "✓ alpha", "✗ server-error"]


def test_results_as_json(run: Run, pool_file: Path) -> None:
    code, out, _ = run("experts", "test", "down", "alpha", "--json", "-c", pool_file)
    down, alpha = json.loads(out)
    assert code == 1
    assert (down["name"], down["status"], down["tokens"]) == ("down", "failed", None)
    assert down["error"]["code"] == "expert_unavailable"
    assert "`down`" in down["error"]["message"]
    assert alpha.keys() == down.keys()
    assert (alpha["status"], alpha["tokens"], alpha["error"]) == ("ok", 6, None)
    assert alpha["latency_ms"] > 0


def test_one_that_hangs_is_given_up_on(run: Run, pool_file: Path) -> None:
    code, out, _ = run("experts", "test", "hang", "--timeout", "0.2", "--json", "-c", pool_file)
    assert code == 1
    assert json.loads(out)[0]["error"]["code"] == "expert_timeout"


def test_one_that_does_not_chat_is_skipped(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "coe.yaml"
    path.write_text(
        "plugins: {allow: [coe-test-plugin]}\n"
        "experts:\n"
        "  judge: {kind: critic}\n"
        "  alpha: {kind: echo}\n"
        "routers: {auto: {kind: first}}\n"
    )
    code, out, _ = run("experts", "test")
    assert code == 0
    assert out.splitlines()[0] == "- judge: does not chat, skipped"


def test_a_wrong_name_is_told_before_anybody_is_asked(run: Run, pool_file: Path) -> None:
    code, out, err = run("experts", "test", "alpha", "gamma", "-c", pool_file)
    assert (code, out) == (1, "")
    assert err.startswith("error: No expert is called `gamma`.\nhint: There are: alpha, beta, down, ")
