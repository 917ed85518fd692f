"""Properties of the metrics, values by hand, and what is refused."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from calgrid import calibration
from support.answers import (
    N_BINS,
    SHARES,
    answered,
    close,
    judged,
)

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
