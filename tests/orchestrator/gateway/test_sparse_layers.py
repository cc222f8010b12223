"""Sparse layers of experts in the metrics: of one process, and of several that ask the same server."""

from __future__ import annotations

import time

from coe.config import loads
from coe.contracts import Layered, SparseLayer
from coe.gateway import Metrics, build
from coe.gateway._exposition import exposition
from coe.gateway._workers._merge import families, lasting, merged, snapshot
from coe.registry import Registry

LAYERS = (SparseLayer("mlp.0", "AMX", 3, 7, (14, 0)), SparseLayer("mlp.1", "AMX", 3, 7, (6, 8)))


def metrics(layers: tuple[SparseLayer, ...]) -> Metrics:
    """Those of a gateway with an expert that tells of its layers, and one that cannot."""
    config = loads(
        "experts: {sparse: {kind: echo}, plain: {kind: echo}}\nrouters: {auto: {kind: two-step}}", {}
    )
    counted = Metrics()
    built = build(config, Registry(), counted, time.monotonic)
    member = built.engine.pool.members["sparse"]
    assert member.layered is None

    class Telling:
        sparse_layers = layers

    assert isinstance(Telling(), Layered)
    member.layered = Telling()
    counted.watch(built.engine)
    return counted


def test_calls_tokens_and_uses_of_each_layer_are_counted() -> None:
    text = metrics(LAYERS).exposition().decode()
    assert 'coe_expert_layer_calls_total{expert="sparse",kernel="AMX",layer="mlp.0"} 3.0' in text
    assert 'coe_expert_layer_tokens_total{expert="sparse",layer="mlp.1"} 7.0' in text
    assert 'coe_expert_layer_uses_total{expert="sparse",layer="mlp.1",part="1"} 8.0' in text
    assert 'expert="plain",layer' not in text


def test_without_such_layers_there_is_nothing_to_see() -> None:
    assert "coe_expert_layer" not in metrics(()).exposition().decode()


def test_a_server_that_several_processes_ask_counts_once() -> None:
    older = snapshot(metrics((SparseLayer("mlp.0", "AMX", 2, 5, (9, 1)),)).collect())
    newer = snapshot(metrics(LAYERS).collect())
    text = exposition(families(merged([lasting(older), newer, older]))).decode()
    assert 'coe_expert_layer_tokens_total{expert="sparse",layer="mlp.0"} 7.0' in text
    assert 'coe_expert_layer_uses_total{expert="sparse",layer="mlp.0",part="1"} 1.0' in text
