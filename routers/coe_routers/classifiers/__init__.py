"""Classifiers: prompt features to calibrated category probabilities."""

from coe_routers.classifiers._calibrated import classification, normalised_entropy, softmax
from coe_routers.classifiers._linear import LinearClassifier, LinearHead, evidence, quantise_rows

__all__ = [
    "LinearClassifier",
    "LinearHead",
    "classification",
    "evidence",
    "normalised_entropy",
    "quantise_rows",
    "softmax",
]
