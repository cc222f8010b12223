"""Keys and a budget, from the command line to the last request that it pays for."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

if TYPE_CHECKING:
    from conftest import Served

pytestmark = pytest.mark.slow

# What is asked below costs 2 USD at `big`, and .2 at `small`.
CONFIG = """
experts:
  big: {kind: echo, card: {input_usd_per_mtok: 1000000, output_usd_per_mtok: 1000000}}
  small: {kind: echo, card: {input_usd_per_mtok: 100000, output_usd_per_mtok: 100000}}
plugins: {allow: [coe-test-plugin]}
routers: {auto: {kind: first}}
tenants:
  keys_file: keys.json
  policies:
    default: {budget_usd: {amount: 9, per: month, step_down_at: 0.5}}
"""
BODY = {"model": "auto", "max_tokens": 1, "messages": [{"role": "user", "content": "hi"}]}


def test_a_cheaper_expert_answers_before_the_budget_is_spent(
    serve: Callable[..., Served], tmp_path: Path
) -> None:
    (tmp_path / "coe.yaml").write_text(CONFIG)
    coe = Path(sys.executable).with_name("coe")
    created = subprocess.run([coe, "keys", "create", "acme"], cwd=tmp_path, capture_output=True, check=True)
    headers = {"authorization": f"Bearer {created.stdout.decode().split()[-1]}", "x-coe-explain": "1"}
    served = serve()
    assert httpx.post(f"{served.url}/v1/chat/completions", json=BODY).status_code == 401

    answers: list[httpx.Response] = []
    while not answers or answers[-1].status_code == 200:
        answers.append(httpx.post(f"{served.url}/v1/chat/completions", json=BODY, headers=headers))
        assert len(answers) < 100
    experts = [answer.headers["x-coe-expert"] for answer in answers[:-1]]
    # 3 × 2 USD, and half of the 9 is gone; then 15 × .2 for the other 3.
    assert experts == ["big"] * 3 + ["small"] * 15
    assert answers[3].json()["coe"]["decision"]["excluded"] == [
        {"expert": "big", "why": "is not the cheapest, and most of the budget is spent"}
    ]
    refused = answers[-1]
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "budget_exceeded")
    assert refused.headers["x-coe-decision-id"]
    assert 'coe_tenant_stepped_down_total{policy="default"} 15.0' in served.metrics()
    assert 'coe_tenant_spent_usd_total{policy="default"} 9.0' in served.metrics()
