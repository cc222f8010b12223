"""Arguments against what an installed vLLM takes, before it is launched with them."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from coe.errors import ConfigError, ExpertUnavailable
from coe_vllm._presets import PRESETS
from coe_vllm.commands.vllm import app
from coe_vllm.server._arguments import Known, Option, Unknown, ask, cached, problems

from .conftest import FAKE, launched, make_expert

KNOWN = Known(
    "0.32.0",
    origin="vllm/__init__.py",
    origin_ns=1,
    options={
        "disable_log_stats": Option("switch"),
        "enable_expert_parallel": Option("flag"),
        "moe_backend": Option("text", choices=["auto", "triton", "deep_gemm"]),
        "max_lora_rank": Option("int", choices=["8", "16"]),
        "max_num_seqs": Option("int"),
        "max_model_len": Option("size"),
        "gpu_memory_utilization": Option("float"),
        "allowed_origins": Option("json"),
        "lora_target_modules": Option("text", several=True),
        "hf_overrides": Option("text"),
        "spec_method": Option("text", choices=["ngram", "eagle3"]),
        "speculative_config": Option("json", keys=["method", "num_speculative_tokens"]),
    },
    environment=["VLLM_ATTENTION_BACKEND"],
)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("disable_log_stats", True),
        ("enable_expert_parallel", False),
        ("moe_backend", "deep-gemm"),
        ("max_lora_rank", 16),
        ("max_num_seqs", "64"),
        ("max_model_len", "8k"),
        ("max_model_len", "auto"),
        ("gpu_memory_utilization", 0.5),
        ("allowed_origins", '["a"]'),
        ("lora_target_modules", ["q_proj", "k_proj"]),
        ("hf_overrides", {"anything": 1}),
        ("speculative_config", {"method": "ngram", "num_speculative_tokens": 4}),
        ("speculative_config", '{"method": "ngram"}'),
    ],
)
def test_what_vllm_takes_is_taken(name: str, value: Any) -> None:
    assert problems(KNOWN, {name: value}) == []


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("max_num_seq", 3, "vLLM 0.32.0 has no argument `max_num_seq` (did you mean `max_num_seqs`?"),
        ("qqq", 3, "vLLM 0.32.0 has no argument `qqq`"),
        ("disable_log_stats", False, "`disable_log_stats` can only be true: leave it out"),
        ("enable_expert_parallel", "yes", "`enable_expert_parallel` is true or false, not 'yes'"),
        (
            "moe_backend",
            "tritn",
            "`moe_backend` is 'tritn' (did you mean `triton`?); it takes auto, triton, d",
        ),
        ("max_lora_rank", 4, "`max_lora_rank` is '4'; it takes 8, 16"),
        ("max_num_seqs", "many", "`max_num_seqs` takes a whole number, not 'many'"),
        ("max_num_seqs", True, "`max_num_seqs` takes a value, not true"),
        ("max_model_len", "long", "`max_model_len` takes a number such as 8192 or 8k, not 'long'"),
        ("gpu_memory_utilization", "half", "`gpu_memory_utilization` takes a number, not 'half'"),
        ("allowed_origins", ["a"], """`allowed_origins` takes one JSON value: write it as '["a"]'"""),
        ("allowed_origins", "[", "`allowed_origins` takes JSON: "),
        ("moe_backend", ["auto"], "`moe_backend` takes one value, not a list"),
        ("max_num_seqs", {"a": 1}, "`max_num_seqs` takes no object"),
        (
            "speculative_config",
            {"metod": "x"},
            "`speculative_config` has no key `metod` (did you mean `method`",
        ),
        (
            "speculative_config",
            {"method": "ngrm"},
            "`speculative_config.method` is 'ngrm' (did you mean `ngram`",
        ),
    ],
)
def test_what_vllm_would_refuse_is_refused_with_what_was_meant(name: str, value: Any, words: str) -> None:
    (said,) = problems(KNOWN, {name: value})
    assert said.startswith(words)


def test_variables_of_vllm_are_known_by_name() -> None:
    assert problems(KNOWN, {}, ["VLLM_ATTENTION_BACKEND", "OMP_NUM_THREADS"]) == []
    (said,) = problems(KNOWN, {}, ["VLLM_ATTENTION_BACKENDS"])
    assert said.endswith("(did you mean `VLLM_ATTENTION_BACKEND`?)")


def asked(cache: Path, python: str = sys.executable) -> Known:
    return asyncio.run(ask(python, {"PYTHONPATH": str(FAKE)}, cache))


@pytest.mark.slow
def test_the_parser_is_asked_once_until_the_installation_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = {"PYTHONPATH": str(FAKE)}
    assert cached(sys.executable, env, tmp_path) is None
    known = asked(tmp_path)
    assert known.options["enable_prefix_caching"] == Option("flag")
    assert known.options["enable_lora"] == Option("switch")
    assert known.options["max_num_seqs"] == Option("int")
    assert known.options["compilation_config"] == Option("json", keys=["cudagraph_mode", "mode"])
    assert known.options["moe_backend"].choices == ["auto", "triton", "deep_gemm"]
    assert cached(sys.executable, env, tmp_path) == known
    assert cached(sys.executable, {"PYTHONPATH": "elsewhere"}, tmp_path) is None
    assert cached(sys.executable, {}, tmp_path) is None
    monkeypatch.setenv("PYTHONPATH", str(FAKE))
    assert cached(sys.executable, {}, tmp_path) == known
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes().replace(str(known.origin_ns).encode(), b"1"))
    assert cached(sys.executable, env, tmp_path) is None
    file.write_bytes(b"{")
    assert asked(tmp_path) == known


@pytest.mark.slow
def test_why_it_cannot_be_asked_is_said(tmp_path: Path) -> None:
    with pytest.raises(Unknown, match="none/python: No such file"):
        asked(tmp_path, str(tmp_path / "none" / "python"))
    with pytest.raises(Unknown, match="No module named 'vllm'"):
        asyncio.run(ask(os.path.realpath(sys.executable), {"PYTHONPATH": ""}, tmp_path))
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_mistake_is_refused_at_the_first_launch_and_when_built_after_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def check() -> None:
        expert = make_expert("vllm", "base", launched(args={"moe_backnd": "triton"}))
        for _ in range(2):
            with pytest.raises(
                ExpertUnavailable, match=r"no argument `moe_backnd` \(did you mean `moe_backend`"
            ):
                await expert.start()
        assert expert.backend.server.pid is None
        await expert.aclose()

    monkeypatch.setenv("COE_CACHE_DIR", str(tmp_path))
    asyncio.run(check())
    with pytest.raises(ConfigError, match=r"experts.base.launch: vLLM .* has no argument `moe_backnd`"):
        make_expert("vllm", "base", launched(args={"moe_backnd": "triton"}))
    (file,) = tmp_path.iterdir()
    os.unlink(file)
    make_expert("vllm", "base", launched(args={"moe_backnd": "triton"}))


@pytest.mark.slow
def test_the_commands_list_arguments_and_explain_presets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(FAKE))
    done = CliRunner().invoke(app, ["arguments", "max-num"])
    assert done.exit_code == 0, done.output
    assert done.stdout == "max_num_seqs: a whole number\n"
    done = CliRunner().invoke(app, ["arguments", "moe", "--json"])
    assert json.loads(done.stdout)["arguments"]["moe_backend"]["choices"] == ["auto", "triton", "deep_gemm"]
    done = CliRunner().invoke(app, ["presets"])
    assert all(f"{name}: {preset.why}" in done.stdout for name, preset in PRESETS.items())
    done = CliRunner().invoke(app, ["presets", "--python", sys.executable])
    assert done.exit_code == 1, "the small server lacks most of them"
    assert "has no argument `gpu_memory_utilization`" in done.stdout
