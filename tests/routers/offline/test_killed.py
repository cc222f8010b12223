"""Processes killed at the worst moment: nothing half-written is taken for a router or for decisions."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

# Real processes that import everything anew.
pytestmark = pytest.mark.slow

KILLED_BEFORE_RENAMING = """
import os, signal, sys
from coe.cli import main

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

os.rename = os.replace = die
main(sys.argv[1:])
"""

KILLED_AFTER_A_BATCH = """
import os, signal, sys
import coe_routers.commands.route_batch as command
from coe.cli import main

route_file = command.route_file

def killed(*arguments, say):
    return route_file(*arguments, say=lambda _: os.kill(os.getpid(), signal.SIGKILL))

command.route_file = killed
main(sys.argv[1:])
"""


def killed(script: str, *arguments: object) -> None:
    ended = subprocess.run([sys.executable, "-c", script, *map(str, arguments)], check=False)
    assert ended.returncode == -signal.SIGKILL


def coe(*arguments: object) -> None:
    code = "import sys; from coe.cli import main; main(sys.argv[1:])"
    subprocess.run([sys.executable, "-c", code, *map(str, arguments)], check=True, stdout=subprocess.PIPE)


def test_a_killed_training_leaves_no_router(folder: Path, tmp_path: Path) -> None:
    router = tmp_path / "router"
    train = ("train", folder / "train.jsonl", "--features", "ngrams", "--out", router)
    killed(KILLED_BEFORE_RENAMING, *train)
    assert not router.exists()
    coe(*train)
    assert json.loads((router / "manifest.json").read_bytes())["kind"] == "router"


def test_a_killed_batch_goes_on_where_it_stopped(trained: Path, folder: Path, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole.jsonl", tmp_path / "cut.jsonl"
    route = ("route", "--router", trained, "--input", folder / "test.jsonl", "--output")
    coe(*route, whole)
    killed(KILLED_AFTER_A_BATCH, *route, cut)
    assert len(cut.read_bytes().splitlines()) == 256
    coe(*route, cut)
    assert cut.read_bytes() == whole.read_bytes()


def test_a_folder_that_cannot_be_written_is_not_begun(trained: Path, folder: Path, tmp_path: Path) -> None:
    before = sorted(path.name for path in tmp_path.iterdir())
    (tmp_path / "file").write_text("not a folder")
    code = "import sys; from coe.cli import main; main(sys.argv[1:])"
    arguments = ("train", folder / "train.jsonl", "--features", "ngrams", "--out", tmp_path / "file/router")
    ended = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], check=False, capture_output=True, text=True
    )
    assert ended.returncode == 5  # an artifact error
    assert "error:" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == [*before, "file"]
