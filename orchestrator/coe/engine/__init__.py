"""Where decisions are acted on: route, ask the chosen expert, fall back, note what happened."""

from coe.engine._candidates import candidates, requested, unknown_model
from coe.engine._describe import coe_object, confidence, explanation, model_infos, routed_from
from coe.engine._engine import Engine, Observer, RouterBinding
from coe.engine._features import extract_features
from coe.engine._guard import Guard
from coe.engine._open import open_engine
from coe.engine._records import DEFAULT_TENANT, Attempt, CacheOutcome, Routed, Served, Switch, Trail
from coe.engine._scores import parse_rerank, parse_score
from coe.engine._work import Work, parse_embedding, parse_prompt

__all__ = [
    "DEFAULT_TENANT",
    "Attempt",
    "CacheOutcome",
    "Engine",
    "Guard",
    "Observer",
    "Routed",
    "RouterBinding",
    "Served",
    "Switch",
    "Trail",
    "Work",
    "candidates",
    "coe_object",
    "confidence",
    "explanation",
    "extract_features",
    "model_infos",
    "open_engine",
    "parse_embedding",
    "parse_prompt",
    "parse_rerank",
    "parse_score",
    "requested",
    "routed_from",
    "unknown_model",
]
