"""The tests of differences against scipy, statsmodels and their definitions."""

import numpy as np
import pytest
import scipy.stats
import statsmodels.api
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.special import chdtri, ndtr
from statsmodels.stats.multitest import multipletests

from calgrid.measure import tests
from calgrid.measure.tests import clustered_t_test, from_resamples, holm, t_test

SEEDS = st.integers(0, 2**32 - 1)


def oracle(first, second, kind):
    if kind == "paired":
        return scipy.stats.ttest_rel(first, second)
    return scipy.stats.ttest_ind(first, second, equal_var=kind == "independent")


def assert_agrees(ours, theirs, rel=1e-9):
    assert ours.statistic == pytest.approx(theirs.statistic, rel=rel)
    assert ours.p == pytest.approx(theirs.pvalue, rel=rel)
    interval = theirs.confidence_interval()
    scale = interval.high - interval.low
    assert (ours.low, ours.high) == pytest.approx((interval.low, interval.high), abs=rel * scale)


@pytest.mark.parametrize("kind", ["paired", "independent", "welch"])
@settings(deadline=None)
@given(n=st.integers(2, 200), m=st.integers(2, 200), shift=st.floats(-1, 1), spread=st.floats(0.01, 10), seed=SEEDS)
def test_t_tests_agree_with_scipy(kind, n, m, shift, spread, seed):
    rng = np.random.default_rng(seed)
    first, second = rng.normal(shift, spread, n), rng.normal(0, 1, n if kind == "paired" else m)
    ours = t_test(first, second, kind)
    assert_agrees(ours, oracle(first, second, kind))
    assert (ours.n, ours.difference) == (n, pytest.approx(first.mean() - second.mean(), abs=1e-12))


@pytest.mark.filterwarnings("ignore:Precision loss")
@pytest.mark.parametrize("kind", ["paired", "independent", "welch"])
@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([0.5, 0.75], [0.25, 0.25]),  # two units
        ([0.5, 0.25], [0.25, 0.5]),  # no difference, but a spread
        ([1e9 + 1, 1e9 + 2, 1e9 + 4], [1e9, 1e9 + 2, 1e9 + 3.5]),  # far from 0
        ([1e-12, 3e-12, 4e-12], [2e-12, 1e-12, 3.5e-12]),
        ([0.0, 1e6, 1.0], [1.0, 0.0, 0.5]),  # one value outweighs all
    ],
)
def test_t_tests_agree_with_scipy_in_hard_cases(kind, first, second):
    assert_agrees(t_test(first, second, kind), oracle(first, second, kind), rel=1e-7)


@pytest.mark.filterwarnings("ignore:Precision loss")
def test_independent_series_may_differ_in_length_and_one_may_be_constant():
    first, second = [0.1, 0.4, 0.2, 0.9], [0.5, 0.5]
    for kind in ("independent", "welch"):
        assert_agrees(t_test(first, second, kind), oracle(first, second, kind))


@pytest.mark.parametrize("kind", ["paired", "independent", "welch"])
@pytest.mark.parametrize(
    ("first", "second", "difference"),
    [
        ([0.5], [0.25], 0.25),  # one unit
        ([0.5, 0.5], [0.5, 0.5], 0.0),
        ([0.5, 0.5, 0.5], [0.2, 0.2, 0.2], 0.3),
        ([0.1 + 0.2, 0.3], [0.0, 0.0], 0.3),  # a spread of one rounding
        ([np.inf, 1.0], [np.inf, 2.0], None),
        ([np.inf, 1.0], [0.0, 2.0], None),
    ],
)
def test_no_t_test_without_units_variance_or_finite_values(kind, first, second, difference):
    found = t_test(first, second, kind)
    assert found.difference == (None if difference is None else pytest.approx(difference))
    assert set(found[2:]) == {None}


def test_no_paired_test_of_equal_differences():
    found = t_test([0.3, 0.4, 0.7], [0.2, 0.3, 0.6])  # equal up to rounding
    assert (found.n, found.difference, found.p) == (3, pytest.approx(0.1), None)
    assert t_test([0.3, 0.4, 0.7], [0.2, 0.3, 0.6], "welch").p is not None


@pytest.mark.parametrize(
    ("first", "second", "kind", "message"),
    [
        ([], [], "paired", r"needs a series of values; got the shape \(0,\)"),
        ([[1.0]], [[1.0]], "paired", r"needs a series of values; got the shape \(1, 1\)"),
        ([1.0, 2.0], [1.0], "paired", "two equally long series; got 2 and 1 values"),
        ([np.nan, 1.0], [0.0, 0.0], "paired", "needs numbers; got NaN"),
        ([1.0, 2.0], [0.0, np.nan], "welch", "needs numbers; got NaN"),
    ],
)
def test_t_test_refuses(first, second, kind, message):
    with pytest.raises(ValueError, match=message):
        t_test(first, second, kind)


@settings(deadline=None)
@given(n=st.integers(2, 50), m=st.integers(2, 50), shift=st.floats(-3, 3), spread=st.floats(0.1, 10), seed=SEEDS)
def test_effects_follow_the_definition_of_cohens_d(n, m, shift, spread, seed):
    rng = np.random.default_rng(seed)
    first, second, also = rng.normal(shift, spread, n), rng.normal(0, 1, n), rng.normal(0, 1, m)
    pairs = first - second
    assert t_test(first, second).effect == pytest.approx(pairs.mean() / pairs.std(ddof=1), rel=1e-9)
    pooled = np.sqrt(((n - 1) * first.var(ddof=1) + (m - 1) * also.var(ddof=1)) / (n + m - 2))
    expected = pytest.approx((first.mean() - also.mean()) / pooled, rel=1e-9)
    assert t_test(first, also, "independent").effect == expected
    assert t_test(first, also, "welch").effect == expected


@settings(max_examples=20, deadline=None)
@given(n=st.integers(2, 200), shift=st.floats(-2, 2), seed=SEEDS)
def test_effect_interval_inverts_the_noncentral_t(n, shift, seed):
    rng = np.random.default_rng(seed)
    first, second = rng.normal(shift, 1, n), rng.normal(0, 1, n)
    for kind, units in (("paired", n), ("independent", n / 2)):
        found = t_test(first, second, kind)
        assume(abs(found.statistic) <= 30)
        df = n - 1 if kind == "paired" else 2 * n - 2
        ends = np.array([found.effect_low, found.effect_high]) * np.sqrt(units)
        assert noncentral_cdf(found.statistic, df, ends) == pytest.approx([0.975, 0.025], abs=1e-4)


@pytest.mark.parametrize("df", [1, 2, 4, 41, 1000])
@pytest.mark.parametrize("t", [30.001, -31.0, 60.0, -3000.0])
def test_effect_interval_of_a_large_t(df, t):
    """Two seeds whose differences are nearly equal make t > 30 with one degree of freedom."""
    values = np.linspace(-1, 1, df + 1)
    values = values / values.std(ddof=1) + t / np.sqrt(df + 1)
    found = t_test(values, np.zeros(df + 1))
    assert found.statistic == pytest.approx(t)
    ends = np.array([found.effect_low, found.effect_high]) * np.sqrt(df + 1)
    assert noncentral_cdf(t, df, ends) == pytest.approx([0.975, 0.025], abs=1.2e-3)
    assert np.sign(found.effect_low) == np.sign(found.effect_high) == np.sign(t)


def noncentral_cdf(t, df, noncentralities):
    """P(T <= t) by its definition, the mean of Phi(t S - delta), where scipy.stats.nct.cdf loses digits or fails."""
    shares = (np.arange(10_000) + 0.5) / 10_000
    scale = np.sqrt(chdtri(df, shares) / df)
    return np.array([ndtr(t * scale - delta).mean() for delta in noncentralities])


def test_noncentral_cdf_agrees_with_scipy():
    for t, df, delta in ((2.0, 5, 1.0), (-1.0, 3, 2.0), (8.0, 41, 6.5)):
        assert noncentral_cdf(t, df, [delta])[0] == pytest.approx(scipy.stats.nct.cdf(t, df, delta), abs=1e-5)


def test_welch_effect_interval_is_continuous_at_no_difference():
    """The noncentrality is scaled by Welch's standard error, also where t = 0."""
    first, second = np.array([-3.0, 3.0, -1.0, 1.0]), np.array([-0.1, 0.1])
    at, near = t_test(first, second, "welch"), t_test(first + 1e-9, second, "welch")
    assert at.statistic == 0
    assert (at.effect_low, at.effect_high) == pytest.approx((near.effect_low, near.effect_high), rel=1e-6)


@settings(deadline=None)
@given(clusters=st.integers(3, 60), most=st.integers(1, 8), shift=st.floats(-1, 1), seed=SEEDS)
def test_clustered_test_agrees_with_statsmodels(clusters, most, shift, seed):
    """OLS of a constant with cluster-robust errors.

    Its correction is C / (C - 1) * (N - 1) / (N - k), and with k = 1 coefficient the second factor is 1: ours. Its p is
    of the normal distribution unless use_t, which takes C - 1 degrees.
    """
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, most + 1, clusters)
    cluster = np.repeat(np.arange(clusters), counts)
    values = shift + rng.normal(0, 1, clusters)[cluster] + rng.normal(0, 0.5, len(cluster))
    ours = clustered_t_test(np.bincount(cluster, weights=values), counts)
    model = statsmodels.api.OLS(values, np.ones_like(values))
    theirs = model.fit(cov_type="cluster", cov_kwds={"groups": cluster, "use_correction": True}, use_t=True)
    assert (ours.n, ours.difference) == (clusters, pytest.approx(values.mean(), abs=1e-12))
    assert ours.statistic == pytest.approx(theirs.tvalues[0], rel=1e-7)
    assert ours.p == pytest.approx(theirs.pvalues[0], rel=1e-6)
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs.conf_int()[0]), abs=1e-7)


@settings(deadline=None)
@given(n=st.integers(2, 100), shift=st.floats(-1, 1), seed=SEEDS)
def test_clustered_test_of_single_units_is_the_paired_one(n, shift, seed):
    rng = np.random.default_rng(seed)
    first, second = rng.normal(shift, 1, n), rng.normal(0, 1, n)
    expected = pytest.approx(tuple(t_test(first, second)), rel=1e-7, abs=1e-12)
    assert tuple(clustered_t_test(first - second, np.ones(n))) == expected


def test_equal_units_of_a_cluster_count_once():
    """Forty copies of each question in as many languages say no more than one."""
    differences = np.random.default_rng(0).normal(0.1, 1, 30)
    copied = clustered_t_test(40 * differences, np.full(30, 40))
    assert tuple(copied) == pytest.approx(tuple(t_test(differences, np.zeros(30))), rel=1e-9)


def test_no_clustered_test():
    assert clustered_t_test([1.0], [2])[:2] == (1, 0.5)
    assert clustered_t_test([1.0], [2]).p is None
    assert clustered_t_test([0.2, 0.4, 0.6], [1, 2, 3]).p is None  # every unit differs by 0.2
    assert clustered_t_test([np.nan, 1.0], [1, 1])[:3] == (2, None, None)  # an infinite nll in both arms
    assert clustered_t_test([1e-16, 0.0, -1e-16], [1, 1, 1]).p is not None
    assert clustered_t_test([1e-16, 0.0, -1e-16], [1, 1, 1], size=0.5).p is None  # roundings of numbers around 0.5


@pytest.mark.parametrize(("sums", "counts"), [([1.0, 2.0], [1]), ([1.0, 2.0], [1, 0])])
def test_clustered_test_refuses(sums, counts):
    with pytest.raises(ValueError, match=r"as many sums as counts, all above 0; got 2 and \d"):
        clustered_t_test(sums, counts)


def test_clustered_test_refuses_no_clusters():
    with pytest.raises(ValueError, match="needs a series of values"):
        clustered_t_test([], [])


def test_bootstrap_test():
    resampled = np.random.default_rng(0).normal(0.3, 0.1, 1000)  # around a biased value, which is not used
    found = from_resamples(0.2, resampled, 50)
    error = resampled.std(ddof=1)
    assert (found.n, found.difference, found.statistic) == (50, 0.2, pytest.approx(0.2 / error))
    assert found.p == pytest.approx(2 * scipy.stats.norm.sf(0.2 / error))
    assert (found.low, found.high) == pytest.approx(scipy.stats.norm.interval(0.95, 0.2, error))
    assert found[4:7] == (None, None, None)
    assert from_resamples(-0.2, -resampled, 50).p == pytest.approx(found.p)


@pytest.mark.parametrize(
    ("observed", "resampled", "n", "difference"),
    [
        (0.25, [0.25, 0.25, 0.25], 30, 0.25),
        (0.1, 0.1 + np.random.default_rng(0).normal(0, 6e-8, 100), 30, 0.1),  # roundings of float32
        (0.25, [0.1, 0.3], 1, 0.25),
        (0.25, [0.1, np.nan, 0.3], 30, 0.25),  # a resample without any of its questions
        (np.nan, [np.nan, 0.3], 30, None),
        (np.inf, [np.nan, 0.3], 30, None),
    ],
)
def test_no_bootstrap_test(observed, resampled, n, difference):
    found = from_resamples(observed, resampled, n)
    assert found[:2] == (n, difference)
    assert set(found[2:]) == {None}


def test_bootstrap_test_refuses_no_resamples():
    with pytest.raises(ValueError, match="at least 2 resamples"):
        from_resamples(0.1, [0.1], 30)


@settings(max_examples=15, deadline=None)  # statsmodels takes a tenth of a second
@given(n=st.integers(1, 40), digits=st.sampled_from([1, 2, 15]), missing=st.floats(0, 1), seed=SEEDS)
def test_holm_agrees_with_statsmodels(n, digits, missing, seed):
    rng = np.random.default_rng(seed)
    p = np.where(rng.random(n) < missing, np.nan, (rng.random(n) ** 3).round(digits))  # few digits: ties, 0 and 1
    tested = ~np.isnan(p)
    ours = holm(p)
    assert np.isnan(ours).tolist() == (~tested).tolist()
    if tested.any():
        assert ours[tested] == pytest.approx(multipletests(p[tested], method="holm")[1], abs=1e-15)


def test_holm_by_hand():
    assert holm([0.01, 0.04, np.nan, 0.03]).tolist() == pytest.approx([0.03, 0.06, np.nan, 0.06], nan_ok=True)
    assert holm([]).tolist() == []


def test_normal_interval():
    assert tests.normal_interval(1.0, 0.5) == pytest.approx(scipy.stats.norm.interval(0.95, 1.0, 0.5))
