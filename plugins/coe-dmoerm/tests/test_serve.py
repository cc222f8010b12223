"""A trained model as an expert."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coe.contracts import Appraiser, Embedder, RewardExpert
from coe.errors import ArtifactError, ExpertRejected
from coe.testing import build, chat, context, create, load
from coe_dmoerm._items import Item
from coe_dmoerm._model import RewardModel
from coe_dmoerm._serve import item_of

ASKED = {"role": "user", "content": "Explain how the river works."}


def expert(model_dir: Path, **keys: Any) -> Any:
    return create(load("coe.experts", "dmoerm"), "judge", {"model": str(model_dir), **keys}, build())


def test_the_expert_says_what_the_model_says(model: RewardModel, model_dir: Path, embedder: Embedder) -> None:
    judge = expert(model_dir)
    assert isinstance(judge, RewardExpert)
    assert isinstance(judge, Appraiser)
    answers = ["river.", "river garden bridge market window engine letter teacher river garden."]
    chats = [[ASKED, {"role": "assistant", "content": answer}] for answer in answers]
    found = asyncio.run(judge.appraise(chats, context()))
    assert [each.task for each in found] == ["explain", "explain"]
    assert set(found[0].aspects) == {"clear", "polite", "preference"}
    rewards = asyncio.run(judge.score(chats, context()))
    np.testing.assert_allclose(rewards, [each.reward for each in found], rtol=1e-6)
    assert rewards[1] > rewards[0]
    items = [Item("", None, ASKED["content"], "", answer, {}) for answer in answers]
    direct = [each.reward for each in model.score(items, embedder)]
    np.testing.assert_allclose(rewards, direct, rtol=1e-6)


def test_a_task_may_be_fixed(model_dir: Path) -> None:
    chats = [[ASKED, {"role": "assistant", "content": "river."}]]
    (found,) = asyncio.run(expert(model_dir, task="greet").appraise(chats, context()))
    assert found.task == "greet"


def test_system_messages_are_context_and_parts_are_joined() -> None:
    parts = [
        {"type": "text", "text": "a"},
        {"type": "image_url", "image_url": {}},
        {"type": "text", "text": "b"},
    ]
    given = [{"role": "system", "content": "facts"}, {"role": "user", "content": parts}]
    item = item_of([*given, {"role": "assistant", "content": "answer"}])
    assert (item.context, item.prompt, item.response) == ("facts", "ab", "answer")


def test_it_answers_no_chat_and_needs_a_model(model_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(ExpertRejected, match="it gives none"):
        asyncio.run(expert(model_dir).complete(chat("hello"), context()))
    with pytest.raises(ArtifactError, match="is no reward model"):
        expert(tmp_path)
