"""The journal of a real server under load: what a SIGTERM and a SIGKILL cost."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from coe.journal import Reader, Record
from coe.journal._compact import compact

if TYPE_CHECKING:
    from conftest import Served

# Real processes that are killed, drained and reloaded: minutes, not seconds.
pytestmark = pytest.mark.slow

Start = Callable[..., "Served"]
CONFIG = """\
experts:
  a: {kind: echo}
  b: {kind: echo, delay_s: 0.05}
routers: {auto: {kind: two-step, map: {general: a}}}
journal: {dir: journal, segment_mb: 0.02, max_mb: 10}
"""


class Load:
    """Callers that ask one after the other until the server is gone.

    Attributes:
        answered: decision ids of whole answers, streamed or not.
    """

    def __init__(self, url: str, callers: int = 8) -> None:
        self.answered: list[str] = []
        self._threads = [threading.Thread(target=self._ask, args=(url, n)) for n in range(callers)]
        for thread in self._threads:
            thread.start()

    def _ask(self, url: str, number: int) -> None:
        message = {"role": "user", "content": f"caller {number}"}
        with httpx.Client(base_url=url, timeout=30) as client:
            for turn in range(100_000):
                model = ("auto", "b", "nobody")[turn % 3]
                body = {"model": model, "messages": [message], "stream": bool(number % 2)}
                try:
                    response = client.post("/v1/chat/completions", json=body)
                except httpx.HTTPError:
                    return
                # An error has no decision id of its own, so it is not counted here.
                if response.status_code == 200:
                    self.answered.append(response.headers["x-coe-decision-id"])

    def wait(self, count: int) -> None:
        """Until so many answers have come."""
        ready = threading.Event()
        while len(self.answered) < count:
            ready.wait(0.01)

    def join(self) -> None:
        for thread in self._threads:
            thread.join(60)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "coe.yaml"
    path.write_text(CONFIG)
    return path


def journal_of(config: Path) -> list[Record]:
    reader = Reader(config.parent / "journal")
    records = list(reader.records())
    assert reader.unreadable == 0
    ids = [each.id for each in records]
    assert len(set(ids)) == len(ids)
    return records


@pytest.mark.parametrize("workers", [1, 2])
def test_sigterm_under_load_loses_no_record(serve: Start, config: Path, workers: int) -> None:
    served = serve("-c", str(config), "--workers", str(workers))
    load = Load(served.url)
    load.wait(150)
    assert served.stop() == 0
    load.join()
    records = journal_of(config)
    assert set(load.answered) <= {each.id for each in records if each.status == 200}
    assert {each.status for each in records} >= {200, 404}
    assert {each.expert for each in records if each.status == 200} == {"a", "b"}


def test_sigkill_under_load_loses_the_unwritten_tail_and_the_next_start_goes_on(
    serve: Start, config: Path
) -> None:
    served = serve("-c", str(config))
    load = Load(served.url)
    load.wait(150)
    before = {each.id for each in journal_of(config)}
    load.wait(300)
    served.process.kill()
    served.process.wait(30)
    load.join()
    after = {each.id for each in journal_of(config)}
    assert before <= after
    assert len(after & set(load.answered)) >= 100
    again = serve("-c", str(config))
    httpx.post(
        f"{again.url}/v1/chat/completions",
        json={"model": "a", "messages": [{"role": "user", "content": "x"}]},
        timeout=30,
    )
    assert again.stop() == 0
    assert len(journal_of(config)) == len(after) + 1
    # The killed server's own conversion may still have one in its hands.
    deadline = time.monotonic() + 60
    while list((config.parent / "journal").glob("*.jsonl")):
        assert time.monotonic() < deadline
        compact(config.parent / "journal")
    assert len(journal_of(config)) == len(after) + 1


@pytest.mark.parametrize("signals", [1, 2])
def test_a_request_that_the_end_cuts_off_is_recorded(serve: Start, config: Path, signals: int) -> None:
    # One signal waits for the time to drain, a second one does not.
    drain_s = 1 if signals == 1 else 60
    text = f"server: {{drain_timeout_s: {drain_s}}}\n" + CONFIG.replace("delay_s: 0.05", "delay_s: 60")
    config.write_text(text)
    served = serve("-c", str(config))
    body = {"model": "b", "messages": [{"role": "user", "content": "x"}]}

    def ask() -> None:
        with contextlib.suppress(httpx.HTTPError):
            httpx.post(f"{served.url}/v1/chat/completions", json=body, timeout=90)

    caller = threading.Thread(target=ask)
    caller.start()
    deadline = time.monotonic() + 30
    while 'coe_expert_in_flight{expert="b"} 1.0' not in served.metrics():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    for _ in range(signals):
        served.process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
    assert served.process.wait(30) == 0, served.log
    caller.join(30)
    (record,) = journal_of(config)
    assert (record.model, record.status, record.error) == ("b", 503, "cancelled")
    assert [(each.expert, each.error) for each in record.attempts] == [("b", "cancelled")]


def test_a_reload_changes_what_is_kept_from_the_next_request_on(serve: Start, config: Path) -> None:
    served = serve("-c", str(config))
    body = {"model": "a", "messages": [{"role": "user", "content": "a secret"}]}

    def ask() -> None:
        httpx.post(f"{served.url}/v1/chat/completions", json=body, timeout=30)

    ask()
    for number, settings in enumerate(("{dir: journal, prompts: true}", "{dir: other}"), 1):
        config.write_text(CONFIG.partition("journal:")[0] + f"journal: {settings}\n")
        served.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 30
        while f'coe_config_reloads_total{{outcome="applied"}} {number}.0' not in served.metrics():
            assert time.monotonic() < deadline, served.log
            time.sleep(0.02)
        ask()
    assert served.stop() == 0
    assert [each.prompt for each in journal_of(config)] == [None, "a secret"]
    assert [each.prompt for each in Reader(config.parent / "other").records()] == [None]
