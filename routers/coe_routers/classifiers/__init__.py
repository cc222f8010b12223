"""Classifiers: prompt features to calibrated category probabilities."""

from coe_routers.classifiers._abstention import Abstention, mass_before
from coe_routers.classifiers._calibrated import classification, softmax
from coe_routers.classifiers._linear import LinearHead, quantise_rows
from coe_routers.classifiers._neighbours import NeighbourHead
from coe_routers.classifiers._scorer import scorer
from coe_routers.classifiers._trained import Head, TrainedClassifier, distances, evidence

__all__ = [
    "Abstention",
    "Head",
    "LinearHead",
    "NeighbourHead",
    "TrainedClassifier",
    "classification",
    "distances",
    "evidence",
    "mass_before",
    "quantise_rows",
    "scorer",
    "softmax",
]
