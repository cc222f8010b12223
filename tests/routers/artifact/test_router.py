import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coe.contracts import Embedder, Features, Ranked
from coe.errors import ArtifactError
from coe_routers.artifact import (
    EmbedderRef,
    RouterArtifact,
    load_router,
    read_facts,
    save_expert_map,
    save_router,
)
from coe_routers.classifiers import Abstention
from coe_routers.features import StaticEmbedder
from coe_routers.store import tensor_bytes
from coe_routers.training import FitOptions, Fitted, fit_classifier

PROMPTS = [Features(text=text) for text in ("roast garlic in a pan", "the team lost the match", "", "привет")]


def artifact(fitted: Fitted) -> RouterArtifact:
    return RouterArtifact(
        classifier=fitted.classifier,
        abstention=fitted.abstention,
        embedder=EmbedderRef(kind="static"),
        expert_map={"sport": (Ranked("a", 0.5), Ranked("b"))},
        facts={"seed": 0},
    )


@pytest.fixture
def saved(tmp_path: Path, fitted: Fitted) -> Path:
    save_router(tmp_path / "router", artifact(fitted))
    return tmp_path / "router"


def static(kind: str, settings: Mapping[str, Any]) -> Embedder:
    assert (kind, dict(settings)) == ("static", {})
    return StaticEmbedder.load()


def test_a_saved_router_classifies_as_before(saved: Path, fitted: Fitted) -> None:
    loaded, revision = load_router(saved, static)
    before, after = (each.classify(PROMPTS) for each in (fitted.classifier, loaded.classifier))
    np.testing.assert_array_equal(before.probabilities, after.probabilities)
    np.testing.assert_array_equal(before.uncertainty, after.uncertainty)
    assert loaded.expert_map == artifact(fitted).expert_map
    assert loaded.abstention == fitted.abstention
    assert loaded.facts == {"seed": 0}
    assert len(revision) == 64


def test_a_saved_router_reads_how_prompts_are_typed_as_before(tmp_path: Path) -> None:
    texts = ("get it", "take it", "find it", "keep it")
    features = [Features(text=typed) for text in texts for typed in (text, text.upper())]
    fitted = fit_classifier(
        features, ["one", "two"] * 4, embedder=None, shape=True, options=FitOptions(folds=2)
    )
    router = RouterArtifact(classifier=fitted.classifier, abstention=fitted.abstention, embedder=None)
    save_router(tmp_path / "router", router)
    loaded, _ = load_router(tmp_path / "router", static)
    before, after = (each.classify(features).probabilities for each in (fitted.classifier, loaded.classifier))
    np.testing.assert_array_equal(before, after)
    assert after.argmax(axis=1).tolist() == [0, 1] * 4


def test_the_same_router_is_saved_as_the_same_bytes(saved: Path, fitted: Fitted, tmp_path: Path) -> None:
    save_router(tmp_path / "again", artifact(fitted))
    for path in saved.iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()


def test_another_map_changes_the_revision_and_keeps_the_classifier(saved: Path) -> None:
    _, before = load_router(saved, static)
    weights = (saved / "model.safetensors").read_bytes()
    after = save_expert_map(
        saved, {"music": (Ranked("c", 0.25),)}, facts={"budget": 7}, files={"scores.json": b"{}"}
    )
    loaded, revision = load_router(saved, static)
    assert revision == after != before
    assert loaded.expert_map == {"music": (Ranked("c", 0.25),)}
    assert loaded.facts == {"seed": 0, "budget": 7}
    assert (saved / "model.safetensors").read_bytes() == weights
    assert (saved / "scores.json").read_bytes() == b"{}"
    save_expert_map(saved, {})
    assert (saved / "scores.json").read_bytes() == b"{}", "further files stay"


def test_a_map_of_unknown_categories_is_refused_and_nothing_is_written(saved: Path) -> None:
    before = (saved / "manifest.json").read_bytes()
    with pytest.raises(ArtifactError, match="unknown categories: chess"):
        save_expert_map(saved, {"chess": (Ranked("a"),)})
    assert (saved / "manifest.json").read_bytes() == before


def test_another_embedder_is_refused(saved: Path) -> None:
    class Other:
        fingerprint = "0123456789abcdef"
        dim = 256

        def embed(self, texts: object) -> np.ndarray:
            raise AssertionError("not reached")

    with pytest.raises(ArtifactError, match=r"trained with the embedder `static`.*at hand is 0123456789ab"):
        load_router(saved, lambda kind, settings: Other())


def change(path: Path, **about: object) -> None:
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["about"] |= about
    (path / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("about", "why"),
    [
        ({"temperature": 0}, "`temperature`"),
        ({"categories": ["sport", "sport", "music"]}, "categories must differ"),
        ({"categories": ["sport", "general"]}, "categories must differ"),
        ({"columns": 9}, "9 columns for 3 categories"),
        ({"neighbours": 3}, "belongs to the classifier `knn`"),
        ({"surprise": 1}, "`surprise`"),
        ({"uncertainty_limit": 1.5}, "`uncertainty_limit`"),
        ({"features": {"ngrams": "words/0", "embedder": None}}, "n-grams of `words/0`"),
    ],
)
def test_a_wrong_manifest_is_refused_with_the_field(saved: Path, about: dict[str, object], why: str) -> None:
    change(saved, **about)
    with pytest.raises(ArtifactError, match=why):
        load_router(saved, static)


def test_weights_of_another_shape_are_refused(saved: Path) -> None:
    import hashlib

    content = tensor_bytes({"bias": np.zeros(2, np.float32)})
    (saved / "model.safetensors").write_bytes(content)
    manifest = json.loads((saved / "manifest.json").read_text())
    manifest["files"]["model.safetensors"] = hashlib.sha256(content).hexdigest()
    manifest["about"]["features"] = {"ngrams": None, "embedder": None}
    (saved / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match=r"`bias` has shape \(2,\), expected \(4,\)"):
        load_router(saved, static)


def test_facts_are_read_without_the_classifier(saved: Path) -> None:
    facts = read_facts(saved)
    assert facts.categories == ("cooking", "music", "sport")
    assert facts.classifier == "linear"


@pytest.mark.heavy
def test_a_classifier_of_neighbours_is_saved_and_loaded(tmp_path: Path, embedder: StaticEmbedder) -> None:
    pytest.importorskip("faiss")
    features = [*PROMPTS[:2]] * 12
    labels = ["cooking", "sport"] * 12
    fitted = fit_classifier(
        features,
        labels,
        embedder=embedder,
        groups=[str(row) for row in range(24)],
        options=FitOptions(method="knn"),
    )
    router = RouterArtifact(
        classifier=fitted.classifier,
        abstention=Abstention(uncertainty_limit=0.5),
        embedder=EmbedderRef(kind="static"),
        method="knn",
    )
    save_router(tmp_path / "knn", router)
    loaded, _ = load_router(tmp_path / "knn", static)
    np.testing.assert_array_equal(
        loaded.classifier.classify(PROMPTS).probabilities, fitted.classifier.classify(PROMPTS).probabilities
    )
    assert loaded.method == "knn"
