"""Tests of differences between two arms: arrays in, numbers out."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from calgrid.vocabulary import TTest

Floats = NDArray[np.float64]
LEVEL = 0.95  # of every interval


class Test(NamedTuple):
    """A comparison of two arms; None where no test is possible."""

    n: int  # units: pairs, or clusters; of two independent series, the first one's
    difference: float | None  # mean of first - second; None where a value is infinite
    low: float | None  # of the 95 % interval of the difference
    high: float | None
    effect: float | None  # Cohen's d: the difference in standard deviations, of the pairs' differences where paired
    effect_low: float | None  # of its 95 % interval
    effect_high: float | None
    statistic: float | None
    p: float | None  # two-sided


def t_test(first: ArrayLike, second: ArrayLike, kind: TTest = "paired") -> Test:
    """Student's t-test, two-sided; by scipy.

    paired: t = mean(d) / (s_d / sqrt(n)) with d = first - second. independent: of two series with a common variance.
    welch: without a common variance. Cohen's d is mean(d) / s_d where paired, else the difference over the pooled
    standard deviation; its interval inverts the noncentral t (Cumming & Finch 2001), for Welch's approximately.

    With fewer than two units, where all differences are equal (no variance, within rounding) or where a value is
    infinite (`nll` of an answer held impossible), there is no test.

    Args:
        first: (n,), values of the units.
        second: (m,), other values; of the same units in the same order where paired.
        kind: of the test.

    Raises ValueError for an empty input, unequal lengths of pairs or NaN.
    """
    a, b = _series(first), _series(second)
    if kind == "paired" and a.shape != b.shape:
        raise ValueError(f"a paired test needs two equally long series; got {a.size} and {b.size} values")
    if not _finite(a, b):
        return _none(a.size, None)
    if kind == "paired":
        return _of_mean(a - b, max(np.abs(a).max(), np.abs(b).max()))
    difference = float(a.mean() - b.mean())
    spread = max(a.std(), b.std())
    if min(a.size, b.size) < 2 or spread <= 8 * np.finfo(np.float64).eps * max(np.abs(a).max(), np.abs(b).max()):
        return _none(a.size, difference)
    from scipy import stats

    result = stats.ttest_ind(a, b, equal_var=kind == "independent")
    low, high = result.confidence_interval(LEVEL)
    variances, sizes = np.array([a.var(ddof=1), b.var(ddof=1)]), np.array([a.size, b.size])
    pooled = (sizes - 1) @ variances / (sizes.sum() - 2)
    error = variances @ (1 / sizes) if kind == "welch" else pooled * (1 / sizes).sum()  # squared, of the difference
    effect = _noncentral(float(result.statistic), float(result.df), float(np.sqrt(error / pooled)))
    return Test(a.size, difference, float(low), float(high), *effect, float(result.statistic), float(result.pvalue))


def clustered_t_test(sums: ArrayLike, counts: ArrayLike, size: float = 0.0) -> Test:
    """Student's t-test of a mean over units in clusters, two-sided: is it 0?

    The mean is sum(S) / sum(n) and its variance C / (C - 1) * sum((S_c - n_c mean)^2) / sum(n)^2, which allows for any
    dependence within a cluster; C - 1 degrees (Liang & Zeger 1986; Miller 2024, https://arxiv.org/abs/2411.00640). With
    one unit a cluster it is the paired t-test. Cohen's d is that of the clusters. No test as for `t_test`.

    Args:
        sums: (C,), sums over the units of each cluster, of differences first - second; NaN or infinite where a unit has
            no finite difference.
        counts: (C,), units of each cluster, at least one.
        size: about how large the numbers are whose differences these are: a spread below their rounding is none.

    Raises ValueError for an empty input, unequal lengths or a cluster without units.
    """
    s, n = np.asarray(sums, dtype=np.float64), _series(counts)
    if s.shape != n.shape or not (n >= 1).all():
        raise ValueError(f"a test over clusters needs as many sums as counts, all above 0; got {s.size} and {n.size}")
    if not _finite(s):
        return _none(n.size, None)
    mean = s.sum() / n.sum()
    found = _of_mean((s - n * mean) / n.mean() + mean, max(size, float(np.abs(s / n).max())))
    return found._replace(difference=float(mean))


def from_resamples(observed: float, resampled: ArrayLike, n: int) -> Test:
    """A bootstrap test of a difference, two-sided: is it 0?

    z = observed / s, s the standard deviation over the resamples; the interval is observed -+ 1.96 s. The calibration
    errors are biased upwards, and more so in a resample, so that percentiles would be off. The biases of two arms
    cancel where they are about equally miscalibrated; the nearer an arm is to calibration, the larger its bias, so that
    a difference is understated rather than overstated.

    There is no test with fewer than two clusters, without spread, or where the metric is not finite in a resample: an
    infinite `nll`, or none of the few questions of a language drawn.

    Args:
        observed: the difference.
        resampled: (R,), its values in the resamples, to the accuracy of float32.
        n: clusters that were drawn.
    """
    from scipy.special import ndtr

    values = np.asarray(resampled, dtype=np.float64)
    if values.ndim != 1 or values.size < 2:
        raise ValueError(f"a bootstrap test needs a series of at least 2 resamples; got the shape {values.shape}")
    if not np.isfinite(observed):
        return _none(n, None)
    if n < 2 or not _finite(values):
        return _none(n, observed)
    error = float(values.std(ddof=1))
    if error <= 8 * np.finfo(np.float32).eps * max(float(np.abs(values).max()), 1.0):
        return _none(n, observed)
    low, high = normal_interval(observed, error)
    z = observed / error
    return Test(n, observed, low, high, None, None, None, z, float(2 * ndtr(-abs(z))))


def normal_interval(value: float, error: float) -> tuple[float, float]:
    """The 95 % interval of a value with this standard error, by the normal distribution."""
    from scipy.special import ndtri

    reach = float(ndtri((1 + LEVEL) / 2)) * error
    return value - reach, value + reach


def holm(p: ArrayLike) -> Floats:
    """P-values adjusted for the tests of one family (Holm 1979): p_(i) * (m - i + 1), made monotone, at most 1.

    The chance of any false alarm in the family is kept below the level, whatever the dependence between the tests.

    Args:
        p: (m,), the family's p-values; NaN where no test was possible, which counts for nothing and stays NaN.
    """
    values = np.asarray(p, dtype=np.float64)
    adjusted = np.full_like(values, np.nan)
    tested = np.flatnonzero(~np.isnan(values))
    order = tested[np.argsort(values[tested], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(factors * values[order]), 1.0)
    return adjusted


def _of_mean(values: Floats, size: float) -> Test:
    """One-sample t-test of the mean of `values`, differences of numbers of about `size`, against 0."""
    n, mean = values.size, float(values.mean())
    deviation = float(values.std(ddof=1)) if n > 1 else 0.0
    # Equal differences leave a spread of a few roundings, and a huge t, where exact arithmetic leaves none.
    if deviation <= 8 * np.finfo(np.float64).eps * size:
        return _none(n, mean)
    from scipy.special import stdtr, stdtrit

    error = deviation / np.sqrt(n)
    t = mean / error
    reach = float(stdtrit(n - 1, (1 + LEVEL) / 2)) * error
    effect = _noncentral(t, n - 1, 1 / np.sqrt(n))
    return Test(n, mean, mean - reach, mean + reach, *effect, float(t), float(2 * stdtr(n - 1, -abs(t))))


def _noncentral(t: float, df: float, scale: float) -> tuple[float, float, float]:
    """An effect t * scale, and its interval: the noncentralities under which t would be at the interval's ends.

    They are quantiles of t S + Z, with S = sqrt(chi2(df) / df) and Z standard normal. Beyond |t| = 30, where scipy's
    inversion fails or never ends, the distances of both parts' quantiles from t are added as squares (MOVER: Zou &
    Donner 2008), which is within 0.001 of the tails' 0.025 from one degree of freedom on.
    """
    from scipy.special import chdtri, nctdtrinc, ndtri

    tail = (1 - LEVEL) / 2
    if abs(t) > 30:
        z = float(ndtri(tail))
        least, most = (abs(t) * float(np.sqrt(chdtri(df, 1 - share) / df)) for share in (tail, 1 - tail))
        low, high = abs(t) - float(np.hypot(abs(t) - least, z)), abs(t) + float(np.hypot(most - abs(t), z))
        if t < 0:
            low, high = -high, -low
    else:
        low, high = (float(nctdtrinc(df, share, t)) for share in (1 - tail, tail))
    return t * scale, low * scale, high * scale


def _none(n: int, difference: float | None) -> Test:
    return Test(n, difference, None, None, None, None, None, None, None)


def _series(values: ArrayLike) -> Floats:
    series = np.asarray(values, dtype=np.float64)
    if series.ndim != 1 or series.size == 0:
        raise ValueError(f"a test needs a series of values; got the shape {series.shape}")
    if np.isnan(series).any():
        raise ValueError("a test needs numbers; got NaN")
    return series


def _finite(*series: Floats) -> bool:
    return all(np.isfinite(values).all() for values in series)
