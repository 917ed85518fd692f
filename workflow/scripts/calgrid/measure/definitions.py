"""The definition of each metric: a function of its name, of a group's questions; formulas are in `calibration`.

By what the record in `measure.metrics` says: a mean over questions has a value per question, (N,); the others are a
number, by bins where their number is given. `measure.grouped` computes the paper's metrics faster, for many groups at
once; tests hold it against these.
"""

from collections.abc import Callable, Mapping
from typing import Any

from calgrid import calibration
from calgrid.calibration import Booleans, Floats
from calgrid.measure.metrics import METRICS, Metric
from calgrid.measure.questions import Questions


def accuracy(q: Questions) -> Booleans:
    return q.correct


def entropy(q: Questions) -> Floats:
    return calibration.entropy(q.probabilities)


def confidence(q: Questions) -> Floats:
    return q.confidence


def overconfidence(q: Questions) -> float:
    return calibration.overconfidence(q.confidence, q.correct)


def nll(q: Questions) -> Floats:
    return calibration.nll(q.probabilities, q.answers, q.n_options)


def brier(q: Questions) -> Floats:
    return calibration.brier(q.probabilities, q.answers, q.n_options)


def ece(q: Questions, n_bins: int) -> float:
    return calibration.ece(q.confidence, q.correct, n_bins)


def expected_ece(q: Questions, n_bins: int) -> float:
    return calibration.expected_ece(q.confidence, n_bins)


def mce(q: Questions, n_bins: int) -> float:
    return calibration.mce(q.confidence, q.correct, n_bins)


def sce(q: Questions, n_bins: int) -> float:
    return calibration.sce(q.probabilities, q.answers, q.n_options, n_bins)


def ace(q: Questions, n_bins: int) -> float:
    return calibration.ace(q.probabilities, q.answers, q.n_options, n_bins)


def rms(q: Questions, n_bins: int) -> float:
    return calibration.rms(q.confidence, q.correct, n_bins)


def mad(q: Questions, n_bins: int) -> float:
    return calibration.mad(q.confidence, q.correct, n_bins)


def rms_gce(q: Questions) -> float:
    return calibration.rms_gce(q.confidence, q.correct)


def smooth_ece(q: Questions) -> float:
    return calibration.smooth_ece(q.confidence, q.correct)


def debiased_squared_error(q: Questions, n_bins: int) -> float:
    return calibration.debiased_squared_error(q.confidence, q.correct, n_bins)


def tie_share(q: Questions) -> Booleans:
    return calibration.tied(q.probabilities)


DEFINITIONS: Mapping[str, Callable[..., Any]] = {name: globals()[name] for name in METRICS}


def per_question(metric: Metric, questions: Questions) -> Floats:
    """(N,), the values whose mean a metric is."""
    values: Floats = DEFINITIONS[metric.name](questions)
    return values


def value(metric: Metric, questions: Questions, n_bins: int) -> float:
    """A metric of a group of questions."""
    if metric.of == "mean":
        return float(per_question(metric, questions).mean())
    return float(DEFINITIONS[metric.name](questions, *([n_bins] if metric.of == "bins" else [])))
