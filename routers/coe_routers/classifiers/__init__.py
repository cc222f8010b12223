"""Classifiers: prompt features to calibrated category probabilities."""

from coe_routers.classifiers._calibrated import classification, softmax
from coe_routers.classifiers._linear import LinearHead, quantise_rows
from coe_routers.classifiers._neighbours import NeighbourHead
from coe_routers.classifiers._trained import Head, TrainedClassifier, evidence

__all__ = [
    "Head",
    "LinearHead",
    "NeighbourHead",
    "TrainedClassifier",
    "classification",
    "evidence",
    "quantise_rows",
    "softmax",
]
