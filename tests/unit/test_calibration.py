"""The metrics against hand-computed values, their plain definitions and independent libraries.

The libraries: uncertainty-calibration, scikit-learn, relplot. Where they differ from our definitions, a test says how.
"""

import importlib
import importlib.util
import math
import sys
import types
from unittest import mock

import calibration as uncertainty_calibration
import numpy as np
import pytest
from calibration import utils as uncertainty_utils
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import brentq
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, log_loss

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


# ---- Binned errors: plain definitions


@given(judged(), N_BINS)
def test_equal_width_errors_follow_their_definitions(data, n_bins):
    confidence, correct = data
    gaps = list(plain_gaps(confidence, correct, n_bins))
    assert calibration.ece(confidence, correct, n_bins) == close(sum(w * abs(g) for w, g in gaps))
    assert calibration.rms(confidence, correct, n_bins) == close(math.sqrt(sum(w * g**2 for w, g in gaps)))
    assert calibration.mce(confidence, correct, n_bins) == close(max(abs(g) for _, g in gaps))


@given(judged(), N_BINS)
def test_equal_mass_errors_follow_their_definitions(data, n_bins):
    confidence, correct = data
    gaps = list(plain_equal_mass_gaps(confidence, correct, n_bins))
    assert calibration.mad(confidence, correct, n_bins) == close(sum(w * abs(g) for w, g in gaps))
    assert calibration.ece(confidence, correct, n_bins, equal_mass=True) == calibration.mad(confidence, correct, n_bins)
    root = math.sqrt(sum(w * g**2 for w, g in gaps))
    assert calibration.rms(confidence, correct, n_bins, equal_mass=True) == close(root)
    assert calibration.mce(confidence, correct, n_bins, equal_mass=True) == close(max(abs(g) for _, g in gaps))


@given(judged(), st.sampled_from([1, 2, 7, 100]))
def test_rms_gce_follows_calib_tools(data, per_bin):
    """`rmsce` of calib_tools.py: int(N / per_bin) bins, of which it makes one where that is 0; weights squared too.

    Its outer root turns a rounding of 1e-17 into 3e-9 where the error is 0: the squares are compared.
    """
    confidence, correct = data
    gaps = plain_equal_mass_gaps(confidence, correct, max(int(len(confidence) / per_bin), 1))
    expected = math.sqrt(sum((w * g) ** 2 for w, g in gaps))
    assert calibration.rms_gce(confidence, correct, per_bin) ** 2 == close(expected)


def test_rms_gce_by_hand():
    confidence, correct = [0.5, 0.6, 0.8, 1.0], [True, False, True, True]
    assert calibration.rms_gce(confidence, correct, 2) == pytest.approx((0.025**2 + 0.05**2) ** 0.25)
    assert calibration.rms_gce(confidence, correct) == pytest.approx(math.sqrt(0.025))  # fewer than 100: one bin


@given(answered(), N_BINS)
def test_class_wise_errors_follow_their_definitions(data, n_bins):
    p, answers, n_options = data
    assert calibration.sce(p, answers, n_options, n_bins) == close(
        plain_classwise(p, answers, n_options, n_bins, plain_gaps)
    )
    assert calibration.ace(p, answers, n_options, n_bins) == close(
        plain_classwise(p, answers, n_options, n_bins, plain_equal_mass_gaps)
    )


def test_static_error_of_two_options_by_hand():
    p = [[0.8, 0.2], [0.6, 0.4], [0.3, 0.7]]
    # Bins (0, 0.5] and (0.5, 1]. Class 0: 0.3 is no answer; 0.8 and 0.6, one of them right. Class 1 mirrors it.
    expected = (0.3 + 2 * abs(0.5 - 0.7)) / 3
    assert calibration.sce(p, [0, 1, 1], n_bins=2) == close(expected)
    # A third position that one question alone has counts as a class of its own, over that question.
    mixed = [[0.8, 0.2, 0.0], [0.6, 0.4, 0.0], [0.3, 0.6, 0.1]]
    first, second, third = (0.3 + 0.4) / 3, (abs(0.5 - 0.3) * 2 + abs(1 - 0.6)) / 3, 0.1
    assert calibration.sce(mixed, [0, 1, 1], [2, 2, 3], 2) == close((first + second + third) / 3)


# ---- Binned errors: uncertainty-calibration


def uncertainty_error(confidence, correct, n_bins, power=1, scheme=uncertainty_utils.get_equal_prob_bins):
    return uncertainty_calibration.lower_bound_scaling_ce(
        confidence, correct.astype(int), p=power, debias=False, num_bins=n_bins, binning_scheme=scheme
    )


@given(judged(), N_BINS)
def test_ece_and_rms_agree_with_uncertainty_calibration(data, n_bins):
    confidence, correct = data
    assert calibration.ece(confidence, correct, n_bins) == close(uncertainty_error(confidence, correct, n_bins))
    assert calibration.rms(confidence, correct, n_bins) == close(uncertainty_error(confidence, correct, n_bins, 2))


@given(answered(), N_BINS)
def test_errors_of_a_distribution_agree_with_uncertainty_calibration(data, n_bins):
    """Its ECE and SCE know no missing options: padding enters as a class of probability 0, of no error.

    So its mean over K classes weighs class k by N_k / N, which is 1 where all questions have the same options.
    """
    p, answers, n_options = data
    ours = calibration.ece(calibration.confidence(p), calibration.correct(p, answers, n_options), n_bins)
    assert ours == close(uncertainty_calibration.get_ece(p, answers, num_bins=n_bins))
    classes = [(p[n_options > k, k], answers[n_options > k] == k) for k in range(n_options.max())]
    errors = [uncertainty_error(*of_class, n_bins) for of_class in classes]
    assert calibration.sce(p, answers, n_options, n_bins) == close(np.mean(errors))
    if (n_options == n_options[0]).all():
        marginal = uncertainty_calibration.get_ece(p, answers, num_bins=n_bins, mode="marginal")
        assert calibration.sce(p, answers, n_options, n_bins) == close(marginal)


@given(st.integers(0, 2**32 - 1), st.integers(1, 8), st.sampled_from([1, 2, 5, 15]))
def test_equal_mass_errors_agree_with_uncertainty_calibration_without_ties_if_bins_divide_questions(seed, each, n_bins):
    rng = np.random.default_rng(seed)
    confidence, correct = rng.random(each * n_bins), rng.random(each * n_bins) < 0.5
    oracle = uncertainty_error(confidence, correct, n_bins, scheme=uncertainty_utils.get_equal_bins)
    assert calibration.mad(confidence, correct, n_bins) == close(oracle)
    binned = uncertainty_utils.bin(
        list(zip(confidence, correct, strict=True)), uncertainty_utils.get_equal_bins(confidence, n_bins)
    )
    oracle = uncertainty_utils.unbiased_square_ce(binned)
    assert calibration.debiased_squared_error(confidence, correct, n_bins) == close(oracle)


def sizes_of_both(confidence, n_bins):
    ours = calibration.bins(confidence, np.zeros(len(confidence)), n_bins, equal_mass=True).count
    edges = uncertainty_utils.get_equal_bins(confidence, n_bins)
    return ours.tolist(), [len(b) for b in uncertainty_utils.bin([(c, 0) for c in confidence], edges)]


def test_where_equal_mass_bins_differ_from_uncertainty_calibration():
    ten = [0.05 + 0.1 * i for i in range(10)]
    # 10 questions in 4 bins: it puts the larger bins first, we (and calib_tools.py) round m N / M.
    assert sizes_of_both(ten, 4) == ([2, 3, 3, 2], [3, 3, 2, 2])
    # A cut within ties: it takes them into the lower bin, we (and calib_tools.py) into the upper one.
    assert sizes_of_both([0.1, 0.5, 0.5, 0.9], 2) == ([1, 3], [3, 1])
    # More bins than questions: it makes fewer of them, ours stay empty.
    assert sizes_of_both([0.1, 0.9], 3) == ([1, 0, 1], [1, 1])


@given(judged(), N_BINS)
def test_debiased_error_agrees_with_uncertainty_calibration_in_the_same_bins(data, n_bins):
    confidence, correct = data
    members = equal_mass_members(confidence, n_bins)
    binned = [[(confidence[i], float(correct[i])) for i in inside] for inside in members]
    oracle = uncertainty_utils.unbiased_square_ce(binned)
    ours = calibration.debiased_squared_error(confidence, correct, n_bins)
    assert ours == close(oracle)
    assert -0.25 - 1e-12 <= ours <= 1
    assert calibration.debiased_squared_error([0.5] * 2, [True, False]) == -0.25


# ---- Binned errors: calib_tools' even bins and scikit-learn


def half_open_ece(confidence, correct, n_bins):
    """`ece` of calib_tools.py: numpy.digitize by upper edges, so bins [a, b) and one more for 1.0 alone."""
    index = np.digitize(confidence, np.histogram_bin_edges([], bins=n_bins, range=(0, 1))[1:])
    parts = [index == m for m in range(n_bins + 1)]
    return sum(part.mean() * abs(correct[part].mean() - confidence[part].mean()) for part in parts if part.any())


@given(st.integers(0, 2**32 - 1), st.integers(1, 60), N_BINS)
def test_even_bins_agree_with_calib_tools_off_the_edges(seed, n, n_bins):
    rng = np.random.default_rng(seed)
    confidence, correct = (rng.integers(0, n_bins, n) + rng.uniform(0.01, 0.99, n)) / n_bins, rng.random(n) < 0.5
    assert calibration.ece(confidence, correct, n_bins) == close(half_open_ece(confidence, correct, n_bins))


def test_where_even_bins_differ_from_calib_tools():
    at_one = np.array([0.9, 1.0]), np.array([True, False])
    assert calibration.ece(*at_one, 2) == close(abs(0.5 - 0.95))  # both in (0.5, 1]
    assert half_open_ece(*at_one, 2) == close((0.1 + 1.0) / 2)  # 1.0 alone in a bin of its own, the third
    on_edge = np.array([0.4, 0.5]), np.array([True, False])
    assert calibration.ece(*on_edge, 2) == close(abs(0.5 - 0.45))  # both in [0, 0.5]
    assert half_open_ece(*on_edge, 2) == close((0.6 + 0.5) / 2)  # [0, 0.5) and [0.5, 1)


@given(st.integers(0, 2**32 - 1), st.integers(1, 60), N_BINS)
def test_bins_agree_with_scikit_learn(seed, n, n_bins):
    """Its edges are linspace's, which may lie an ulp beside m/M: values on edges are left out."""
    rng = np.random.default_rng(seed)
    confidence, correct = (rng.integers(0, n_bins, n) + rng.uniform(0.01, 0.99, n)) / n_bins, rng.random(n) < 0.5
    bins = calibration.bins(confidence, correct, n_bins)
    accuracy, mean = calibration_curve(correct, confidence, n_bins=n_bins)
    assert bins.accuracy[bins.count > 0] == close(accuracy)
    assert bins.confidence[bins.count > 0] == close(mean)


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


# ---- Smooth calibration error


def plain_smooth_error(confidence, hits, width, points=4000):
    """smECE_s by its definition: midpoint quadrature of the Gaussian kernel and its reflections at 0 and 1."""
    t = (np.arange(points)[:, None] + 0.5) / points
    smoothed = np.zeros(points)
    for turn in range(-3, 4):
        for image in (confidence + 2 * turn, 2 * turn - confidence):
            smoothed += np.exp(-(((t - image) / width) ** 2) / 2) @ (hits - confidence)
    return np.abs(smoothed).mean() / (width * math.sqrt(2 * math.pi) * len(confidence))


def plain_smooth_ece(confidence, hits):
    return brentq(lambda width: plain_smooth_error(confidence, hits, width) - width, 2e-3, 0.99, xtol=1e-9)


def smooth_cases():
    rng = np.random.default_rng(5)
    uniform, skewed, tied = rng.random(60), rng.beta(5, 2, 150), rng.choice([0.25, 0.5, 0.6, 0.9], 150)
    with_ends = rng.choice([0.0, 0.3, 0.5, 1.0], 100)
    return {
        "calibrated": (uniform, rng.random(60) < uniform),
        "overconfident": (skewed, rng.random(150) < skewed**3),
        "ties": (tied, rng.random(150) < tied**2),
        "ends": (with_ends, rng.random(100) < 0.2 + 0.6 * with_ends),
        "one question": (np.array([0.3]), np.array([False])),
        "two of them": (np.array([0.2, 0.9]), np.array([True, False])),
    }


@pytest.mark.parametrize("case", smooth_cases())
def test_smooth_error_follows_its_definition(case):
    confidence, hits = smooth_cases()[case]
    assert calibration.smooth_ece(confidence, hits) == close(plain_smooth_ece(confidence, hits), 2**-14)


def test_smooth_error_at_a_given_width_follows_its_definition():
    """Values at the midpoints of cells, so that nothing is moved: smECE_s itself, not where it meets s."""
    rng = np.random.default_rng(6)
    cells = rng.integers(0, calibration.MESH, 50)
    confidence, hits = (cells + 0.5) / calibration.MESH, rng.random(50) < 0.5
    assert (calibration.mesh_index(confidence) == cells).all()
    exact = calibration.smooth_ece(confidence, hits)
    below, above = (plain_smooth_error(confidence, hits, exact + side * 2**-15) for side in (-1, 1))
    assert below >= exact - 2**-15 - 1e-9
    assert above <= exact + 2**-15 + 1e-9


def test_smooth_error_of_sets_of_questions_is_that_of_each_alone():
    cases = list(smooth_cases().values())
    residuals = [np.bincount(calibration.mesh_index(c), h - c, calibration.MESH) / len(c) for c, h in cases]
    together = calibration.smooth_errors(np.array(residuals))
    assert together == close([calibration.smooth_ece(*case) for case in cases], 2**-14)


def test_smooth_error_of_the_extremes_and_of_one_cell():
    assert calibration.smooth_ece([1.0, 0.0], [True, False]) == close(0, 2**-15)
    assert calibration.smooth_ece([1.0, 1.0], [False, False]) == close(1, 2**-15)
    # All right at one value, all wrong at the next: within a cell of the mesh they are one calibrated value.
    cell = (calibration.MESH / 2 + np.array([0.1, 0.9])) / calibration.MESH
    assert calibration.smooth_ece(np.repeat(cell, 50), np.repeat([True, False], 50)) < 1e-3
    assert plain_smooth_ece(np.repeat(cell, 50), np.repeat([True, False], 50)) > 5e-3


def relplot_metrics():
    """relplot.metrics without the package's own start, which loads plotting libraries and needs seconds."""
    package = types.ModuleType("relplot")
    package.__path__ = list(importlib.util.find_spec("relplot").submodule_search_locations)
    with mock.patch.dict(sys.modules, {"relplot": package}):
        return importlib.import_module("relplot.metrics")


def smooth_ece_as_relplot_has_it(confidence, hits, points=4000):
    """Kernels cut off at 0.5 and scaled by their density; 0 and 1 are not reflected, so that they count half."""
    t = (np.arange(points)[:, None] + 0.5) / points

    def error(width):
        smoothed, density = np.zeros(points), np.zeros(points)
        for image in (confidence, -confidence, 2 - confidence):
            once = np.ones(len(confidence)) if image is confidence else (image != 0) & (image != 1)
            kernel = np.exp(-(((t - image) / width) ** 2) / 2) * (np.abs(t - image) < 0.5)
            smoothed += kernel @ ((hits - confidence) * once)
            density += kernel @ once
        return np.abs(smoothed).sum() / density.sum()

    return brentq(lambda width: error(width) - width, 2e-3, 0.99, xtol=1e-9)


@pytest.mark.parametrize("case", smooth_cases())
def test_smooth_error_and_relplots(case):
    """Near each other but where relplot cuts its kernel off (errors above about 0.2) or a confidence is exactly 0 or 1.

    The 1e-3 beside that: relplot sums over 200 points, both ends in full where the integral takes half of them, adds
    1e-4 to the density, and stops at a width within 2^-10.
    """
    confidence, hits = smooth_cases()[case]
    oracle = relplot_metrics().smECE(confidence, hits.astype(float))
    assert smooth_ece_as_relplot_has_it(confidence, hits) == close(oracle, 1e-3)
    apart = abs(calibration.smooth_ece(confidence, hits) - oracle)
    assert apart > 0.02 if case in ("ends", "two of them") else apart < 1e-3


# ---- Properties

OF_CONFIDENCE = {
    "overconfidence": calibration.overconfidence,
    "ece": calibration.ece,
    "mce": calibration.mce,
    "rms": calibration.rms,
    "mad": calibration.mad,
    "mce of equal mass": lambda c, h: calibration.mce(c, h, 5, equal_mass=True),
    "rms of equal mass": lambda c, h: calibration.rms(c, h, 5, equal_mass=True),
    "rms_gce, squared": lambda c, h: calibration.rms_gce(c, h, 3) ** 2,
    "debiased_squared_error": lambda c, h: calibration.debiased_squared_error(c, h, 5),
    "expected_ece": lambda c, h: calibration.expected_ece(c),
}


@given(judged(), N_BINS, st.booleans())
def test_overconfidence_ece_rms_and_mce_are_in_order(data, n_bins, equal_mass):
    confidence, correct = data
    ece, rms, mce = (
        error(confidence, correct, n_bins, equal_mass=equal_mass)
        for error in (calibration.ece, calibration.rms, calibration.mce)
    )
    assert 0 <= abs(calibration.overconfidence(confidence, correct)) <= ece + 1e-12
    assert ece <= rms + 1e-12
    assert rms <= mce + 1e-12
    assert mce <= 1 + 1e-12
    assert 0 <= calibration.expected_ece(confidence, n_bins) <= 0.5 + 1e-12


@given(judged(), st.randoms(use_true_random=False))
def test_the_order_of_questions_does_not_matter(data, random):
    confidence, correct = data
    order = random.sample(range(len(confidence)), len(confidence))
    for name, metric in OF_CONFIDENCE.items():
        assert metric(confidence[order], correct[order]) == close(metric(confidence, correct)), name
    shuffled = calibration.smooth_ece(confidence[order], correct[order])
    assert shuffled == close(calibration.smooth_ece(confidence, correct), 2**-13)


@given(answered(), st.randoms(use_true_random=False))
def test_the_order_of_questions_does_not_matter_to_distributions(data, random):
    p, answers, n_options = data
    order = random.sample(range(len(p)), len(p))
    shuffled = p[order], answers[order], n_options[order]
    for metric in (calibration.sce, calibration.ace):
        assert metric(*shuffled) == close(metric(*data))
    for metric in (calibration.nll, calibration.brier, calibration.correct):
        assert (metric(*shuffled) == metric(*data)[order]).all()
    for metric in (calibration.prediction, calibration.confidence, calibration.tied, calibration.entropy):
        assert (metric(p[order]) == metric(p)[order]).all()


@given(answered())
def test_ranges_of_distributions(data):
    p, answers, n_options = data
    entropy, confidence = calibration.entropy(p), calibration.confidence(p)
    assert ((entropy >= 0) & (entropy <= np.log2(n_options) + 1e-12)).all()
    assert ((confidence >= 1 / n_options - 1e-12) & (confidence <= 1)).all()
    assert (calibration.prediction(p) < n_options).all()
    for metric in (calibration.sce, calibration.ace):
        assert 0 <= metric(p, answers, n_options) <= 1
    right = calibration.correct(p, answers, n_options)
    assert (calibration.nll(p, answers, n_options)[right] <= np.log(n_options[right]) + 1e-12).all()


@given(arrays(np.float64, st.integers(1, 60), elements=SHARES), N_BINS)
def test_bin_index_follows_its_definition_on_and_beside_edges(confidence, n_bins):
    expected = [max((m for m in range(n_bins) if c > m / n_bins), default=0) for c in confidence]
    assert calibration.bin_index(confidence, n_bins).tolist() == expected


def test_bin_index_on_every_edge():
    """Where m / M times M is rounded above m (M = 25, for one) or below it (22), too."""
    for n_bins in range(1, 101):
        edges = np.arange(1, n_bins + 1) / n_bins
        assert calibration.bin_index(edges, n_bins).tolist() == list(range(n_bins))
        above = np.nextafter(edges[:-1], 1)
        assert calibration.bin_index([0.0, *above], n_bins).tolist() == list(range(n_bins))


def test_equal_mass_bins_by_hand():
    bins = calibration.bins([0.9, 0.2, 0.5, 0.5, 0.7], [1, 0, 1, 0, 1], 2, equal_mass=True)
    assert bins.count.tolist() == [1, 4]  # round(5 / 2) = 2 begins within the tie at 0.5, which goes up
    assert (bins.lower.tolist(), bins.upper.tolist()) == ([0.2, 0.5], [0.5, 0.9])
    assert bins.accuracy.tolist() == [0.0, 0.75]
    tied = calibration.bins([0.4] * 3, [1, 0, 0], 5, equal_mass=True)
    assert tied.count.tolist() == [0, 0, 0, 0, 3]
    assert np.isnan(tied.confidence[:4]).all()


# ---- By hand


def test_edges_lie_in_the_lower_bin_and_zero_in_the_first():
    index = calibration.bin_index([0.0, 1e-300, 0.1, 0.1000001, 0.5, 0.9, 1.0], 10)
    assert index.tolist() == [0, 0, 0, 1, 4, 8, 9]
    assert calibration.bin_index([m / 30 for m in range(1, 31)], 30).tolist() == list(range(30))


def test_bins_by_hand():
    bins = calibration.bins([0.2, 0.4, 0.9, 1.0], [True, False, True, True], 2)
    assert bins.count.tolist() == [2, 2]
    assert bins.confidence.tolist() == pytest.approx([0.3, 0.95])
    assert bins.accuracy.tolist() == [0.5, 1.0]
    assert (bins.lower.tolist(), bins.upper.tolist()) == ([0.0, 0.5], [0.5, 1.0])
    assert calibration.ece([0.2, 0.4, 0.9, 1.0], [1, 0, 1, 1], 2) == pytest.approx((0.2 + 0.05) / 2)
    assert calibration.rms([0.2, 0.4, 0.9, 1.0], [1, 0, 1, 1], 2) == pytest.approx(math.sqrt((0.04 + 0.0025) / 2))
    assert np.isnan(calibration.bins([0.2], [True], 2).accuracy[1])


def test_one_question():
    assert calibration.ece([1.0], [True]) == 0.0
    assert calibration.ece([0.0], [True]) == 1.0
    assert calibration.rms([0.75], [False]) == 0.75


def test_mixed_numbers_of_options():
    rng = np.random.default_rng(1)
    n_options = rng.integers(3, 11, 200)
    values = rng.normal(0, 3, (200, 10))
    values[np.arange(10) >= n_options[:, None]] = np.nan  # padding is never looked at
    p = calibration.distribution(values, n_options)
    for i, k in enumerate(n_options):
        alone = np.exp(values[i, :k]) / np.exp(values[i, :k]).sum()
        assert p[i, :k] == pytest.approx(alone, abs=1e-14)
        assert (p[i, k:] == 0).all()
        assert calibration.entropy(p)[i] == pytest.approx(-(alone * np.log2(alone)).sum(), abs=1e-12)
    assert (calibration.confidence(p) >= 1 / n_options - 1e-15).all()
    assert (calibration.prediction(p) < n_options).all()


def test_entropy_is_in_bits():
    p = calibration.distribution(np.zeros((2, 8)), [4, 8])
    assert calibration.entropy(p).tolist() == pytest.approx([2.0, 3.0])
    assert calibration.entropy([[1.0, 0.0]]).tolist() == [0.0]
    assert not np.signbit(calibration.entropy([[1.0, 0.0]])[0])


def test_ties_go_to_the_first_option_and_are_counted():
    p = calibration.distribution([[0.0, 0.0, 0.0], [-1.0, 0.0, 0.0], [0.0, -1.0, -2.0]], [3, 3, 3])
    assert calibration.prediction(p).tolist() == [0, 1, 0]
    assert calibration.tied(p).tolist() == [True, True, False]
    assert calibration.correct(p, [0, 2, 0]).tolist() == [True, False, True]


def test_extreme_scores_neither_overflow_nor_vanish():
    p = calibration.distribution([[-1e4, -2e4], [1e4, -1e4], [-745.0, -745.0]], [2, 2, 2])
    assert p.tolist() == [[1.0, 0.0], [1.0, 0.0], [0.5, 0.5]]


# ---- Refusals

ARRAY = np.array([[0.5, 0.5]])
OF_A_DISTRIBUTION = [calibration.prediction, calibration.confidence, calibration.tied, calibration.entropy]
OF_ANSWERS = [calibration.correct, calibration.nll, calibration.brier, calibration.sce, calibration.ace]
OF_HITS = [
    calibration.overconfidence,
    calibration.bins,
    calibration.ece,
    calibration.mce,
    calibration.rms,
    calibration.mad,
    calibration.rms_gce,
    calibration.debiased_squared_error,
    calibration.smooth_ece,
]
OF_CONFIDENCES = [calibration.bin_index, calibration.expected_ece]
WITHOUT_BINS = [calibration.overconfidence, calibration.rms_gce, calibration.smooth_ece]  # that one is told to make


def name(value):
    return getattr(value, "__name__", None)


@pytest.mark.parametrize("function", OF_A_DISTRIBUTION + OF_ANSWERS, ids=name)
@pytest.mark.parametrize(
    ("probabilities", "message"),
    [
        (np.empty((0, 4)), r"probabilities have shape \(0, 4\), expected .* at least one question"),
        (np.empty((3, 0)), "at least one question"),
        ([0.5, 0.5], r"expected \(questions, options\)"),
        ([[0.5, 0.5], [np.nan, 1.0]], r"probabilities of question 1 are not all in \[0, 1\]"),
        ([[1.5, -0.5]], r"probabilities of question 0 are not all in \[0, 1\]"),
        ([[0.5, np.inf]], r"probabilities of question 0 are not all in \[0, 1\]"),
        ([[0.5, 0.5], [0.5, 0.4]], "probabilities of question 1 sum to 0.9, expected 1"),
    ],
)
def test_no_distribution_is_refused(function, probabilities, message):
    answers = [np.zeros(len(probabilities), dtype=int)] if function in OF_ANSWERS else []
    with pytest.raises(ValueError, match=message):
        function(probabilities, *answers)


@pytest.mark.parametrize("function", OF_ANSWERS, ids=name)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((ARRAY, [2]), "the answer of question 0 is option 2, but it has 2 options"),
        ((ARRAY, [-1]), "the answer of question 0 is option -1"),
        (([[0.5, 0.5, 0.0]], [2], [2]), "the answer of question 0 is option 2, but it has 2 options"),
        (([[0.5, 0.3, 0.2]], [0], [2]), "probabilities of question 0 reach beyond its 2 options"),
        ((ARRAY, [0, 1]), "expected 1 integers"),
        ((ARRAY, [0.0]), "expected 1 integers"),
        ((ARRAY, [0], [3]), "n_options of question 0 is 3, expected 2 to 2"),
        ((ARRAY, [0], [2, 2]), "one number a question"),
        ((ARRAY, [0], [np.nan]), "n_options has type float64, expected integers"),
    ],
)
def test_labels_that_do_not_fit_are_refused(function, arguments, message):
    with pytest.raises(ValueError, match=message):
        function(*arguments)


@pytest.mark.parametrize("function", OF_HITS + OF_CONFIDENCES, ids=name)
@pytest.mark.parametrize(
    ("confidences", "message"),
    [
        ([], r"confidences have shape \(0,\), expected .* at least one question"),
        ([[0.5]], r"confidences have shape \(1, 1\)"),
        ([0.5, np.nan], "confidence of question 1 is nan"),
        ([1.1], r"confidence of question 0 is 1.1, expected a value in \[0, 1\]"),
        ([0.5, 0.5, -1e-9], "confidence of question 2 is -1e-09"),
    ],
)
def test_confidences_that_are_none_are_refused(function, confidences, message):
    hits = [np.zeros(len(confidences))] if function in OF_HITS else []
    with pytest.raises(ValueError, match=message):
        function(confidences, *hits)


@pytest.mark.parametrize("function", OF_HITS, ids=name)
@pytest.mark.parametrize(
    ("hits", "message"),
    [
        ([1, 0], r"hits have shape \(2,\), expected \(1,\): one a question"),
        ([], "one a question"),
        ([0.5], "true or false"),
        ([np.nan], "true or false"),
    ],
)
def test_hits_that_are_none_are_refused(function, hits, message):
    with pytest.raises(ValueError, match=message):
        function([0.5], hits)


@pytest.mark.parametrize("n_bins", [0, -3])
@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        *((function, ([0.5], [1])) for function in OF_HITS if function not in WITHOUT_BINS),
        *((function, ([0.5],)) for function in OF_CONFIDENCES),
        (calibration.sce, (ARRAY, [0], None)),
        (calibration.ace, (ARRAY, [0], None)),
    ],
    ids=name,
)
def test_no_bins_are_refused(function, arguments, n_bins):
    with pytest.raises(ValueError, match=f"n_bins is {n_bins}, expected 1 or more"):
        function(*arguments, n_bins)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: calibration.distribution(np.empty((0, 4)), []), "at least one question"),
        (lambda: calibration.distribution([[0.0, np.nan]], [2]), "values of question 0 are not finite"),
        (lambda: calibration.distribution([[0.0, 1.0], [0.0, -np.inf]], [2, 2]), "values of question 1"),
        (lambda: calibration.distribution([[0.0, 1.0]], [3]), "n_options of question 0 is 3, expected 2 to 2"),
        (lambda: calibration.distribution([[0.0, 1.0]], [1]), "n_options of question 0 is 1"),
        (lambda: calibration.distribution([[0.0, 1.0]], [2, 2]), "one number a question"),
        (lambda: calibration.distribution([[0.0, 1.0]], [2.0]), "n_options has type float64, expected integers"),
        (lambda: calibration.rms_gce([0.5], [1], 0), "per_bin is 0, expected 1 or more"),
    ],
)
def test_other_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()
