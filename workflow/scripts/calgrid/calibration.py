"""Calibration of multiple-choice answers: arrays in, numbers out. NumPy only, float64 throughout.

A batch of questions is a padded array of shape (N, K): row i is a question, column k its option k, K the largest
number of options, and `n_options` of shape (N,) says how many of the columns are options. Padding is ignored on
the way in; in a distribution it is exactly 0, so that an option and its absence are told apart by `n_options` alone
and the sums below need no mask.

    values (N=2, K=4)            n_options    distribution
    [-1.2 -0.3 -2.0 -0.9]            4        [0.19 0.47 0.09 0.26]
    [-0.5 -0.7   pad  pad]           2        [0.55 0.45 0    0   ]

Equation numbers are those of "Investigating the Multilingual Calibration Effects of Language Model
Instruction-Tuning" (2026), Appendix A. Every function raises ValueError for an empty input, for NaN, for a
probability outside [0, 1], for a row that does not sum to 1 over its options and for a label that is no option; none
returns 0 instead. What others call with checked values (`equal_mass_starts`, `mean_absolute_deviation`, `mesh_index`,
`smooth_errors`) does not check them again.
"""

from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from calgrid.vocabulary import N_BINS

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]

SUM_TOLERANCE = 1e-6  # of a distribution given from outside; ours sum to 1 within a few ulp
PER_BIN = 100  # questions in a bin of that variant
MESH = 1024  # cells of [0, 1] for the smooth calibration error
SMOOTH_STEPS = 14  # bisections of its width: 2^-15


@dataclass(frozen=True)
class Bins:
    """Bins of [0, 1]; each array has one entry a bin, NaN as a mean over no question."""

    lower: Floats  # (M,), of equal width: open edge, but the first bin holds 0; of equal mass: closed
    upper: Floats  # (M,), of equal width: closed edge; of equal mass: open, but for the last bin
    count: Integers  # (M,), questions
    confidence: Floats  # (M,), mean confidence
    accuracy: Floats  # (M,), share of right answers


def distribution(values: ArrayLike, n_options: ArrayLike) -> Floats:
    """Softmax over the options of each question.

    p_ik = exp(v_ik) / sum_j exp(v_ij), over the first n_options[i] columns; the rest are 0.

    Args:
        values: (N, K), a log-probability or another score of each option, in nats; finite.
        n_options: (N,), from 2 to K.

    Returns: (N, K) probabilities, each row summing to 1.
    """
    v = _matrix(values, "values")
    present = option_mask(n_options, v.shape)
    unusable = present & ~np.isfinite(v)
    if unusable.any():
        row = int(np.argmax(unusable.any(axis=1)))
        raise ValueError(f"values of question {row} are not finite: {v[row][present[row]].tolist()}")
    v = np.where(present, v, -np.inf)
    shifted = np.exp(v - _largest(v)[:, None])
    return shifted / _total(shifted)[:, None]


def option_mask(n_options: ArrayLike, shape: tuple[int, ...]) -> Booleans:
    """(N, K), true where a column is an option of its question."""
    counts = np.asarray(n_options)
    n, k = shape
    if counts.shape != (n,):
        raise ValueError(f"n_options has shape {counts.shape}, expected {(n,)}: one number a question")
    if not np.issubdtype(counts.dtype, np.integer):
        raise ValueError(f"n_options has type {counts.dtype}, expected integers")  # NaN would pass as no option at all
    wrong = (counts < 2) | (counts > k)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(f"n_options of question {row} is {counts[row]}, expected 2 to {k}")
    return np.arange(k) < counts[:, None]


def prediction(probabilities: ArrayLike) -> Integers:
    """(N,), the option with the highest probability; the first one where several tie."""
    return _first_largest(_distribution(probabilities))


def confidence(probabilities: ArrayLike) -> Floats:
    """(N,), the probability of the predicted option: max_k p_ik, in [1/K, 1]."""
    return np.minimum(_largest(_distribution(probabilities)), 1.0)


def tied(probabilities: ArrayLike) -> Booleans:
    """(N,), true where the highest probability is shared by several options, so that order decided."""
    p = _distribution(probabilities)
    return _total(p == _largest(p)[:, None], dtype=np.int64) > 1


def correct(probabilities: ArrayLike, answers: ArrayLike, n_options: ArrayLike | None = None) -> Booleans:
    """(N,), true where the prediction is the right option.

    Args:
        probabilities: (N, K).
        answers: (N,), index of the right option.
        n_options: (N,), where questions have different numbers of options: a label on padding is then an error too.
    """
    p = _distribution(probabilities)
    labels, _ = _labels(p, answers, n_options)
    return _first_largest(p) == labels


def entropy(probabilities: ArrayLike) -> Floats:
    """(N,), in bits: H_i = -sum_k p_ik log2 p_ik, with 0 log 0 = 0; from 0 to log2(n_options)."""
    p = _distribution(probabilities)
    logs = np.log2(p, out=np.zeros_like(p), where=p > 0)
    return np.abs(_total(p * logs))  # the sum is <= 0; abs, for a certain answer has entropy 0 and not -0


def nll(probabilities: ArrayLike, answers: ArrayLike, n_options: ArrayLike | None = None) -> Floats:
    """(N,), negative log-likelihood of the right option in nats, -ln p_iy; from 0 to infinity.

    Arguments as for `correct`. Its mean is `sklearn.metrics.log_loss`, which clips probabilities of 0.
    """
    with np.errstate(divide="ignore"):  # an answer held impossible costs infinitely much
        return np.abs(np.log(np.minimum(_of_answer(probabilities, answers, n_options), 1.0)))


def brier(probabilities: ArrayLike, answers: ArrayLike, n_options: ArrayLike | None = None) -> Floats:
    """(N,), Brier score over all options (Brier 1950): sum_k (p_ik - [k = y_i])^2, from 0 to 2.

    Arguments as for `correct`. With two options it is twice scikit-learn's `brier_score_loss` of one of them.
    """
    p = _distribution(probabilities)
    labels, _ = _labels(p, answers, n_options)
    gaps = p.copy()  # squares of gaps: sum p^2 - 2 p_y + 1 cancels, and may come out below 0
    gaps[np.arange(len(p)), labels] -= 1
    return _total(gaps**2)


def overconfidence(confidences: ArrayLike, hits: ArrayLike) -> float:
    """Mean confidence - accuracy, from -1 to 1; positive where the model trusts itself too much.

    Arguments as for `bins`. Its absolute value is at most `ece` with any bins.
    """
    c = _shares(confidences)
    return float(c.mean() - _hits(hits, c).mean())


def bin_index(confidences: ArrayLike, n_bins: int = N_BINS) -> Integers:
    """(N,), the equal-width bin of each confidence, from 0 to M-1: bin m is (m/M, (m+1)/M], and the first has 0 too.

    So 1.0 is in the last bin and a value on an edge in the lower one of its two bins.
    """
    c = _shares(confidences)
    _check_bins(n_bins)
    return _bin_index(c, _edges(n_bins))


def _bin_index(c: Floats, edges: Floats) -> Integers:
    index = (c * (len(edges) - 1)).astype(np.int64)
    index -= c <= edges.take(index)  # on an edge, or the product was rounded up to it
    return np.maximum(index, 0, out=index)


def equal_mass_starts(values: Floats, n_bins: int) -> Integers:
    """Where each equal-mass bin begins in ascending `values`; the M bins hold about N/M values each.

    Bin m begins at the value of rank round(m N / M); equal values are never parted, so a bin can be empty. The rule
    of hendrycks/test's calib_tools.py, `get_adaptive_bins`.
    """
    n = len(values)
    ranks = np.minimum(np.round(np.linspace(0, n, n_bins, endpoint=False)).astype(np.int64), n - 1)
    return np.searchsorted(values, values[ranks], side="left")


def bins(confidences: ArrayLike, hits: ArrayLike, n_bins: int = N_BINS, *, equal_mass: bool = False) -> Bins:
    """What a reliability diagram draws: count, mean confidence and accuracy of each bin.

    Args:
        confidences: (N,), in [0, 1].
        hits: (N,), whether each answer was right.
        n_bins: M.
        equal_mass: bins of about equally many questions (`equal_mass_starts`) instead of equal width.
    """
    c = _shares(confidences)
    right = _hits(hits, c)
    _check_bins(n_bins)
    if equal_mass:
        order = np.argsort(c)
        ascending = c[order]
        starts = equal_mass_starts(ascending, n_bins)
        count = np.diff(starts, append=len(c))
        lower, upper = ascending[starts], np.append(ascending[starts[1:]], ascending[-1])
        # reduceat gives an empty bin the value where it stands
        total, hit = (np.where(count > 0, np.add.reduceat(sums, starts), 0) for sums in (ascending, right[order]))
    else:
        edges = _edges(n_bins)
        lower, upper = edges[:-1], edges[1:]
        index = _bin_index(c, edges)
        count = np.bincount(index, minlength=n_bins)
        total, hit = (np.bincount(index, weights=sums, minlength=n_bins) for sums in (c, right))
    with np.errstate(invalid="ignore"):  # 0/0 = NaN: the mean over no question
        return Bins(lower, upper, count, total / count, hit / count)


def ece(confidences: ArrayLike, hits: ArrayLike, n_bins: int = N_BINS, *, equal_mass: bool = False) -> float:
    """Expected calibration error, equation 2: sum_m |B_m|/N * |acc(B_m) - conf(B_m)|, in [0, 1].

    Arguments as for `bins`. Equals `get_ece` of uncertainty-calibration, whose bins have the same edges. Biased
    upwards by sampling: `expected_ece` says how far.
    """
    weight, gap = _gaps(bins(confidences, hits, n_bins, equal_mass=equal_mass))
    return float(weight @ np.abs(gap))


def mce(confidences: ArrayLike, hits: ArrayLike, n_bins: int = N_BINS, *, equal_mass: bool = False) -> float:
    """Maximum calibration error (Naeini et al. 2015): max_m |acc(B_m) - conf(B_m)|, in [0, 1].

    Over the bins that hold a question, however few. Arguments as for `bins`.
    """
    _, gap = _gaps(bins(confidences, hits, n_bins, equal_mass=equal_mass))
    return float(np.abs(gap).max())


def rms(confidences: ArrayLike, hits: ArrayLike, n_bins: int = N_BINS, *, equal_mass: bool = False) -> float:
    """Root mean square calibration error, equation 5: sqrt(sum_m |B_m|/N * (acc(B_m) - conf(B_m))^2), in [0, 1].

    Arguments as for `bins`. Never less than `ece` with the same bins (Jensen).
    """
    weight, gap = _gaps(bins(confidences, hits, n_bins, equal_mass=equal_mass))
    return float(np.sqrt(weight @ gap**2))


def mad(confidences: ArrayLike, hits: ArrayLike, n_bins: int = N_BINS) -> float:
    """Mean absolute deviation calibration error, equation 6: `ece` with equal-mass bins, in [0, 1].

    After Hendrycks et al. (2019, https://arxiv.org/abs/1812.04606), whose RMS and MAD share adaptive bins.
    """
    return ece(confidences, hits, n_bins, equal_mass=True)


def rms_gce(confidences: ArrayLike, hits: ArrayLike, per_bin: int = PER_BIN) -> float:
    """The variant of RMS that fits the paper's printed column: sqrt(sqrt(sum_m (|B_m|/N * gap_m)^2)), in [0, 1].

    Equal-mass bins of about `per_bin` questions; weights are squared with the gaps and the root is taken twice, as by
    `rmsce` of https://github.com/hendrycks/test/blob/master/calib_tools.py. It shrinks with the number of questions
    (by about N^(-1/4) at one and the same calibration), so compare it at equal N alone.
    """
    c = _shares(confidences)
    if per_bin < 1:
        raise ValueError(f"per_bin is {per_bin}, expected 1 or more")
    weight, gap = _gaps(bins(c, hits, max(len(c) // per_bin, 1), equal_mass=True))
    return float(np.sqrt(np.linalg.norm(weight * gap)))


def sce(
    probabilities: ArrayLike, answers: ArrayLike, n_options: ArrayLike | None = None, n_bins: int = N_BINS
) -> float:
    """Static calibration error, equation 3: (1/K) sum_k sum_m n_mk/N_k * |acc(m, k) - conf(m, k)|, in [0, 1].

    Class k is option position k, its probability and whether it is the answer, over the N_k questions that have such
    an option; the mean is over the classes that occur. Equal-width bins.

    Args:
        probabilities: (N, K).
        answers: (N,), index of the right option.
        n_options: (N,), where questions have different numbers of options.
        n_bins: M.
    """
    return _classwise(probabilities, answers, n_options, n_bins, equal_mass=False)


def ace(
    probabilities: ArrayLike, answers: ArrayLike, n_options: ArrayLike | None = None, n_bins: int = N_BINS
) -> float:
    """Adaptive calibration error, equation 4: `sce` with equal-mass bins within each class, in [0, 1].

    Nixon et al. (2019, https://arxiv.org/abs/1904.01685). Arguments as for `sce`.
    """
    return _classwise(probabilities, answers, n_options, n_bins, equal_mass=True)


def debiased_squared_error(confidences: ArrayLike, hits: ArrayLike, n_bins: int = N_BINS) -> float:
    """Squared calibration error without the bias of sampling (Kumar et al. 2019, https://arxiv.org/abs/1909.10155).

    sum_m |B_m|/N * (gap_m^2 - acc_m (1 - acc_m) / (|B_m| - 1)) over equal-mass bins; a bin of one question adds 0, as
    in `unbiased_square_ce` of uncertainty-calibration. From -0.25 to 1: around 0, and often negative, for a calibrated
    model; below 0 on average by the variance of the confidences within a bin over |B_m| - 1, for the labels' own
    variance is p(1-p) and acc (1 - acc) has that of p too. Not a root, which would bring the bias back. Arguments as
    for `bins`.
    """
    found = bins(confidences, hits, n_bins, equal_mass=True)
    several = found.count > 1
    count, accuracy = found.count[several], found.accuracy[several]
    square = (accuracy - found.confidence[several]) ** 2 - accuracy * (1 - accuracy) / (count - 1)
    return float(count @ square / found.count.sum())


def expected_ece(confidences: ArrayLike, n_bins: int = N_BINS) -> float:
    """The ECE that a perfectly calibrated model with these confidences shows at this N on average, in [0, 1].

    E[ece] over labels drawn from the confidences: sum_m E|S_m - sum c_i| / N with S_m the number of hits in bin m.
    E|S_m - sum c_i| is `mean_absolute_deviation`: right within 0.05 % with 30 bins, 0.3 % with 10. Equal-width bins.

    Args:
        confidences: (N,), in [0, 1].
        n_bins: M.
    """
    c = _shares(confidences)
    index = bin_index(c, n_bins)
    count, total, squares = (np.bincount(index, weights=w, minlength=n_bins) for w in (np.ones_like(c), c, c * c))
    return float(mean_absolute_deviation(count, total, squares).sum() / len(c))


def mean_absolute_deviation(count: ArrayLike, total: ArrayLike, squares: ArrayLike) -> Floats:
    """E|S - sum p_i| of sums S of independent Bernoulli draws, given the count, sum and sum of squares of the p_i.

    For n draws of one probability p it is de Moivre's: 2 v (n over v) p^v (1-p)^(n-v+1) with v = floor(np) + 1.
    Where they differ, p and n are those of the binomial with the same mean and variance, p = sum p_i^2 / sum p_i and
    n = sum p_i / p, which need not be whole, after hits and misses are exchanged where misses are the rarer. Right
    within 0.05 % if the p_i lie within 1/30 of each other, 0.3 % within 1/10; from 0 to 1 it is a rough guess.
    """
    from scipy.special import gammaln, xlog1py, xlogy

    n, s, q = (np.asarray(a, dtype=np.float64) for a in (count, total, squares))
    misses = s > n / 2
    s, q = np.where(misses, n - s, s), np.where(misses, n - 2 * s + q, q)
    some = s > 0
    p = np.divide(q, s, out=np.zeros_like(s), where=some)
    p = p.clip(np.divide(s, n, out=np.zeros_like(s), where=some), 1.0)  # in exact arithmetic it lies there
    size = np.divide(s, p, out=n.copy(), where=p > 0)  # p = 0 of a sum so small that s/n is none
    v = np.floor(s) + 1
    rest = np.maximum(size - v + 1, 0.0)  # below 0 by rounding alone
    logs = gammaln(size + 1) - gammaln(v) - gammaln(rest) + xlogy(v, p) + xlog1py(rest, -p)
    return np.where(some & (p < 1), 2 * np.exp(logs), 0.0)


def smooth_ece(confidences: ArrayLike, hits: ArrayLike) -> float:
    """Smooth calibration error (Blasiok & Nakkiran 2024, https://arxiv.org/abs/2309.12236), in [0, 1]; without bins.

    smECE_s = integral over t in [0, 1] of |(1/N) sum_i k_s(t, c_i) (hit_i - c_i)|, k_s the Gaussian kernel of width s
    reflected at 0 and 1; the result is the width s at which smECE_s = s, from 2^-15 for none to 1 - 2^-15. Right within
    2^-14 of the integral, but values in one cell of the mesh are one value. relplot computes it on a coarser mesh.
    Arguments as for `bins`.
    """
    c = _shares(confidences)
    residual = np.bincount(mesh_index(c), weights=_hits(hits, c) - c, minlength=MESH)
    return float(smooth_errors(residual[None] / len(c))[0])


def mesh_index(confidences: Floats) -> Integers:
    """(N,), the cell of the mesh of `smooth_ece` that each confidence lies in."""
    return np.minimum((confidences * MESH).astype(np.int64), MESH - 1)


def smooth_errors(residuals: Floats) -> Floats:
    """(G,), smooth calibration errors of G sets of questions.

    Args:
        residuals: (G, MESH), sums of (hit - confidence) / N over the cells of the mesh.

    Gaussian smoothing with reflection multiplies the cosine series of the residuals by exp(-(pi k s)^2 / 2); smECE_s
    falls as s grows, so that bisection finds where it meets s.
    """
    from scipy.fft import dct, idct

    series = dct(residuals, axis=1)
    frequency = np.pi * np.arange(residuals.shape[1])
    low, high = np.zeros(len(residuals)), np.ones(len(residuals))
    for _ in range(SMOOTH_STEPS):
        width = (low + high) / 2
        smoothed = idct(series * np.exp(-((width[:, None] * frequency) ** 2) / 2), axis=1)
        above = np.abs(smoothed).sum(axis=1) > width
        low, high = np.where(above, width, low), np.where(above, high, width)
    return (low + high) / 2


def _classwise(
    probabilities: ArrayLike, answers: ArrayLike, n_options: ArrayLike | None, n_bins: int, *, equal_mass: bool
) -> float:
    """Mean over the classes of ECE with a class's probability as the confidence."""
    p = _distribution(probabilities)
    labels, limit = _labels(p, answers, n_options)
    errors = []
    for k in range(int(limit.max())):
        has = limit > k
        errors.append(ece(np.minimum(p[has, k], 1.0), labels[has] == k, n_bins, equal_mass=equal_mass))
    return float(np.mean(errors))


def _of_answer(probabilities: ArrayLike, answers: ArrayLike, n_options: ArrayLike | None) -> Floats:
    """(N,), the probability of the right option."""
    p = _distribution(probabilities)
    labels, _ = _labels(p, answers, n_options)
    return p[np.arange(len(p)), labels]


def _labels(p: Floats, answers: ArrayLike, n_options: ArrayLike | None) -> tuple[Integers, Integers]:
    """The checked labels, and the number of options of each question."""
    labels = np.asarray(answers)
    if labels.shape != (len(p),) or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"answers have shape {labels.shape} and type {labels.dtype}, expected {len(p)} integers")
    if n_options is None:
        limit = np.full(len(p), p.shape[1])
    else:
        present = option_mask(n_options, p.shape)
        limit = present.sum(axis=1)
        padded = ((p > 0) & ~present).any(axis=1)
        if padded.any():
            row = int(np.argmax(padded))
            raise ValueError(f"probabilities of question {row} reach beyond its {limit[row]} options: {p[row]}")
    wrong = (labels < 0) | (labels >= limit)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(f"the answer of question {row} is option {labels[row]}, but it has {limit[row]} options")
    return labels.astype(np.int64), limit


def _gaps(found: Bins) -> tuple[Floats, Floats]:
    """Share of the questions and acc - conf, of the bins that hold a question."""
    filled = found.count > 0
    return found.count[filled] / found.count.sum(), found.accuracy[filled] - found.confidence[filled]


def _edges(n_bins: int) -> Floats:
    return np.arange(n_bins + 1) / n_bins  # m/M correctly rounded, as uncertainty-calibration has it


def _check_bins(n_bins: int) -> None:
    if n_bins < 1:
        raise ValueError(f"n_bins is {n_bins}, expected 1 or more")


def _largest(values: Floats) -> Floats:
    """(N,), maxima of the rows; several times faster than `max(axis=1)` over few columns."""
    return reduce(np.maximum, values.T)


def _first_largest(values: Floats) -> Integers:
    """(N,), the column of the first maximum of each row; likewise, as `argmax(axis=1)`."""
    columns = values.T
    narrow = np.min_scalar_type(len(columns))  # of one byte: what is written and read again stays in the cache
    largest, place = columns[0], np.zeros(len(values), dtype=narrow)
    for k in range(1, len(columns)):
        np.maximum(place, np.multiply(columns[k] > largest, k, dtype=narrow), out=place)
        largest = np.maximum(largest, columns[k])
    return place.astype(np.int64)


def _total(values: NDArray[Any], dtype: Any = None) -> NDArray[Any]:
    """(N,), sums of the rows; likewise, and added from left to right, so that padding changes no bit."""
    return reduce(np.add, values.T if dtype is None else values.T.astype(dtype))


def _matrix(values: ArrayLike, name: str) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2 or array.size == 0:
        raise ValueError(f"{name} have shape {array.shape}, expected (questions, options) and at least one question")
    return array


def _distribution(probabilities: ArrayLike) -> Floats:
    p = _matrix(probabilities, "probabilities")
    if not (p.min() >= 0 and p.max() <= 1 + SUM_TOLERANCE):  # NaN fails every comparison
        row = int(np.argmin(((p >= 0) & (p <= 1 + SUM_TOLERANCE)).all(axis=1)))
        raise ValueError(f"probabilities of question {row} are not all in [0, 1]: {p[row].tolist()}")
    total = _total(p)
    if not (total.min() >= 1 - SUM_TOLERANCE and total.max() <= 1 + SUM_TOLERANCE):
        row = int(np.argmax(np.abs(total - 1) > SUM_TOLERANCE))
        raise ValueError(f"probabilities of question {row} sum to {total[row]}, expected 1")
    return p


def _shares(confidences: ArrayLike) -> Floats:
    c = np.asarray(confidences, dtype=np.float64)
    if c.ndim != 1 or c.size == 0:
        raise ValueError(f"confidences have shape {c.shape}, expected (questions,) and at least one question")
    if not (c.min() >= 0 and c.max() <= 1):  # NaN fails every comparison
        row = int(np.argmin((c >= 0) & (c <= 1)))
        raise ValueError(f"the confidence of question {row} is {c[row]}, expected a value in [0, 1]")
    return c


def _hits(hits: ArrayLike, c: Floats) -> Floats:
    right = np.asarray(hits, dtype=np.float64)
    if right.shape != c.shape:
        raise ValueError(f"hits have shape {right.shape}, expected {c.shape}: one a question")
    if not ((right == 0) | (right == 1)).all():
        raise ValueError("hits must be true or false (1 or 0) throughout")
    return right
