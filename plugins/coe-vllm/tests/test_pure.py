"""Sizes, metrics, commands and settings: pure functions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from coe.errors import ConfigError
from coe_vllm._metrics import Gauges, parse
from coe_vllm._model import read_size, size_of
from coe_vllm._presets import PRESETS
from coe_vllm._settings import Launch, VllmSettings
from coe_vllm.server._backoff import LONGEST_S, STABLE_S, Backoff
from coe_vllm.server._command import arguments, argv, environment

from .conftest import launched, make_expert

SMOLLM2 = {
    "hidden_size": 576,
    "num_hidden_layers": 30,
    "vocab_size": 49152,
    "intermediate_size": 1536,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "tie_word_embeddings": True,
}
MIXTRAL = {
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "vocab_size": 32000,
    "intermediate_size": 14336,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "num_local_experts": 8,
    "num_experts_per_tok": 2,
}
QWEN3_30B = {
    "hidden_size": 2048,
    "num_hidden_layers": 48,
    "vocab_size": 151936,
    "intermediate_size": 6144,
    "moe_intermediate_size": 768,
    "num_attention_heads": 32,
    "num_key_value_heads": 4,
    "head_dim": 128,
    "num_experts": 128,
    "num_experts_per_tok": 8,
    "decoder_sparse_step": 1,
    "mlp_only_layers": [],
}
DEEPSEEK_V3 = {
    "hidden_size": 7168,
    "num_hidden_layers": 61,
    "vocab_size": 129280,
    "intermediate_size": 18432,
    "moe_intermediate_size": 2048,
    "num_attention_heads": 128,
    "q_lora_rank": 1536,
    "kv_lora_rank": 512,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "n_routed_experts": 256,
    "n_shared_experts": 1,
    "num_experts_per_tok": 8,
    "first_k_dense_replace": 3,
}


@pytest.mark.parametrize(
    ("config", "params_b", "active_params_b"),
    [
        (SMOLLM2, 0.1345, 0.1345),
        (MIXTRAL, 46.7, 12.7),
        (QWEN3_30B, 30.5, 3.0),
        (DEEPSEEK_V3, 671, 36.6),
        ({"text_config": MIXTRAL, "vision_config": {"hidden_size": 7}}, 46.7, 12.7),
    ],
)
def test_sizes_are_those_that_the_makers_state(
    config: dict[str, Any], params_b: float, active_params_b: float
) -> None:
    # Makers count the input embeddings as active; a lookup is not.
    size = size_of(config)
    assert size is not None
    assert size.params_b == pytest.approx(params_b, rel=0.01)
    assert size.active_params_b == pytest.approx(active_params_b, rel=0.02)


def test_what_is_no_decoder_has_no_size(tmp_path: Path) -> None:
    assert size_of({"hidden_size": 3}) is None
    assert size_of({**SMOLLM2, "num_attention_heads": "many"}) is None
    assert read_size(tmp_path) is None
    (tmp_path / "config.json").write_text("[1]")
    assert read_size(tmp_path) is None


def test_the_load_is_read_from_the_metrics() -> None:
    text = """# HELP vllm:num_requests_running x
vllm:num_requests_running{engine="0",model_name="a"} 3.0
vllm:num_requests_running{engine="1",model_name="a"} 2.0
vllm:num_requests_waiting{engine="0",model_name="a"} 0.0
vllm:num_requests_waiting_by_reason{engine="0",model_name="a",reason="capacity"} 9.0
vllm:kv_cache_usage_perc{engine="0",model_name="a"} 0.25
vllm:kv_cache_usage_perc{engine="1",model_name="a"} 0.5
"""
    assert parse(text) == Gauges(5, 0, 0.5)
    assert parse("") == Gauges()


@given(st.text())
def test_any_text_is_some_load(text: str) -> None:
    assert parse(text + "\nvllm:num_requests_waiting NaN\n").level(None) in (0, 1, 2)


@pytest.mark.parametrize(
    ("gauges", "full_at", "level"),
    [
        (Gauges(0, 0, 0.0), 8, 0),
        (Gauges(7, 0, 0.5), 8, 0),
        (Gauges(8, 0, 0.5), 8, 1),
        (Gauges(100, 0, 0.5), None, 0),
        (Gauges(1, 0, 0.97), None, 1),
        (Gauges(1, 1, 0.0), None, 2),
    ],
)
def test_the_level_of_a_load(gauges: Gauges, full_at: int | None, level: int) -> None:
    assert gauges.level(full_at) == level


def test_arguments_become_flags(tmp_path: Path) -> None:
    launch = Launch(
        args={
            "max_model_len": 1024,
            "enforce-eager": True,
            "enable_prefix_caching": False,
            "speculative_config": {"method": "ngram", "num_speculative_tokens": 4},
            "lora_target_modules": ["a", "b"],
            "moe_backend": "triton",
        },
        python=Path("venv/bin/python"),
    )
    command = argv(launch, model="m", name="base", port=7, base_dir=tmp_path)
    assert command[0] == str(tmp_path / "venv/bin/python")
    assert command[3:] == [
        *("--host", "127.0.0.1", "--port", "7", "--model", "m", "--served-model-name", "base"),
        *("--max-model-len", "1024", "--enforce-eager", "--no-enable-prefix-caching"),
        *("--speculative-config", '{"method": "ngram", "num_speculative_tokens": 4}'),
        *("--lora-target-modules", "a", "b", "--moe-backend", "triton"),
    ]


def test_what_adapters_and_sleep_need_is_in_the_environment(tmp_path: Path) -> None:
    launch = Launch(
        args={"enable_lora": True, "enable_sleep_mode": True},
        gpus=[2, 3],
        tuned_configs=Path("tuned"),
        env={"VLLM_API_KEY": "mine"},
    )
    env = environment(launch, api_key="k", base_dir=tmp_path)
    assert env["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] == env["VLLM_SERVER_DEV_MODE"] == "1"
    assert (env["CUDA_VISIBLE_DEVICES"], env["VLLM_API_KEY"]) == ("2,3", "mine")
    assert env["VLLM_TUNED_CONFIG_FOLDER"] == str(tmp_path / "tuned")
    assert "VLLM_SERVER_DEV_MODE" not in environment(Launch(), api_key="k", base_dir=tmp_path)


@pytest.mark.parametrize("name", PRESETS)
def test_the_configuration_lies_over_a_preset(name: Any) -> None:
    assert PRESETS[name].why.endswith(".")
    assert arguments(Launch(preset=name)) == dict(PRESETS[name].args)
    launch = Launch(preset=name, args={"max-num-seqs": 3}, env={"OMP_NUM_THREADS": "4"})
    assert arguments(launch)["max_num_seqs"] == 3
    assert environment(launch, api_key="", base_dir=Path())["OMP_NUM_THREADS"] == "4"


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"model": "m"}, "either `base_url`"),
        ({"model": "m", "base_url": "http://x/v1", "launch": {}}, "either `base_url`"),
        ({"model": "m", "launch": {"args": {"served-model-name": "x"}}}, "it is the name of the expert"),
        ({"model": "m", "launch": {"preset": "huge"}}, "small-gpu"),
        ({"model": "m", "launch": {"prot": 1}}, "prot"),
        ({"model": "m", "base_url": "http://x/v1", "memory": "gpu"}, "set `sleep: mode`"),
    ],
)
def test_wrong_settings_are_explained(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        VllmSettings.model_validate(keys)


def test_sleep_mode_is_asked_for_only_where_the_server_has_it() -> None:
    memory = make_expert("vllm-memory", "gpu", {"gpu_gb": 2})
    keys = {**launched(), "memory": "gpu", "memory_gb": 1, "sleep": "mode"}
    with pytest.raises(ConfigError, match=r"needs `enable_sleep_mode: true`.*no sleep mode on a CPU"):
        make_expert("vllm", "a", keys, experts={"gpu": memory})
    with pytest.raises(ConfigError, match="set `memory_gb`"):
        make_expert("vllm", "a", {**launched(), "memory": "gpu"}, experts={"gpu": memory})


def test_a_launch_knows_its_card_from_the_configuration_of_the_model(tmp_path: Path) -> None:
    import json

    (tmp_path / "config.json").write_text(json.dumps(SMOLLM2))
    keys = {**launched(args={"max_model_len": 1024}), "model": "."}
    card = make_expert("vllm", "base", keys, base_dir=tmp_path, card={"domains": ("law",)}).card
    assert card.params_b == pytest.approx(0.1345, rel=0.01)
    assert (card.context_window, card.locality, card.domains) == (1024, "local", ("law",))


def test_pauses_grow_and_a_long_life_is_forgiven() -> None:
    backoff = Backoff()
    waits: list[float] = []
    for _ in range(9):
        backoff.failed(100.0)
        waits.append(backoff.wait_s(100.0))
    assert waits == [1, 2, 4, 8, 16, 32, LONGEST_S, LONGEST_S, LONGEST_S]
    backoff.failed(200.0, served_s=STABLE_S)
    assert backoff.wait_s(200.0) == 1
    assert backoff.wait_s(202.0) == 0


def test_a_worker_that_stands_in_for_experts_still_knows_what_they_are(tmp_path: Path) -> None:
    from coe.config import loads
    from coe.experts import host, hosted
    from coe.pool import Builder
    from coe.registry import FIRST_PARTY, Registry

    from .test_expert import adapter

    text = f"""
experts:
  base: {{kind: vllm, model: some/model, launch: {{}}, max_concurrency: 2}}
  law: {{kind: adapter, base: base, path: {adapter(tmp_path / "law")}}}
routers:
  auto: {{kind: two-step}}
"""
    config, registry = loads(text, {}), Registry(allow=FIRST_PARTY)
    assert Builder(config, registry).expert("law").card.kind == "adapter"
    there = host("http://127.0.0.1:9", "key")
    away = Builder(config, registry, stand_in=lambda expert: hosted(expert, there))
    assert away.expert("law").card.kind == "adapter"


def test_a_shared_memory_is_no_expert_that_can_be_started_or_chosen(tmp_path: Path) -> None:
    from coe.config import loads
    from coe.pool import Builder
    from coe.registry import FIRST_PARTY, Registry

    text = """
experts:
  ram: {kind: vllm-memory, routable: false, gpu_gb: 2}
  chat: {kind: vllm, model: some/model, memory: ram, memory_gb: 1, launch: {}}
routers:
  auto: {kind: two-step}
"""
    pool = Builder(loads(text, {}), Registry(allow=FIRST_PARTY)).pool(lambda: 0.0)
    assert pool.member("ram").startable is None
    assert pool.member("ram").loaded is None
    assert {name: state.awake for name, state in pool.view().experts.items()} == {"chat": False}
