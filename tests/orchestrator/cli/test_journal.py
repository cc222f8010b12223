"""`coe journal`."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from coe.cli._journal import since_s
from coe.config import JournalConfig
from coe.errors import UserError
from coe.journal import Attempt, Journal, Likely, Record

Run = Callable[..., tuple[int, str, str]]
START = 1_750_000_000


def write(folder: Path, *records: Record) -> None:
    journal = Journal(folder, JournalConfig(dir=folder), time.monotonic, time.time)
    for record in records:
        journal.add(record)
    journal.close()


def answered(number: int, **fields: object) -> Record:
    facts: dict[str, object] = {
        "model": "auto",
        "category": "math",
        "categories": (Likely("math", 0.9),),
        "reason": "category",
        "chosen": "alpha",
        "expert": "alpha",
        "attempts": (Attempt("alpha", "", 0.01),),
        "cache": "miss",
        "route_us": 100,
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "cost_usd": 0.001,
        "first_byte_us": 4000,
    }
    given = {
        "id": f"dec_{number}",
        "time": START + number,
        "status": 200,
        "total_us": 5000,
        **facts,
        **fields,
    }
    return Record(**given)  # type: ignore[arg-type]  # the values fit, name by name


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A journal with a good request, a fallback, a broken stream and a refused one."""
    failed = (Attempt("alpha", "expert_timeout", 1.0), Attempt("beta", "", 0.1))
    write(
        tmp_path / "journal",
        answered(0),
        answered(1, cache="hit", attempts=failed, expert="beta", total_us=9000),
        answered(2, streamed=True, error="expert_unavailable", sent_bytes=70, tenant="acme"),
        Record(id="dec_3", time=START + 3, status=400, error="invalid_request", total_us=50),
    )
    return tmp_path / "journal"


def test_tail_shows_the_last_ones_newest_at_the_end(run: Run, folder: Path) -> None:
    code, out, err = run("journal", "tail", "--dir", folder, "-n", 3)
    assert (code, err) == (0, "")
    fallback, broken, refused = out.splitlines()
    assert fallback == (
        "2025-06-15 15:06:41 200 auto → beta · math 0.90, category · after alpha expert_timeout · "
        "cache hit · 9.0 ms · 10+5 tokens · $0.001000"
    )
    assert "expert_unavailable after 70 bytes" in broken
    assert broken.endswith("tenant acme")
    assert refused == "2025-06-15 15:06:43 400 – → – · invalid_request · 0.1 ms"


def test_tail_as_json_is_one_record_per_line(run: Run, folder: Path) -> None:
    lines = run("journal", "tail", "--dir", folder, "--json")[1].splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["dec_0", "dec_1", "dec_2", "dec_3"]
    assert set(json.loads(lines[0])) == set(Record.__struct_fields__)


def test_what_a_caller_sent_does_not_reach_the_terminal(run: Run, tmp_path: Path) -> None:
    write(tmp_path / "j", answered(0, model="\x1b]0;owned\x07"))
    for command in ("tail", "stats"):
        assert "\x1b" not in run("journal", command, "--dir", tmp_path / "j")[1]


def test_follow_goes_on_with_new_records(folder: Path) -> None:
    arguments = ["journal", "tail", "-f", "-n", "1", "--json", "--dir", str(folder)]
    command = [sys.executable, "-c", "from coe.cli import main; main()", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["id"] == "dec_3"
        write(folder, answered(10), answered(11))
        assert [json.loads(process.stdout.readline())["id"] for _ in range(2)] == ["dec_10", "dec_11"]
        process.terminate()


def test_stats_as_json(run: Run, folder: Path) -> None:
    summary = json.loads(run("journal", "stats", "--dir", folder, "--json")[1])
    assert (summary["requests"], summary["first_at"], summary["last_at"]) == (4, START, START + 3)
    assert {name: group["requests"] for name, group in summary["by_expert"].items()} == {
        "alpha": 2,
        "beta": 1,
        "–": 1,
    }
    assert summary["by_status"] == {"200": 3, "400": 1}
    assert summary["fallback_rate"] == pytest.approx(1 / 3)
    assert summary["cache_hit_rate"] == pytest.approx(1 / 3)
    assert summary["error_rate"] == 0.5
    assert summary["cost_usd"] == pytest.approx(0.003)


def test_stats_for_people(run: Run, folder: Path) -> None:
    code, out, err = run("journal", "stats", "--dir", folder)
    assert (code, err) == (0, "")
    assert out.startswith("4 requests 2025-06-15 15:06 – 2025-06-15 15:06 UTC")
    for part in ("errors", "50.00%", "p50 100 µs", "alpha", "acme", "status  200 3  400 1"):
        assert part in out


def test_since_leaves_older_ones_out(run: Run, folder: Path) -> None:
    out = run("journal", "stats", "--since", "2025-06-15T15:06:42", "--dir", folder, "--json")[1]
    assert json.loads(out)["requests"] == 2
    assert run("journal", "stats", "--since", "1s", "--dir", folder)[1] == "No requests.\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", 910.0),
        ("15m", 100.0),
        ("1.5h", -4400.0),
        ("1d", -85_400.0),
        ("1970-01-01T00:10", 600.0),
        ("1970-01-01T01:10+01:00", 600.0),
    ],
)
def test_times(text: str, expected: float) -> None:
    assert since_s(text, 1000.0) == expected


@pytest.mark.parametrize("text", ["", "yesterday", "5", "-5m", "m"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(UserError, match="is no time"):
        since_s(text, 1000.0)


def test_the_folder_comes_from_the_configuration(run: Run, folder: Path, tmp_path: Path) -> None:
    config = tmp_path / "sub" / "coe.yaml"
    config.parent.mkdir()
    text = "experts: {a: {kind: echo}}\nrouters: {auto: {kind: two-step}}\n"
    config.write_text(text + "journal: {dir: ../journal}\n")
    assert len(run("journal", "tail", "-c", config)[1].splitlines()) == 4
    config.write_text(text)
    code, _, err = run("journal", "tail", "-c", config)
    assert code == 1
    assert "keeps no journal" in err
    assert "--dir" in err


def test_a_folder_that_is_not_there(run: Run, tmp_path: Path) -> None:
    code, out, err = run("journal", "stats", "--dir", tmp_path / "none")
    assert (code, out) == (1, "")
    assert "There is no journal in" in err


def test_damage_is_told(run: Run, folder: Path) -> None:
    (folder / "20200101T000000000Z-1-0.jsonl").write_text("not a record\n")
    code, out, err = run("journal", "tail", "--dir", folder)
    assert code == 0
    assert len(out.splitlines()) == 4
    assert err == "note: damaged lines or files passed over: 1\n"
