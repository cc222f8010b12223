import numpy as np
import pytest

from coe.contracts import Features, ToolFact
from coe.errors import ConfigError
from coe_routers.classifiers import Abstention
from coe_routers.features import StaticEmbedder
from coe_routers.training import FitOptions, Fitted, accuracy, auroc, fit_classifier

WORDS = {
    "cooking": [
        "recipe",
        "oven",
        "bake",
        "flour",
        "butter",
        "simmer",
        "sauce",
        "onion",
        "garlic",
        "pan",
        "roast",
        "soup",
        "dough",
        "spice",
    ],
    "sport": [
        "goal",
        "match",
        "player",
        "team",
        "score",
        "tennis",
        "race",
        "coach",
        "league",
        "win",
        "tournament",
        "ball",
        "referee",
    ],
    "music": [
        "guitar",
        "chord",
        "melody",
        "song",
        "piano",
        "rhythm",
        "concert",
        "violin",
        "drum",
        "tune",
        "album",
        "singer",
        "choir",
    ],
    "general": [
        "thing",
        "maybe",
        "today",
        "stuff",
        "please",
        "hello",
        "where",
        "tomorrow",
        "really",
        "nothing",
        "somebody",
        "around",
    ],
}


def world(
    count: int, seed: int, categories: tuple[str, ...] = tuple(WORDS)
) -> tuple[list[Features], list[str]]:
    random = np.random.default_rng(seed)
    anything = [word for words in WORDS.values() for word in words]
    labels = [category for category in categories for _ in range(count)]
    texts = (" ".join([*random.choice(WORDS[label], 5), *random.choice(anything, 2)]) for label in labels)
    return [Features(text=text) for text in texts], labels


def test_new_prompts_are_classified_and_general_ones_are_uncertain(fitted: Fitted) -> None:
    features, labels = world(50, seed=7)
    found = fitted.classifier.classify(features)
    inside = np.array([label != "general" for label in labels])
    targets = np.array([fitted.classifier.categories.index(label) for label in labels if label != "general"])
    assert fitted.classifier.categories == ("cooking", "music", "sport")
    assert accuracy(found.probabilities[inside], targets) > 0.95
    assert auroc(found.uncertainty[inside], found.uncertainty[~inside]) > 0.9


def test_held_out_predictions_cover_every_row_and_set_the_limit(fitted: Fitted) -> None:
    held_out = fitted.held_out
    inside = held_out.labels >= 0
    assert held_out.probabilities.shape == (160, 3)
    assert inside.sum() == 120
    # At least 95%; all of them where the classifier is so sure that no limit is worth setting.
    assert (~held_out.general[inside]).mean() >= 0.94
    assert held_out.general[~inside].mean() > 0.9


def test_uncertainty_alone_may_be_the_rule(embedder: StaticEmbedder) -> None:
    features, labels = world(12, seed=0)
    fitted = fit_classifier(features, labels, embedder=embedder, options=FitOptions(limits="uncertainty"))
    assert fitted.classifier.classify(features).distance is None
    assert fitted.abstention == Abstention(uncertainty_limit=fitted.abstention.uncertainty_limit)
    kept = fitted.held_out.uncertainty <= fitted.abstention.uncertainty_limit
    assert kept[fitted.held_out.labels >= 0].mean() >= 0.94  # the quantile of 36 rows


@pytest.mark.parametrize(
    ("ngrams", "dense", "method"),
    [(True, False, "linear"), (False, True, "linear"), (True, True, "centroid")],
)
def test_every_choice_of_features_and_method_learns(
    embedder: StaticEmbedder, ngrams: bool, dense: bool, method: str
) -> None:
    features, labels = world(30, seed=0)
    fitted = fit_classifier(
        features,
        labels,
        embedder=embedder if dense else None,
        ngrams=ngrams,
        options=FitOptions(method=method),
    )
    test, expected = world(30, seed=1, categories=("cooking", "sport"))
    found = fitted.classifier.classify(test)
    names = [fitted.classifier.categories[column] for column in found.probabilities.argmax(axis=1)]
    assert np.mean([name == label for name, label in zip(names, expected, strict=True)]) > 0.9


@pytest.mark.heavy
def test_neighbours_learn(embedder: StaticEmbedder) -> None:
    pytest.importorskip("faiss")
    features, labels = world(40, seed=0)
    fitted = fit_classifier(features, labels, embedder=embedder, options=FitOptions(method="knn"))
    inside = fitted.held_out.labels >= 0
    assert accuracy(fitted.held_out.probabilities[inside], fitted.held_out.labels[inside]) > 0.9


def test_the_same_seed_gives_the_same_classifier(embedder: StaticEmbedder) -> None:
    features, labels = world(12, seed=0)
    first, again = (fit_classifier(features, labels, embedder=embedder) for _ in range(2))
    for name, tensor in first.classifier.head.tensors().items():
        np.testing.assert_array_equal(tensor, again.classifier.head.tensors()[name])
    assert first.classifier.temperature == again.classifier.temperature
    assert first.abstention == again.abstention


def test_offered_tools_tell_apart_what_the_text_does_not() -> None:
    weather, search = (ToolFact("get_weather", "of a city"),), (ToolFact("search", "the web"),) * 2
    features = [Features(text="go on", tools=tools) for tools in (weather, search)] * 9
    fitted = fit_classifier(
        features, ["one", "two"] * 9, embedder=None, tools=True, groups=[str(row) for row in range(18)]
    )
    found = fitted.classifier.classify(features[:2]).probabilities
    assert found.argmax(axis=1).tolist() == [0, 1]


def test_how_prompts_are_typed_tells_apart_what_their_words_do_not() -> None:
    texts = [
        f"{word} it now" for word in ("get", "take", "find", "see", "keep", "send", "try", "use", "read")
    ]
    features = [Features(text=typed) for text in texts for typed in (text, text.capitalize())]
    groups = [str(row) for row in range(len(features))]
    right: list[float] = []
    for shape in (False, True):
        held = fit_classifier(
            features, ["one", "two"] * len(texts), embedder=None, shape=shape, groups=groups
        ).held_out
        right.append(accuracy(held.probabilities, held.labels))
    assert right[0] <= 0.5
    assert right[1] == 1.0


@pytest.mark.parametrize(
    ("labels", "changes", "why"),
    [
        (["a"] * 6, {}, "two categories besides `general`, found 1"),
        (["a"] * 3 + ["general"] * 3, {}, "found 1"),
        (["a"] * 4 + ["b"] * 2, {}, "`b` has 2 rows, fewer than the 3 folds"),
        (["a", "b"] * 3, {"ngrams": False}, "`linear` classifier needs an embedder or n-grams"),
        (["a", "b"] * 3, {"options": FitOptions(method="knn")}, r"`knn` classifier needs an embedder\."),
    ],
)
def test_what_cannot_be_fitted_is_explained(labels: list[str], changes: dict[str, object], why: str) -> None:
    features = [Features(text=f"text {row}") for row in range(len(labels))]
    with pytest.raises(ConfigError, match=why):
        fit_classifier(features, labels, **({"embedder": None} | changes))
