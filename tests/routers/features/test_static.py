from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from coe.contracts import Embedder
from coe.errors import ArtifactError
from coe.testing import create, load
from coe.testing.conformance import EmbedderConformance
from coe_routers.features import StaticEmbedder
from coe_routers.features._wordpiece import WordPiece
from coe_routers.store import tensor_bytes, write_folder

VOCABULARY = ["play", "##ing", "##s", "the", ".", "naive", "機", "械", "don", "'", "t"]


def small(path: Path, rows: int = len(VOCABULARY)) -> Path:
    vectors = np.eye(rows, 16, dtype=np.int8) * np.int8(100)
    scales = np.linspace(0.01, 0.02, rows, dtype=np.float32)
    files = {
        "model.safetensors": tensor_bytes({"vectors": vectors, "scales": scales}),
        "vocab.txt": "\n".join(VOCABULARY).encode(),
    }
    write_folder(path, "static-embedder", {}, files)
    return path


class TestStatic(EmbedderConformance):
    @pytest.fixture
    def make(self) -> Callable[[], Embedder]:
        return lambda: create(load("coe.embedders", "static"))

    @pytest.fixture
    def make_other(self, tmp_path: Path) -> Callable[[], Embedder]:
        artifact = small(tmp_path / "small")
        return lambda: create(load("coe.embedders", "static"), settings={"artifact": str(artifact)})


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Playing the plays.", ["play", "##ing", "the", "play", "##s", "."]),
        ("NAÏVE", ["naive"]),
        ("機械", ["機", "械"]),
        ("don't", ["don", "'", "t"]),
        ("the\u200bplay", []),
        ("the\x00", ["the"]),
        ("played", []),
        ("", []),
    ],
)
def test_words_split_as_bert_does(text: str, tokens: list[str]) -> None:
    split = WordPiece({token: row for row, token in enumerate(VOCABULARY)})
    assert [VOCABULARY[row] for row in split.rows(text)] == tokens
    assert [VOCABULARY[row] for row in split.rows(text)] == tokens, "from its memory"


def test_a_vector_is_the_weighted_mean_of_its_tokens(tmp_path: Path) -> None:
    embedder = StaticEmbedder.load(small(tmp_path / "small"))
    (vector,) = embedder.embed(["play the the"])
    expected = np.zeros(16)
    expected[0], expected[3] = 0.01, 2 * np.linspace(0.01, 0.02, len(VOCABULARY))[3]
    np.testing.assert_allclose(vector, expected / np.linalg.norm(expected), rtol=1e-5)


def test_like_texts_lie_nearer_than_unlike_ones() -> None:
    a, b, c = StaticEmbedder.load().embed(
        ["How do I treat a fever?", "medicine for high temperature", "a bug in my Java program"]
    )
    assert a @ b > a @ c + 0.1


def test_a_vocabulary_of_another_length_is_refused(tmp_path: Path) -> None:
    artifact = small(tmp_path / "short", rows=5)
    with pytest.raises(ArtifactError, match="one vector and one scale for each token"):
        StaticEmbedder.load(artifact)
