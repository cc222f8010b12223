"""What the server's sparse layers did, as its expert tells it."""

from __future__ import annotations

import asyncio
import json

import pytest

from coe.contracts import Layered, SparseLayer
from coe.errors import ConfigError
from coe_vllm import _layer_look
from coe_vllm._api import Refused
from coe_vllm._layers import counting, parse
from coe_vllm._settings import Launch

from .asking import run
from .conftest import launched, make_expert

LAYER = {"layer": "mlp.0", "kernel": "AMX", "calls": 3, "tokens": 7, "histogram": [14, 0]}
COUNTED = SparseLayer("mlp.0", "AMX", 3, 7, (14, 0))


@pytest.mark.slow
def test_a_launched_server_is_started_so_that_it_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_layer_look, "EVERY_S", 0.0)

    async def check() -> None:
        expert = make_expert("vllm", "base", {**launched(), "layer_counts": True})
        try:
            await expert.start()
            assert isinstance(expert, Layered)
            assert expert.sparse_layers == ()
            await expert.backend.api._ask("POST", "/fake", {"layers": [LAYER]})
            async with asyncio.timeout(15):
                while not expert.sparse_layers:
                    await asyncio.sleep(0.02)
            assert expert.sparse_layers == (COUNTED,)
        finally:
            await expert.aclose()

    run(check)


@pytest.mark.slow
def test_a_server_that_does_not_tell_serves_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    async def check() -> None:
        expert = make_expert("vllm", "base", launched())
        try:
            await expert.start()
            with pytest.raises(Refused, match="404"):
                await expert.backend.api.sparse_layers()
            look = _layer_look.LayerLook()
            await look.look("base", expert.backend.api, 100.0)
            await look.look("base", expert.backend.api, 200.0)
            assert look.counts == ()
        finally:
            await expert.aclose()

    run(check)
    assert caplog.text.count("layers not counted: expert=base") == 1


def test_every_worker_sees_the_same_tokens_so_one_counts() -> None:
    assert parse(b'{"results": []}') == ()
    body = b'{"results": [%s, %s]}' % ((b'{"layers": [%s]}' % json.dumps(LAYER).encode(),) * 2)
    assert parse(body) == (COUNTED,)


def test_what_the_configuration_says_lies_over_what_counting_needs() -> None:
    launch = counting(Launch(args={"max_num_seqs": 2}, env={"VLLM_SERVER_DEV_MODE": "0"}))
    assert launch.args == {
        "worker_extension_cls": "coe_kernels.engine.worker.KernelsWorker",
        "max_num_seqs": 2,
    }
    assert launch.env == {"VLLM_SERVER_DEV_MODE": "0"}


def test_a_model_that_scores_is_told_that_it_cannot_count() -> None:
    with pytest.raises(ConfigError, match="`layer_counts` of `judge`"):
        make_expert("vllm-reward", "judge", {**launched(), "layer_counts": True})
