from __future__ import annotations

from coe_routers import alternatives

NAMES = [
    "Cascade",
    "Choices",
    "CumulativeRouter",
    "Knn",
    "Model",
    "PredictingRouter",
    "Prediction",
    "Ridge",
    "Search",
    "Tree",
    "candidates",
    "choices",
    "fit_cascade",
    "fit_knn",
    "fit_ridge",
    "fit_tree",
    "load_cascade",
    "load_cumulative",
    "load_knn",
    "load_ridge",
    "load_tree",
    "neighbour_index",
    "save_choices",
]


def test_what_the_package_exports() -> None:
    assert alternatives.__all__ == NAMES
    assert all(hasattr(alternatives, name) for name in NAMES)
