"""`coe keys`."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from coe.tenants import KeyRing
from coe.testing import Clock

Run = Callable[..., tuple[int, str, str]]

COE = [sys.executable, "-c", "from coe.cli import main; main()"]
CONFIG = "experts: {a: {kind: echo}}\nrouters: {auto: {kind: two-step}}\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "coe.yaml").write_text(CONFIG + "tenants: {keys_file: secret/keys.json}\n")
    return tmp_path / "secret" / "keys.json"


def test_a_key_is_made_shown_once_and_opens(run: Run, file: Path) -> None:
    code, out, err = run("keys", "create", "acme", "--name", "ci")
    key = out.strip()
    assert code == 0
    assert key.startswith("coe-")
    assert "it is not shown again" in err
    assert key not in err
    assert key[17:] not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert KeyRing(file, Clock(), time.time).tenant_of(key) == "acme"
    _, listed, _ = run("keys", "list")
    assert key[4:16] in listed
    assert key[17:] not in listed
    assert "ci" in listed


def test_a_key_is_revoked(run: Run, file: Path) -> None:
    made = [json.loads(run("keys", "create", tenant, "--json")[1]) for tenant in ("one", "two")]
    assert run("keys", "revoke", made[0]["id"])[0] == 0
    rows = json.loads(run("keys", "list", "--json")[1])
    assert [(row["tenant"], row["state"]) for row in rows] == [("one", "revoked"), ("two", "valid")]
    assert "key" not in rows[0]
    code, _, err = run("keys", "revoke", "nobody")
    assert (code, err) == (1, "error: No key has the id `nobody`.\nhint: See `coe keys list`.\n")


@pytest.mark.parametrize(("when", "days"), [("12h", 0.5), ("30d", 30), ("2w", 14)])
def test_a_key_may_expire(run: Run, file: Path, when: str, days: float) -> None:
    row = json.loads(run("keys", "create", "acme", "--expires", when, "--json")[1])
    assert row["expires_at"] - row["created_at"] == days * 86_400


def test_a_date_is_meant_to_its_end(run: Run, file: Path) -> None:
    row = json.loads(run("keys", "create", "acme", "--expires", "2999-12-30", "--json")[1])
    assert time.strftime("%Y-%m-%d %H:%M", time.gmtime(row["expires_at"])) == "2999-12-31 00:00"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["acme", "--expires", "soon"], "`soon` is neither a date nor an age."),
        (["acme", "--expires", "2020-01-01"], "2020-01-01 is over already."),
        (["a b"], "`a b` cannot be a tenant's name."),
        (["x" * 65], "cannot be a tenant's name."),
    ],
)
def test_mistakes_make_no_key(run: Run, file: Path, arguments: list[str], message: str) -> None:
    code, out, err = run("keys", "create", *arguments)
    assert (code, out) == (1, "")
    assert message in err
    assert not file.exists()


def test_a_configuration_without_a_keys_file_says_what_to_add(run: Run, tmp_path: Path) -> None:
    (tmp_path / "coe.yaml").write_text(CONFIG)
    code, _, err = run("keys", "create", "acme")
    assert code == 3
    assert "tenants: {keys_file: keys.json}" in err
    assert run("keys", "create", "acme", "--file", "keys.json")[0] == 0
    assert (tmp_path / "keys.json").exists()


@pytest.fixture
def server(tmp_path: Path, file: Path) -> Iterator[tuple[str, str]]:
    """`coe serve` as a process that wants keys: its address, and a key."""
    done = subprocess.run([*COE, "keys", "create", "acme"], capture_output=True, text=True, check=True)
    with subprocess.Popen([*COE, "serve", "--port", "0"], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        greeting = process.stderr.readline()
        assert "coe serves http://" in greeting, greeting + process.stderr.read()
        yield greeting.split()[2].removesuffix("/v1"), done.stdout.strip()
        process.terminate()


def test_commands_bring_the_key(run: Run, server: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    url, key = server
    for command in (["chat", "hello"], ["route", "hello"], ["experts", "list"], ["experts", "test"]):
        code, _, err = run(*command, "--url", url)
        assert (code, "An API key is required." in err) == (6, True)
        assert run(*command, "--url", url, "--api-key", key)[0] == 0
    monkeypatch.setenv("COE_API_KEY", key)
    assert run("chat", "hello", "--url", url)[:2] == (0, "hello\n")
    assert run("keys", "revoke", key[4:16])[0] == 0
    deadline = time.monotonic() + 20
    while run("chat", "hello", "--url", url)[0] == 0:
        assert time.monotonic() < deadline, "a revoked key still opens"
    assert run("chat", "hello", "--url", url)[0] == 6


def test_serve_refuses_a_public_address_without_keys(run: Run, tmp_path: Path) -> None:
    (tmp_path / "coe.yaml").write_text(CONFIG)
    code, _, err = run("serve", "--host", "0.0.0.0", "--port", "0")
    assert code == 3
    assert "0.0.0.0 may be reached from other machines" in err
