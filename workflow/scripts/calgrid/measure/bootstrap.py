"""The cluster bootstrap of calibration metrics: whole questions are drawn, with their translations in all languages.

One resample is a weight for each question, how often it was drawn. Each metric is a function of sums over questions (of
hits, of confidences in a bin, ...), so that all resamples of all sums are one matrix product:

    weights (R, Q)  @  contributions (Q, C)  =  resampled sums (R, C)

and those of pooled languages are the sum of the languages' products. The same weights serve every cell, so that the
difference of two cells is paired. Davison & Hinkley (1997), chapter 2; Miller (2024, https://arxiv.org/abs/2411.00640)
for questions as clusters of an evaluation.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from calgrid import calibration
from calgrid.calibration import Floats, Integers
from calgrid.measure.definitions import per_question
from calgrid.measure.metrics import MEANS, METRICS
from calgrid.measure.questions import Questions

ACCURACY, CONFIDENCE = MEANS.index("accuracy"), MEANS.index("confidence")  # places among them
BOOTSTRAPPED = (*MEANS, "overconfidence", "ece", "rms", "sce", "rms_gce")  # metrics
Weights = NDArray[np.float32]


def resample(n_clusters: int, n_resamples: int, seed: int = 0) -> Weights:
    """(R, Q), how often each of Q clusters is drawn in each of R resamples of Q draws with replacement."""
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, n_clusters, (n_resamples, n_clusters))
    return np.stack([np.bincount(row, minlength=n_clusters) for row in drawn]).astype(np.float32)


@dataclass(frozen=True)
class Part:
    """The questions of one language: what a confidence method makes of them, and which cluster each is in."""

    questions: Questions
    cluster: Integers  # (N,), each once

    @cached_property
    def per_question(self) -> Floats:
        """(N, MEANS), what the metrics that are means average over the questions."""
        values = [per_question(METRICS[name], self.questions) for name in MEANS]
        return np.stack(values, axis=1, dtype=np.float64)


@dataclass(frozen=True)
class Values:
    """The metrics BOOTSTRAPPED of a set of questions; NaN in a resample that draws none of them."""

    observed: Floats  # (metrics,)
    resampled: Floats  # (R, metrics)


def bootstrap(parts: Sequence[Part], weights: Weights, n_bins: int) -> tuple[list[Values], Values]:
    """The metrics of each part, and of all parts pooled.

    Args:
        parts: of one cell, a language each.
        weights: (R, Q), of `resample`.
        n_bins: equal-width bins. Those of `rms_gce` are the equal-mass bins of the questions as observed.
    """
    n_classes = max(part.questions.probabilities.shape[1] for part in parts)
    layout = _Layout(n_bins, n_classes)
    found = []
    observed, resampled = np.zeros((1, layout.width)), np.zeros((len(weights), layout.width))
    for part in parts:
        contributions = layout.contributions(part, weights.shape[1])
        one = contributions.sum(axis=0)[None]
        with np.errstate(invalid="ignore"):  # an infinite nll that is not drawn: 0 * inf = NaN
            many = (weights @ contributions.astype(np.float32)).astype(np.float64)
        found.append(_values(layout, one, many, [part], weights))
        observed += one
        resampled += many
    return found, _values(layout, observed, resampled, parts, weights)


def mean(values: Sequence[Values]) -> Values:
    """The mean over languages, or over seeds, of each metric."""
    return Values(
        np.mean([value.observed for value in values], axis=0), np.mean([value.resampled for value in values], axis=0)
    )


@dataclass(frozen=True)
class _Layout:
    """The columns of sums: how many questions, MEANS, gap and count of each bin, count and gaps of each class."""

    n_bins: int
    n_classes: int

    @property
    def width(self) -> int:
        return 1 + len(MEANS) + 2 * self.n_bins + self.n_classes * (1 + self.n_bins)

    def contributions(self, part: Part, n_clusters: int) -> Floats:
        """(Q, C), what each question adds to the sums; a question that the part lacks adds 0."""
        p, answers = part.questions.probabilities, part.questions.answers
        rows, m = part.cluster, self.n_bins
        found = np.zeros((n_clusters, self.width))
        values = part.per_question
        found[rows, 0] = 1
        found[rows, 1 : 1 + len(MEANS)] = values
        confidence = values[:, CONFIDENCE]
        index = calibration.bin_index(confidence, m)
        start = 1 + len(MEANS)
        found[rows, start + index] = values[:, ACCURACY] - confidence
        found[rows, start + m + index] = 1
        start += 2 * m
        for k in range(int(part.questions.n_options.max())):
            has = part.questions.n_options > k
            of_class = np.minimum(p[has, k], 1.0)
            found[rows[has], start + k] = 1
            column = start + self.n_classes + k * m + calibration.bin_index(of_class, m)
            found[rows[has], column] = (answers[has] == k) - of_class
        return found

    def metrics(self, sums: Floats) -> Floats:
        """(R, BOOTSTRAPPED but for the last one) of (R, C) sums."""
        m, k = self.n_bins, self.n_classes
        n = sums[:, :1]
        means = sums[:, 1 : 1 + len(MEANS)] / n
        gap, count, n_class, class_gap = np.split(sums[:, 1 + len(MEANS) :], np.cumsum([m, m, k]), axis=1)
        square = np.divide(gap**2, count, out=np.zeros_like(gap), where=count > 0)
        errors = np.abs(class_gap).reshape(-1, k, m).sum(axis=2)
        of_class = np.divide(errors, n_class, out=np.zeros_like(errors), where=n_class > 0)
        overconfidence = means[:, CONFIDENCE] - means[:, ACCURACY]
        columns = (
            overconfidence,
            np.abs(gap).sum(axis=1) / n[:, 0],
            np.sqrt(square.sum(axis=1) / n[:, 0]),
            of_class.sum(axis=1) / (n_class > 0).sum(axis=1),
        )
        return np.concatenate([means, np.stack(columns, axis=1)], axis=1)


def _values(layout: _Layout, observed: Floats, resampled: Floats, parts: Sequence[Part], weights: Weights) -> Values:
    gce = _rms_gce(parts, weights)
    with np.errstate(invalid="ignore"):
        one, many = layout.metrics(observed), layout.metrics(resampled)
    return Values(np.append(one[0], gce[0]), np.concatenate([many, gce[1:, None]], axis=1))


def _rms_gce(parts: Sequence[Part], weights: Weights) -> Floats:
    """(1 + R,), `calibration.rms_gce` as observed and of each resample, in the equal-mass bins of the observed."""
    values = np.concatenate([part.per_question for part in parts])
    confidence, hits = values[:, CONFIDENCE], values[:, ACCURACY]
    cluster = np.concatenate([part.cluster for part in parts])
    order = np.argsort(confidence, kind="stable")
    n_bins = max(len(order) // calibration.PER_BIN, 1)
    starts = calibration.equal_mass_starts(confidence[order], n_bins)
    index = np.empty(len(order), dtype=np.int64)
    index[order] = np.searchsorted(starts, np.arange(len(order)), side="right") - 1
    gaps = sparse.csr_array((hits - confidence, (index, cluster)), shape=(n_bins, weights.shape[1]))
    n_questions = weights @ np.bincount(cluster, minlength=weights.shape[1]).astype(np.float32)
    observed = np.linalg.norm(gaps.sum(axis=1)) / len(order)
    with np.errstate(invalid="ignore"):
        resampled = np.linalg.norm(gaps @ weights.T, axis=0) / n_questions
    return np.sqrt(np.append(observed, resampled))
