"""Routers beside the two-step one, behind the same contract. When to use which: docs/other-routers.md.

    model, facts = fit_knn(outcomes, embedder=embedder, seed=0)
    model.save(Path("knn/"), EmbedderRef(kind="static"), facts)

Fitting `ridge` and `cascade` needs scipy (extra: `train`); routing needs numpy only.
"""

from coe_routers.alternatives._cascade import Cascade, fit_cascade, load_cascade
from coe_routers.alternatives._cumulative import (
    Choices,
    CumulativeRouter,
    candidates,
    choices,
    load_cumulative,
    save_choices,
)
from coe_routers.alternatives._index import Search, neighbour_index
from coe_routers.alternatives._knn import Knn, fit_knn, load_knn
from coe_routers.alternatives._predicting import Model, PredictingRouter
from coe_routers.alternatives._prediction import Prediction
from coe_routers.alternatives._ridge import Ridge, fit_ridge, load_ridge
from coe_routers.alternatives._tree import Tree, fit_tree, load_tree

__all__ = [
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
