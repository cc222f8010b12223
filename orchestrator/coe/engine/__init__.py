"""Where decisions are acted on: route, ask the chosen expert, fall back, note what happened."""

from coe.engine._engine import Engine, Observer, RouterBinding
from coe.engine._features import extract_features
from coe.engine._open import open_engine
from coe.engine._records import Attempt, Routed, Served

__all__ = [
    "Attempt",
    "Engine",
    "Observer",
    "Routed",
    "RouterBinding",
    "Served",
    "extract_features",
    "open_engine",
]
