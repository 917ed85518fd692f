"""Binned calibration errors against their plain definitions and against other libraries: uncertainty-calibration,
calib_tools, scikit-learn. Where they differ from ours, a test says how."""

import math

import calibration as uncertainty_calibration
import numpy as np
import pytest
from calibration import utils as uncertainty_utils
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve

from calgrid import calibration
from support.answers import (
    N_BINS,
    answered,
    close,
    equal_mass_members,
    judged,
    plain_classwise,
    plain_equal_mass_gaps,
    plain_gaps,
)

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
