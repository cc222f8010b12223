import numpy as np
import pytest

from coe.contracts import Features
from coe_routers.training import FitOptions, accuracy, fit_classifier, fit_temperature
from coe_routers.training._correction import fit_correction


def confused(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits that take half of category 2 for category 1, and say so by the third logit only."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n)
    logits = rng.normal(0, 0.3, (n, 3)).astype(np.float32)
    logits[np.arange(n), labels] += 2
    mistaken = (labels == 2) & (rng.random(n) < 0.5)
    logits[mistaken, 1] += 2.5
    return logits, labels


def likelihood(logits: np.ndarray, labels: np.ndarray) -> float:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return float((shifted[np.arange(len(labels)), labels] - np.log(np.exp(shifted).sum(axis=1))).mean())


def test_a_confusion_is_learnt_and_mended_on_other_rows() -> None:
    logits, labels = confused(900, seed=0)
    temperature = fit_temperature(logits, labels)
    correction = fit_correction(logits, labels, temperature)
    other, truth = confused(900, seed=1)
    assert accuracy(other, truth) < 0.9
    assert accuracy(correction(other), truth) > 0.97
    assert likelihood(correction(other) / temperature, truth) > likelihood(other / temperature, truth) + 0.1


def test_with_little_evidence_the_temperature_stays() -> None:
    logits, labels = confused(4, seed=2)
    correction = fit_correction(logits, labels, temperature=1.0)
    assert np.abs(correction.matrix - np.eye(3)).max() < 0.6


def test_a_folded_layer_gives_corrected_logits() -> None:
    rng = np.random.default_rng(3)
    weights, bias = rng.normal(size=(5, 3)).astype(np.float32), rng.normal(size=3).astype(np.float32)
    logits, labels = confused(300, seed=4)
    correction = fit_correction(logits, labels, temperature=0.5)
    rows = rng.normal(size=(7, 5)).astype(np.float32)
    folded, moved = correction.folded(weights, bias)
    np.testing.assert_allclose(rows @ folded + moved, correction(rows @ weights + bias), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("general", [False, True])
def test_the_classifier_says_what_its_held_out_predictions_say(general: bool) -> None:
    """Rows of `rare` share most words with `common`; a corrected classifier is surer of both and no worse."""
    rng = np.random.default_rng(5)
    words = {
        "common": "report table figure page chapter index",
        "rare": "report table figure page chapter annex",
        "other": "guitar chord melody song piano rhythm",
    }
    if general:
        words["general"] = "hello thing today stuff please maybe"
    labels = [name for name, count in zip(words, (120, 40, 60, 40), strict=False) for _ in range(count)]
    texts = [" ".join(rng.choice(words[label].split(), 4)) for label in labels]
    features = [Features(text=f"{text} {number % 7}") for number, text in enumerate(texts)]
    plain, corrected = (
        fit_classifier(features, labels, embedder=None, groups=texts, options=FitOptions(correct=correct))
        for correct in (False, True)
    )
    inside = plain.held_out.labels >= 0
    scores = [
        likelihood(np.log(each.held_out.probabilities[inside]), each.held_out.labels[inside])
        for each in (plain, corrected)
    ]
    assert scores[1] > scores[0]
    said = corrected.classifier.classify(features)
    np.testing.assert_allclose(said.probabilities.sum(axis=1), 1.0, rtol=1e-5)
    assert accuracy(said.probabilities[inside], corrected.held_out.labels[inside]) >= accuracy(
        corrected.held_out.probabilities[inside], corrected.held_out.labels[inside]
    )
