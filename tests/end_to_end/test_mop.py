"""Prompts made from examples, from the command that makes them to the answer that a client gets."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from coe.testing import FakeUpstream

if TYPE_CHECKING:
    from conftest import Served

    Serve = Callable[..., Served]

pytestmark = pytest.mark.slow

TASKS = {
    "sums": [(f"{one} + {two}", str(one + two)) for one in range(10, 16) for two in range(20, 25)],
    "capitals": [
        (f"{size} {name}", f"{size} {name}".upper())
        for size in ("small", "large", "old")
        for name in ("river", "stone", "cloud", "bread", "chair", "tiger", "lemon", "house", "table", "beach")
    ],
}


def coe(folder: Path, *arguments: str) -> str:
    command = [str(Path(sys.executable).with_name("coe")), *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def write_examples(path: Path, *tasks: str) -> None:
    rows = [{"input": asked, "output": said} for task in tasks for asked, said in TASKS[task]]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream() as running:
        yield running


def ask(served: Served, model: str, question: str) -> tuple[dict[str, Any], httpx.Headers]:
    body = {"model": model, "messages": [{"role": "user", "content": question}]}
    answer = httpx.post(f"{served.url}/v1/chat/completions", json=body, timeout=30)
    assert answer.status_code == 200, answer.text
    return answer.json()["coe"], answer.headers


def test_a_bundle_is_built_configured_and_served(
    serve: Serve, upstream: FakeUpstream, tmp_path: Path
) -> None:
    write_examples(tmp_path / "examples.jsonl", "sums", "capitals")
    head = f"version: 1\nexperts:\n  base: {{kind: openai, base_url: {upstream.base_url}, model: fake}}\n"
    (tmp_path / "coe.yaml").write_text(head + "routers: {auto: {kind: two-step, map: {general: base}}}\n")
    coe(tmp_path, "mop", "build", "examples.jsonl", "--out", "mop", "--no-instructions", "--base", "base")
    printed = coe(tmp_path, "mop", "config", "mop", "--base", "base")
    (tmp_path / "coe.yaml").write_text(head + printed.removeprefix("experts:\n"))
    served = serve("--config", "coe.yaml")
    served.ready()
    for task, question in (("sums", "12 + 24"), ("capitals", "old beach")):
        facts, headers = ask(served, "mop", question)
        assert headers["x-coe-expert-kind"] == "prompt"
        assert facts["category"] == f"region-{facts['expert'].removeprefix('mop-')}"
        sent = upstream.received[-1].json()["messages"]
        assert sent[-1] == {"role": "user", "content": question}
        shown = [
            (asked["content"], said["content"]) for asked, said in zip(*[iter(sent[:-1])] * 2, strict=True)
        ]
        assert len(shown) == 6
        assert set(shown) <= set(TASKS[task])
    assert not [said for _, said in TASKS["capitals"] if said in served.log], "demonstrations are not logged"


def test_two_step_routers_take_a_bundle_for_a_task(
    serve: Serve, upstream: FakeUpstream, tmp_path: Path
) -> None:
    for task in TASKS:
        write_examples(tmp_path / f"{task}.jsonl", task)
        coe(tmp_path, "mop", "build", f"{task}.jsonl", "--out", task, "--no-instructions")
    (tmp_path / "coe.yaml").write_text(
        f"""\
version: 1
experts:
  base: {{kind: openai, base_url: {upstream.base_url}, model: fake}}
  sums: {{kind: mop, bundle: sums, base: base}}
  capitals: {{kind: mop, bundle: capitals, base: base}}
routers:
  auto: {{kind: two-step, map: {{math: sums, writing: capitals, general: base}}}}
"""
    )
    served = serve("--config", "coe.yaml")
    served.ready()
    for question, category, expert in (
        ("What is 12 + 30?", "math", "sums"),
        ("Write a short poem about the sea.", "writing", "capitals"),
    ):
        facts, headers = ask(served, "auto", question)
        assert (facts["category"], facts["expert"]) == (category, expert)
        assert headers["x-coe-expert-kind"] == "prompt"
        sent = upstream.received[-1].json()["messages"]
        assert (sent[0]["content"], sent[1]["content"]) in TASKS[expert]
