"""The bootstrap against metrics of the repeated questions; its and the tests' false alarms, power and coverage."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from calgrid import calibration
from calgrid.measure import bootstrap
from calgrid.measure.bootstrap import BOOTSTRAPPED, Part, resample
from calgrid.measure.metrics import MEANS, METRICS
from calgrid.measure.questions import Questions
from calgrid.measure.tests import clustered_t_test, from_resamples, normal_interval, t_test

N_BINS = 30


def questions(rng, n, least=3, most=10):
    """Questions with few different probabilities, so that confidences tie and lie on the edges of bins."""
    n_options = rng.integers(least, most + 1, n)
    values = np.log(rng.integers(1, 5, (n, most)))
    values[: n // 2] = rng.normal(0, 2, (n // 2, most))
    p = calibration.distribution(values, n_options)
    return Questions(p, rng.integers(0, n_options), n_options)


def joined(several):
    columns = zip(*((q.probabilities, q.answers, q.n_options) for q in several), strict=True)
    return Questions(*map(np.concatenate, columns))


def taken(q, rows):
    return Questions(q.probabilities[rows], q.answers[rows], q.n_options[rows])


def plain(q, n_bins=N_BINS):
    """BOOTSTRAPPED by the functions of `calgrid.calibration`."""
    confidence = calibration.confidence(q.probabilities)
    hits = calibration.correct(q.probabilities, q.answers, q.n_options)
    found = {
        "accuracy": hits.mean(),
        "entropy": calibration.entropy(q.probabilities).mean(),
        "confidence": confidence.mean(),
        "nll": calibration.nll(q.probabilities, q.answers, q.n_options).mean(),
        "brier": calibration.brier(q.probabilities, q.answers, q.n_options).mean(),
        "overconfidence": calibration.overconfidence(confidence, hits),
        "ece": calibration.ece(confidence, hits, n_bins),
        "rms": calibration.rms(confidence, hits, n_bins),
        "sce": calibration.sce(q.probabilities, q.answers, q.n_options, n_bins),
        "rms_gce": calibration.rms_gce(confidence, hits),
    }
    return np.array([found[name] for name in BOOTSTRAPPED])


def parts_of(rng, n_clusters, n_languages=3, **options):
    """Languages that lack some of the questions, in an order of their own; the first one has all."""
    parts = []
    for number in range(n_languages):
        cluster = rng.permutation(n_clusters)[: n_clusters - number * n_clusters // 5]
        parts.append(Part(questions(rng, len(cluster), **options), cluster))
    return parts


def test_padding_beyond_every_question_is_no_class():
    q = questions(np.random.default_rng(7), 30, 3, 4)
    padded = Questions(np.pad(q.probabilities, ((0, 0), (0, 3))), q.answers, q.n_options)
    (found,), _ = bootstrap.bootstrap([Part(padded, np.arange(30))], resample(30, 4), N_BINS)
    assert found.observed == pytest.approx(plain(q), abs=1e-12)


@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 400), n_bins=st.sampled_from([1, 10, 15, 30]), seed=st.integers(0, 2**32 - 1))
def test_observed_values_are_those_of_the_plain_functions(n, n_bins, seed):
    rng = np.random.default_rng(seed)
    parts = parts_of(rng, n)
    by_language, pooled = bootstrap.bootstrap(parts, resample(n, 2), n_bins)
    for part, found in zip(parts, by_language, strict=True):
        assert found.observed == pytest.approx(plain(part.questions, n_bins), abs=1e-12)
    everything = joined([part.questions for part in parts])
    assert pooled.observed == pytest.approx(plain(everything, n_bins), abs=1e-12)


def test_languages_may_differ_in_the_most_options():
    rng = np.random.default_rng(0)
    parts = [Part(questions(rng, 50, 3, 4), np.arange(50)), Part(questions(rng, 50), np.arange(50))]
    by_language, pooled = bootstrap.bootstrap(parts, resample(50, 2), N_BINS)
    assert by_language[0].observed == pytest.approx(plain(parts[0].questions), abs=1e-12)
    wide = np.zeros((50, 10))
    wide[:, :4] = parts[0].questions.probabilities
    first = Questions(wide, parts[0].questions.answers, parts[0].questions.n_options)
    assert pooled.observed == pytest.approx(plain(joined([first, parts[1].questions])), abs=1e-12)


def test_resampled_values_are_those_of_repeated_questions():
    rng = np.random.default_rng(1)
    n, n_resamples = 250, 20
    parts, weights = parts_of(rng, n), resample(n, n_resamples, seed=3)
    by_language, pooled = bootstrap.bootstrap(parts, weights, N_BINS)
    columns = [BOOTSTRAPPED.index(name) for name in BOOTSTRAPPED if name != "rms_gce"]
    for r in range(n_resamples):
        repeated = [
            taken(part.questions, np.repeat(np.arange(len(part.cluster)), weights[r, part.cluster].astype(int)))
            for part in parts
        ]
        for q, found in zip([*repeated, joined(repeated)], [*by_language, pooled], strict=True):
            assert found.resampled[r, columns] == pytest.approx(plain(q)[columns], rel=1e-5, abs=2e-6)


def test_resampled_rms_gce_has_the_bins_of_the_observed_questions():
    rng = np.random.default_rng(2)
    n = 450
    parts, weights = parts_of(rng, n, 2), resample(n, 10, seed=3)
    _, pooled = bootstrap.bootstrap(parts, weights, N_BINS)
    q = joined([part.questions for part in parts])
    w = np.concatenate([weights[:, part.cluster] for part in parts], axis=1).astype(float)
    confidence = calibration.confidence(q.probabilities)
    gap = calibration.correct(q.probabilities, q.answers, q.n_options) - confidence
    edges = calibration.bins(confidence, gap > 0, len(gap) // 100, equal_mass=True).lower
    index = np.searchsorted(np.unique(edges), confidence, side="right") - 1
    for r in range(len(w)):
        squares = sum(((w[r] * gap)[index == m].sum() / w[r].sum()) ** 2 for m in np.unique(index))
        assert pooled.resampled[r, BOOTSTRAPPED.index("rms_gce")] == pytest.approx(squares**0.25, rel=1e-5)


def test_resample():
    weights = resample(70, 300, seed=5)
    assert weights.shape == (300, 70)
    assert (weights.sum(axis=1) == 70).all()
    assert (weights == resample(70, 300, seed=5)).all()
    assert (weights != resample(70, 300, seed=6)).any()
    assert weights.var(axis=0).mean() == pytest.approx(1 - 1 / 70, rel=0.05)  # of a binomial(Q, 1/Q)


def test_translations_are_drawn_together():
    """A language that repeats another has its values in every resample, and pooling both changes nothing."""
    part = Part(questions(np.random.default_rng(3), 60), np.arange(60))
    (first, second), pooled = bootstrap.bootstrap([part, part], resample(60, 50), N_BINS)
    assert (first.resampled == second.resampled).all()
    assert pooled.resampled == pytest.approx(first.resampled, rel=1e-6)
    averaged = bootstrap.mean([first, second])
    assert averaged.resampled == pytest.approx(first.resampled)
    assert averaged.observed == pytest.approx(first.observed)


def test_mean_of_values():
    parts = parts_of(np.random.default_rng(4), 40)
    found, _ = bootstrap.bootstrap(parts, resample(40, 7), N_BINS)
    averaged = bootstrap.mean(found)
    assert averaged.observed == pytest.approx(sum(values.observed for values in found) / 3)
    assert averaged.resampled == pytest.approx(sum(values.resampled for values in found) / 3)


@pytest.mark.filterwarnings("error")
def test_an_infinite_nll_spoils_no_other_metric():
    q = questions(np.random.default_rng(5), 40)
    p = q.probabilities.copy()
    p[0] = np.eye(10)[(q.answers[0] + 1) % q.n_options[0]]
    (found,), _ = bootstrap.bootstrap([Part(Questions(p, q.answers, q.n_options), np.arange(40))], resample(40, 9), 10)
    finite = [name != "nll" for name in BOOTSTRAPPED]
    assert np.isinf(found.observed[BOOTSTRAPPED.index("nll")])
    assert not np.isfinite(found.resampled[:, BOOTSTRAPPED.index("nll")]).any()
    assert np.isfinite(found.resampled[:, finite]).all()


@pytest.mark.filterwarnings("error")
def test_a_language_of_which_nothing_is_drawn_has_no_value():
    rng = np.random.default_rng(6)
    parts = [Part(questions(rng, 20), np.arange(20)), Part(questions(rng, 1), np.array([7]))]
    weights = resample(20, 30)
    (_, lone), pooled = bootstrap.bootstrap(parts, weights, 10)
    assert (np.isnan(lone.resampled).all(axis=1) == (weights[:, 7] == 0)).all()
    assert np.isfinite(pooled.resampled).all()


# Simulated experiments: how often do the tests find what is not there?

LANGUAGES, QUESTIONS, OPTIONS = 5, 120, 4
EXPERIMENTS = 300


def simulated(rng, shift=0.0, sharpness=2.0):
    """Two arms on questions in several languages; in difference and difficulty they are strongly alike across these.

    Each arm knows each question more or less than the other one, in all languages: that is what the difference of two
    trainings looks like. On average over questions the arms differ by `shift` alone.
    """
    answers = rng.integers(0, OPTIONS, QUESTIONS)
    ability = rng.normal(0.5, 1, QUESTIONS)  # of a question, in both arms
    arms = []
    for extra in (shift, 0.0):
        known = ability + rng.normal(0, 0.7, QUESTIONS) + extra
        logits = rng.normal(0, 0.5, (QUESTIONS, OPTIONS)) + rng.normal(0, 0.3, (LANGUAGES, QUESTIONS, OPTIONS))
        logits[:, np.arange(QUESTIONS), answers] += known
        p = calibration.distribution((sharpness * logits).reshape(-1, OPTIONS), np.full(LANGUAGES * QUESTIONS, OPTIONS))
        arms.append(p.reshape(LANGUAGES, QUESTIONS, OPTIONS))
    return arms, answers


def as_parts(p, answers):
    n_options = np.full(len(answers), p.shape[-1])
    return [Part(Questions(of_language, answers, n_options), np.arange(len(answers))) for of_language in p]


def p_values(experiments, seed, shift=0.0):
    """(experiments, 5) p: of accuracy the questions and the naive test, of confidence both, of ECE the bootstrap's.

    ECE is of all languages' questions pooled. The naive test takes each language's copy of a question for a unit.
    """
    rng = np.random.default_rng(seed)
    weights = resample(QUESTIONS, 200, seed=1)
    found = []
    for _ in range(experiments):
        arms, answers = simulated(rng, shift)
        parts = [as_parts(p, answers) for p in arms]
        values = np.stack([[part.per_question for part in of_arm] for of_arm in parts])
        differences = values[0] - values[1]  # (languages, questions, MEANS)
        row = []
        for name in ("accuracy", "confidence"):
            column = differences[:, :, MEANS.index(name)]
            clustered = clustered_t_test(column.sum(axis=0), np.full(QUESTIONS, LANGUAGES))
            row += [clustered.p, t_test(column.ravel(), np.zeros(column.size)).p]
        (_, a), (_, b) = (bootstrap.bootstrap(of_arm, weights, 10) for of_arm in parts)
        ece = BOOTSTRAPPED.index("ece")
        difference = a.observed[ece] - b.observed[ece]
        row.append(from_resamples(difference, a.resampled[:, ece] - b.resampled[:, ece], QUESTIONS).p)
        found.append(row)
    return np.array(found, dtype=float)


def coverage(sharpness, n, experiments, rng):
    """Shares of the 95 % intervals of ECE that hold its expectation at this N, and the ECE of unlimited questions."""

    def drawn(size):
        p = calibration.distribution(rng.normal(0, 1.5, (size, OPTIONS)), np.full(size, OPTIONS))
        answers = (rng.random((size, 1)) > p.cumsum(axis=1)).sum(axis=1).clip(0, OPTIONS - 1)
        values = sharpness * np.log(p)  # 1: calibrated; above: over-confident
        return Part(
            Questions(calibration.distribution(values, np.full(size, OPTIONS)), answers, np.full(size, OPTIONS)),
            np.arange(size),
        )

    weights, ece = resample(n, 200, seed=1), BOOTSTRAPPED.index("ece")
    found = [bootstrap.bootstrap([drawn(n)], weights, 10)[1] for _ in range(experiments)]
    values = np.array([one.observed[ece] for one in found])
    intervals = np.array([normal_interval(one.observed[ece], one.resampled[:, ece].std(ddof=1)) for one in found])
    of_many = drawn(200_000).questions
    hits = calibration.correct(of_many.probabilities, of_many.answers)
    truth = calibration.ece(calibration.confidence(of_many.probabilities), hits, 10)
    inside = [((intervals[:, 0] <= v) & (v <= intervals[:, 1])).mean() for v in (values.mean(), truth)]
    return (*inside, values.mean(), truth)


def test_false_alarms_are_5_percent():
    """Ours: 5 % within the binomial 99 % interval. Taking each language's copy of a question for a unit: about 30 %.

    Of 300 experiments with 5 languages. The variance of a pooled mean is 1 + 4 r times what independent units would
    give, r the correlation of a question's differences between languages.
    """
    alarms = (p_values(EXPERIMENTS, 0) < 0.05).mean(axis=0)
    low, high = scipy.stats.binom.interval(0.99, EXPERIMENTS, 0.05)
    accuracy, naive_accuracy, confidence, naive_confidence, ece = alarms
    for ours in (accuracy, confidence, ece):
        assert low <= ours * EXPERIMENTS <= high
    for naive in (naive_accuracy, naive_confidence):
        assert naive >= 0.2
        assert naive >= 3 * max(accuracy, confidence)


def test_a_real_difference_is_found():
    """An arm that knows every question better: +0.8 logits before sharpening, of a deviation of 1 between arms."""
    found = (p_values(40, 1, shift=0.8) < 0.05).mean(axis=0)
    accuracy, _, confidence, _, ece = found
    assert min(accuracy, confidence) >= 0.8
    assert ece >= 0.6


@pytest.mark.parametrize(
    ("sharpness", "n", "of_expectation", "of_truth"),
    [
        (2.5, 50, (0.86, 0.97), (0.85, 0.97)),  # measured: 0.91, 0.90; E[ECE] 0.227, the model's ECE 0.199
        (2.5, 150, (0.89, 0.99), (0.88, 0.99)),  # 0.94, 0.95; 0.210
        (1.5, 50, (0.92, 1.0), (0.75, 0.92)),  # 0.97, 0.83; 0.156 for 0.097
        (1.0, 50, (0.95, 1.0), (0.0, 0.3)),  # 0.99, 0.13; 0.126 for 0: a calibrated model
        (1.0, 600, (0.95, 1.0), (0.0, 0.3)),  # 0.99, 0.18; 0.038 for 0
    ],
)
def test_coverage_of_the_interval_of_ece(sharpness, n, of_expectation, of_truth):
    """The interval is one of the ECE that this many questions show on average, which it holds in 91 to 99 of 100.

    It is no interval of the model's ECE on unlimited questions where sampling adds much to that: for a calibrated model
    it holds that one in a sixth of the cases, at any N. `expected_ece` tells the two apart.
    """
    expectation, truth, mean, limit = coverage(sharpness, n, 300, np.random.default_rng(0))
    assert of_expectation[0] <= expectation <= of_expectation[1]
    assert of_truth[0] <= truth <= of_truth[1]
    assert mean > limit


def test_what_the_records_say_is_tested_is_resampled():
    assert set(BOOTSTRAPPED) == {name for name, metric in METRICS.items() if metric.tested}
