"""Clustering, the number of regions, demonstrations, routing."""

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from mop_pupil import examples

from coe.contracts import Embedder
from coe_mop._answers import cut_by_answers
from coe_mop._examples import Example
from coe_mop._kmeans import clusterings, halves
from coe_mop._regions import choose_regions, pick_demos, route, spread_out, telling_terms
from coe_mop._space import fit_space

POINTS = arrays.arrays(
    np.float32,
    st.tuples(st.integers(1, 40), st.integers(1, 4)),
    elements=st.floats(-4, 4, width=16),
)


@settings(max_examples=60, deadline=None)
@given(POINTS, st.integers(1, 12), st.integers(0, 5))
def test_no_cluster_is_ever_empty_and_labels_are_the_nearest(
    points: np.ndarray, most: int, seed: int
) -> None:
    found = list(clusterings(points, most, np.random.default_rng(seed)))
    assert [each.k for each in found] == list(range(1, len(found) + 1))
    for clusters in found:
        assert sorted(set(clusters.labels.tolist())) == list(range(clusters.k))
        distances = ((points[:, None] - clusters.centroids[None]) ** 2).sum(axis=2)
        chosen = distances[np.arange(len(points)), clusters.labels]
        assert np.all(chosen <= distances.min(axis=1) + 1e-3)


@settings(max_examples=60, deadline=None)
@given(POINTS, st.integers(0, 5))
def test_halves_are_halves(points: np.ndarray, seed: int) -> None:
    second = halves(points, np.random.default_rng(seed))
    if len(np.unique(points, axis=0)) > 1:
        assert int(second.sum()) == len(points) // 2


@settings(max_examples=60, deadline=None)
@given(POINTS, st.integers(0, 9), st.sampled_from(["diverse", "closest", "random"]), st.integers(0, 3))
def test_every_region_shows_as_many_different_examples(
    points: np.ndarray, count: int, how, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    clusters = choose_regions(points, rng, fixed=4).clusters
    shown = pick_demos(points, clusters.labels, clusters.centroids, count, rng, how)
    assert len(shown) == clusters.k
    assert {len(set(each)) for each in shown} == {len(each) for each in shown} == {min(count, len(points))}


def test_a_region_with_enough_examples_shows_only_its_own(rng: np.random.Generator) -> None:
    points = np.array([[0, 0], [0, 0.1], [0.1, 0], [9, 9], [9, 9.1], [9.1, 9]], np.float32)
    labels = np.array([0, 0, 0, 1, 1, 1])
    centroids = np.array([[0, 0], [9, 9]], np.float32)
    shown = pick_demos(points, labels, centroids, 2, rng, "closest")
    assert [set(each) <= own for each, own in zip(shown, [{0, 1, 2}, {3, 4, 5}], strict=True)] == [True, True]
    assert shown[0][-1] == 0, "the nearest one is beside the question"


def test_the_number_of_planted_clusters_is_found(rng: np.random.Generator) -> None:
    for planted in (2, 3, 7):
        centres = 20 * np.eye(8)[:planted]
        points = (np.repeat(centres, 40, axis=0) + rng.normal(size=(planted * 40, 8))).astype(np.float32)
        choice = choose_regions(points, np.random.default_rng(0))
        assert choice.clusters.k == planted
        assert min(score for _, _, score in choice.curve) == choice.curve[planted - 1][2]


def test_two_near_tasks_among_far_ones_are_told_apart(rng: np.random.Generator) -> None:
    centres = np.zeros((5, 8))
    centres[1, 1] = centres[2, 2] = centres[3, 3] = 20
    centres[4] = centres[3]
    centres[4, 4] = 0.5
    places = np.repeat(centres, 40, axis=0)
    points = (places + rng.normal(scale=[[1]] * 120 + [[0.02]] * 80, size=places.shape)).astype(np.float32)
    choice = choose_regions(points, np.random.default_rng(0))
    assert (choice.clusters.k, choice.split) == (5, 1), "the curve alone sees four"
    assert {len(set(choice.clusters.labels[at : at + 40].tolist())) for at in range(0, 200, 40)} == {1}
    assert choose_regions(points, np.random.default_rng(0), fixed=4).clusters.k == 4


def test_more_examples_carry_more_regions(rng: np.random.Generator) -> None:
    few, many = (rng.normal(size=(count, 2)).astype(np.float32) for count in (20, 400))
    seeded = np.random.default_rng
    assert choose_regions(few, seeded(0)).clusters.k < choose_regions(many, seeded(0)).clusters.k


def test_margins(rng: np.random.Generator) -> None:
    centroids = np.array([[0.0], [4.0]], np.float32)
    routed = route(np.array([[0.0], [1.0], [2.0], [5.0]], np.float32), centroids)
    assert routed.region.tolist() == [0, 0, 0, 1]
    assert routed.distance.tolist() == [0, 1, 2, 1]
    np.testing.assert_allclose(routed.margin, [1, 2 / 3, 0, 0.8], atol=1e-6)
    assert route(np.zeros((2, 1), np.float32), centroids[:1]).margin.tolist() == [1, 1]


def test_spread_out_fills_up_where_points_repeat(rng: np.random.Generator) -> None:
    points = np.zeros((5, 2), np.float32)
    assert len(set(spread_out(points, np.arange(5), 4, rng))) == 4


def test_terms_tell_regions_apart() -> None:
    texts = ["sum of two", "sum of ten", "a red cat", "a red dog"]
    terms = telling_terms(texts, np.array([0, 0, 1, 1]), 2)
    assert set(terms[0][:2]) == {"sum", "of"}
    assert "red" in terms[1]
    assert "red" not in terms[0]


def test_tasks_of_other_looks_are_told_apart(embedder: Embedder) -> None:
    known, new = examples(80), examples(60, seed=1)
    space = fit_space([each.input for each in known], embedder, np.random.default_rng(0))
    points = space.place([each.input for each in known], embedder)
    clusters = choose_regions(points, np.random.default_rng(0)).clusters
    majority = {
        region: max(
            ("sum", "capitals"),
            key=[e.task for e, label in zip(known, clusters.labels, strict=True) if label == region].count,
        )
        for region in range(clusters.k)
    }
    regions = route(space.place([each.input for each in new], embedder), clusters.centroids).region
    assert all(majority[region] == each.task for region, each in zip(regions.tolist(), new, strict=True))


def test_operations_of_which_only_numbers_are_shown_are_told_apart(
    embedder: Embedder, rng: np.random.Generator
) -> None:
    pairs = np.sort(rng.integers(1, 99, size=(60, 2))).tolist()
    texts = [f"{one} {two}" for one, two in pairs] + [f"{one + two} {two}" for one, two in pairs]
    points = fit_space(texts, embedder, np.random.default_rng(0)).place(texts, embedder)
    labels = choose_regions(points, np.random.default_rng(0)).clusters.labels
    sums, differences = Counter(labels[:60].tolist()), Counter(labels[60:].tolist())
    wrong = sum(min(sums[region], differences[region]) for region in range(labels.max() + 1))
    assert wrong <= 6, "without the order of numbers it is more than twenty"


def test_a_place_does_not_depend_on_its_company(embedder: Embedder) -> None:
    texts = [each.input for each in examples(40)] + ["", "ünïcode ☃", "x" * 50_000]
    space = fit_space(texts, embedder, np.random.default_rng(0))
    together = space.place(texts, embedder)
    alone = np.vstack([space.place([text], embedder) for text in texts])
    np.testing.assert_allclose(together, alone, atol=2e-6)
    assert np.isfinite(together).all()
    assert space.place([], embedder).shape == (0, together.shape[1])


def test_a_region_is_cut_where_answers_are_of_two_kinds_and_inputs_tell_which(
    rng: np.random.Generator,
) -> None:
    points = rng.normal(size=(80, 4)).astype(np.float32)
    points[40:, 0] += 2
    long = [Example(f"say {at}", (f"a rather long answer, number {at} of forty",)) for at in range(40)]
    short = [Example(f"say {at}", (f"{at}",)) for at in range(40)]
    centre = points.mean(axis=0, keepdims=True)
    assert len(cut_by_answers(points, centre, [*long, *short], rng)) == 2
    mixed = [each for pair in zip(long, short, strict=True) for each in pair]
    assert len(cut_by_answers(points, centre, mixed, rng)) == 1, "inputs do not tell which"
    closed = [
        Example(each.input, ("an entirely negative one" if at < 40 else "no",))
        for at, each in enumerate(mixed)
    ]
    assert len(cut_by_answers(points, centre, closed, rng)) == 1, "two answers are not two tasks"
