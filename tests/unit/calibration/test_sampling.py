"""What a calibrated model would show: expected ECE, debiased error; and scores of single questions."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, log_loss

from calgrid import calibration
from support.answers import (
    EDGES,
    SHARES,
    answered,
    close,
)

# ---- Scores of single questions


@given(answered())
def test_brier_and_nll_agree_with_scikit_learn(data):
    p, answers, n_options = data
    classes = np.arange(p.shape[1])
    brier, nll = calibration.brier(p, answers, n_options), calibration.nll(p, answers, n_options)
    oracle = brier_score_loss(answers, p, labels=classes, scale_by_half=False)
    assert brier.mean() == close(oracle)
    assert ((brier >= 0) & (brier <= 2 + 1e-12)).all()
    assert (nll >= 0).all()
    # scikit-learn clips what it thinks impossible at the machine's epsilon
    clipped = np.minimum(nll, -math.log(np.finfo(float).eps))
    assert clipped.mean() == close(log_loss(answers, p, labels=classes), 1e-10)


@given(st.lists(st.tuples(SHARES, st.booleans()), min_size=1, max_size=30))
def test_two_options_against_scikit_learn_of_one_of_them(rows):
    first, right = np.array([c for c, _ in rows]), np.array([r for _, r in rows])
    p, answers = np.column_stack([first, 1 - first]), np.where(right, 0, 1)
    assert calibration.brier(p, answers).mean() == close(2 * brier_score_loss(right, first, pos_label=True))
    assert (calibration.brier(p, answers) >= 0).all()


def test_an_impossible_answer_costs_infinitely_much_and_a_certain_one_nothing():
    assert calibration.nll([[1.0, 0.0], [0.0, 1.0]], [1, 1]).tolist() == [math.inf, 0.0]
    assert not np.signbit(calibration.nll([[1.0, 0.0]], [0])[0])
    assert calibration.brier([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]], [1, 1, 0]).tolist() == [2.0, 0.0, 0.5]


# ---- What a calibrated model would show


def poisson_binomial_deviation(p):
    """E|S - sum p_i| from the exact distribution of S, by convolution."""
    chance = np.ones(1)
    for share in p:
        chance = np.convolve(chance, [1 - share, share])
    return float(chance @ np.abs(np.arange(len(p) + 1) - math.fsum(p)))


def deviation(p):
    p = np.asarray(p)
    return float(calibration.mean_absolute_deviation(len(p), p.sum(), (p * p).sum()))


@given(st.integers(1, 300), st.floats(0, 1) | st.sampled_from([*EDGES, 1 - 1e-6, 1e-6]))
def test_deviation_of_equal_probabilities_is_exact(n, share):
    p = np.full(n, share)
    assert deviation(p) == pytest.approx(poisson_binomial_deviation(p), rel=1e-8, abs=1e-11)


@pytest.mark.parametrize(("n_bins", "bound"), [(30, 5e-4), (15, 2e-3), (10, 3e-3)])
def test_deviation_in_a_bin_is_within_the_bound_that_the_docstring_states(n_bins, bound):
    rng = np.random.default_rng(n_bins)
    for _ in range(60):
        for bin_ in {0, n_bins // 2, n_bins - 1, int(rng.integers(n_bins))}:
            n = int(rng.choice([1, 2, 3, 4, 8, 20, 60]))
            within = [rng.random(n), rng.random(n) < rng.random(), rng.beta(0.1, 0.1, n)][rng.integers(3)]
            p = (bin_ + within) / n_bins
            assert deviation(p) == pytest.approx(poisson_binomial_deviation(p), rel=bound, abs=1e-11)
    middle = np.array([0.5, 0.5 + 1 / n_bins])  # the worst that a search found
    assert deviation(middle) == pytest.approx(poisson_binomial_deviation(middle), rel=bound)
    lone = np.array([1.0] * 39 + [1 - 1 / n_bins])  # many certain, one less so: one draw
    assert deviation(lone) == pytest.approx(2 * (1 - 1 / n_bins) / n_bins, rel=1e-9)


def test_deviation_from_0_to_1_is_a_guess():
    """Outside of what bins hold, and what one bin of [0, 1] would be: two draws of 0.1 and 0.9."""
    assert poisson_binomial_deviation([0.1, 0.9]) == pytest.approx(0.18)
    assert deviation([0.1, 0.9]) == pytest.approx(0.247, abs=1e-3)
    assert deviation([0.0, 1.0]) == 0.0


def test_deviation_of_no_draw_and_of_certain_draws_is_0_and_many_are_held():
    found = calibration.mean_absolute_deviation([0, 1, 1, 3], [0, 0, 1, 3], [0, 0, 1, 3])
    assert found.tolist() == [0, 0, 0, 0]
    assert calibration.expected_ece([5e-324, 0.0]) == 0  # no smaller number
    assert calibration.expected_ece([1e-200] * 3) == pytest.approx(2e-200)
    n = 600_000
    half = calibration.mean_absolute_deviation(n, n / 2, n / 4)
    assert half == pytest.approx(math.sqrt(n / 4) * math.sqrt(2 / math.pi), rel=1e-5)


def calibrated_cases():
    rng = np.random.default_rng(7)
    return {
        "one question": np.array([0.7]),
        "certain": np.array([0.0, 1.0, 1.0]),
        "few in a bin": rng.uniform(0.25, 1, 40),
        "many in a bin": rng.uniform(0.25, 1, 2000),
        "near 1": 1 - rng.exponential(0.003, 300).clip(0, 1),
        "near 0": rng.exponential(0.003, 300).clip(0, 1),
        "both ends": rng.beta(0.1, 0.1, 200),
        "all tied": np.full(50, 0.25),
    }


@pytest.mark.parametrize("n_bins", [10, 30])
@pytest.mark.parametrize("case", calibrated_cases())
def test_expected_ece_agrees_with_drawing_the_labels(case, n_bins):
    confidence = calibrated_cases()[case]
    rng = np.random.default_rng(3)
    draws = 4000
    in_bin = np.eye(n_bins)[calibration.bin_index(confidence, n_bins)]
    hits = rng.random((draws, len(confidence))) < confidence
    errors = np.abs((hits - confidence) @ in_bin).sum(axis=1) / len(confidence)
    for i in range(3):
        assert errors[i] == close(calibration.ece(confidence, hits[i], n_bins))
    noise = 4 * errors.std() / math.sqrt(draws)
    assert calibration.expected_ece(confidence, n_bins) == close(errors.mean(), noise + 3e-3 * errors.mean() + 1e-15)


def draw_calibrated(confidence, n_bins, draws=1500):
    """Debiased and plain square errors over draws of labels: their means, with the standard errors of these."""
    rng = np.random.default_rng(11)
    hits = rng.random((draws, len(confidence))) < confidence
    debiased = np.array([calibration.debiased_squared_error(confidence, h, n_bins) for h in hits])
    plain = np.array([calibration.rms(confidence, h, n_bins, equal_mass=True) ** 2 for h in hits])
    return debiased.mean(), debiased.std() / math.sqrt(draws), plain.mean(), plain.std() / math.sqrt(draws)


def test_debiased_error_is_around_0_for_a_calibrated_model_and_the_plain_square_is_not():
    confidence = np.repeat(np.linspace(0.3, 0.95, 10), 12)  # ten values in ten bins
    debiased, debiased_noise, plain, plain_noise = draw_calibrated(confidence, 10)
    assert abs(debiased) < 4 * debiased_noise
    assert plain == close((confidence * (1 - confidence)).mean() / 12, 4 * plain_noise)
    assert plain > 20 * plain_noise


def test_debiased_error_is_below_0_by_the_spread_within_bins():
    confidence = np.linspace(0.0, 1.0, 20)  # two wide bins of ten
    spread = np.mean([part.var() / 9 for part in np.split(confidence, 2)])
    debiased, noise, _, _ = draw_calibrated(confidence, 2, 4000)
    assert debiased == close(-spread, 4 * noise)
    assert debiased < -2 * noise
