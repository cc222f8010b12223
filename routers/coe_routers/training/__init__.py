"""Fitting category classifiers (extra: `train`).

    fitted = fit_classifier(features, labels, embedder=StaticEmbedder.load(), seed=0)
    fitted.classifier               a calibrated TrainedClassifier, ready for `save_router`
    fitted.abstention               calibrated rule of when a prompt is `general`
    fitted.held_out.probabilities   float32[n, c]: what the classifier says of each training prompt when that
                                    prompt was not trained on (out of fold); build score tables from these
    save_router(path, RouterArtifact(classifier=fitted.classifier, abstention=fitted.abstention,
                                     embedder=EmbedderRef(kind="static"), expert_map=..., facts=...))

Rows labelled `general` teach what belongs to no category. They get a column of the head but none of the
probabilities: its share is spread over the categories, which makes such prompts uncertain.

Everything is deterministic for one seed and one version of the libraries.
"""

from coe_routers.training._calibration import calibrate, conformal_mass, fit_temperature, uncertainty_limit
from coe_routers.training._fit import FitOptions, Fitted, HeldOut, fit_classifier
from coe_routers.training._folds import stratified_folds
from coe_routers.training._metrics import accuracy, auroc, expected_calibration_error, macro_f1

__all__ = [
    "FitOptions",
    "Fitted",
    "HeldOut",
    "accuracy",
    "auroc",
    "calibrate",
    "conformal_mass",
    "expected_calibration_error",
    "fit_classifier",
    "fit_temperature",
    "macro_f1",
    "stratified_folds",
    "uncertainty_limit",
]
