"""Answers to draw by hypothesis, and the plain definitions of binned errors that fast ones are held against."""

import math

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from calgrid import calibration

EDGES = [m / 30 for m in range(31)] + [m / 10 for m in range(11)]
BESIDE_EDGES = [float(np.nextafter(edge, side)) for edge in EDGES for side in (0.0, 1.0)]
SHARES = st.floats(0, 1, allow_nan=False) | st.sampled_from(EDGES) | st.sampled_from(BESIDE_EDGES)
FEW_VALUES = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])  # ties
N_BINS = st.sampled_from([1, 2, 3, 7, 10, 15, 30, 100])  # 100: more bins than questions


@st.composite
def judged(draw, most=60):
    n = draw(st.integers(1, most))
    elements = draw(st.sampled_from([SHARES, FEW_VALUES]))
    return draw(arrays(np.float64, n, elements=elements)), draw(arrays(np.bool_, n))


@st.composite
def answered(draw, most=40):
    """(probabilities, answers, n_options) of questions with 3 to 10 options, mixed or not, even and adversarial."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = draw(st.integers(1, most))
    n_options = rng.integers(3, 11, n) if draw(st.booleans()) else np.full(n, draw(st.integers(3, 10)))
    shape = (n, int(n_options.max()))
    values = {
        "spread": rng.normal(0, 2, shape),
        "ties": rng.integers(0, 2, shape).astype(float),
        "all tied": np.zeros(shape),
        "certain": rng.normal(0, 1000, shape),  # probabilities 0 and 1
    }[draw(st.sampled_from(["spread", "ties", "all tied", "certain"]))]
    if draw(st.booleans()):
        values[:, 1] = values.min() - 1000  # a class that is never predicted
    answers = (rng.random(n) * n_options).astype(int)
    return calibration.distribution(values, n_options), answers, n_options


def plain_gaps(confidence, correct, n_bins):
    """(weight, gap) of each bin that holds a question, by the definition: a loop over bins (a, b]."""
    for m in range(n_bins):
        low, high = m / n_bins, (m + 1) / n_bins
        inside = (confidence > low) & (confidence <= high) | ((confidence == 0) & (m == 0))
        if inside.any():
            yield inside.mean(), correct[inside].mean() - confidence[inside].mean()


def equal_mass_members(confidence, n_bins):
    """The questions of each equal-mass bin that holds one, as calib_tools.py has it: edges are values, bins [a, b)."""
    n, ordered = len(confidence), sorted(confidence)
    edges = [ordered[min(round(m * (n / n_bins)), n - 1)] for m in range(1, n_bins)]
    for low, high in zip([-math.inf, *edges], [*edges, math.inf], strict=True):
        inside = [i for i in range(n) if low <= confidence[i] < high]
        if inside:
            yield inside


def plain_equal_mass_gaps(confidence, correct, n_bins):
    for inside in equal_mass_members(confidence, n_bins):
        accuracy = sum(int(correct[i]) for i in inside) / len(inside)
        yield len(inside) / len(confidence), accuracy - math.fsum(confidence[i] for i in inside) / len(inside)


def plain_classwise(p, answers, n_options, n_bins, gaps):
    """Mean over option positions of the error of that position's probability, over the questions that have it."""
    errors = []
    for k in range(max(n_options)):
        rows = [i for i in range(len(p)) if n_options[i] > k]
        of_class = np.array([p[i, k] for i in rows]), np.array([answers[i] == k for i in rows])
        errors.append(sum(weight * abs(gap) for weight, gap in gaps(*of_class, n_bins)))
    return sum(errors) / len(errors)


def close(expected, tolerance=1e-12):
    return pytest.approx(expected, rel=0, abs=tolerance)
