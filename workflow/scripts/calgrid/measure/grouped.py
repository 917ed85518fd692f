"""Calibration metrics of many groups of questions at once: the fast path of `calgrid.calibration`, and equal to it.

Questions are cut into *atoms*, the finest parts that no group divides; sums over an atom's questions are made once and
added up for every group that holds the atom:

    groups       pooled | de        | yo        | low       | STEM
    atoms        all    | de-STEM, de-humanities | yo-STEM ... | yo-STEM, yo-humanities | de-STEM, yo-STEM

Bins of equal width are sums over (atom, bin). Bins of equal mass need each group's own order: questions are sorted
once by confidence, and a stable sort by group makes of it the order within each group.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import lcm
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from calgrid import calibration
from calgrid.calibration import Booleans, Floats, Integers
from calgrid.measure.definitions import per_question, value
from calgrid.measure.metrics import METRICS
from calgrid.measure.questions import Questions

if TYPE_CHECKING:  # figures import this module for `Questions` alone
    from scipy import sparse

Result = dict[str, Floats]


@dataclass(frozen=True)
class Groups:
    """G groups of N questions, by several groupings; a question is in at most one group of a grouping."""

    codes: Sequence[Integers]  # of each grouping, (N,): a question's group, from 0; -1 in none
    sizes: Sequence[int]  # of each grouping: how many groups it has

    @cached_property
    def atoms(self) -> tuple[Integers, "sparse.csr_array"]:
        """(N,) the atom of each question, and the (G, A) matrix that adds the atoms up for the groups."""
        from scipy import sparse

        key = np.zeros(len(self.codes[0]), dtype=np.int64)
        for codes, size in zip(self.codes, self.sizes, strict=True):
            _, key = np.unique(key * (size + 1) + codes + 1, return_inverse=True)  # dense again, so that no key is huge
        first = np.unique(key, return_index=True)[1]
        offsets = np.cumsum([0, *self.sizes[:-1]])
        member = np.stack([codes[first] for codes in self.codes])  # (groupings, A)
        rows = (member + offsets[:, None])[member >= 0]
        columns = np.broadcast_to(np.arange(len(first)), member.shape)[member >= 0]
        shape = (sum(self.sizes), len(first))
        return key, sparse.csr_array((np.ones(len(rows)), (rows, columns)), shape=shape)

    def orders(self, values: Floats, where: Integers) -> Iterator[tuple[slice, Integers, Integers]]:
        """The questions `where` in ascending order of `values` within each group, by grouping.

        Yields: the grouping's groups among all G, the questions in order, and the (groups + 1,) bounds of each group.
        """
        ascending = where[np.argsort(values[where])]
        first = 0
        for codes, size in zip(self.codes, self.sizes, strict=True):
            small = codes.astype(np.int16 if size < 2**15 else np.int64)[ascending]  # 16 bits are sorted by radix
            order = ascending if size == 1 and small.min() == 0 else ascending[np.argsort(small, kind="stable")]
            counts = np.bincount(small.astype(np.int64) + 1, minlength=size + 1)
            bounds = np.cumsum(counts)
            yield slice(first, first + size), order, bounds
            first += size


def measure(questions: Questions, groups: Groups, bins: Sequence[int]) -> list[Result]:
    """The metrics of each group.

    Args:
        questions: N checked questions (`calibration.distribution`).
        groups: G groups, none of them empty.
        bins: numbers of bins.

    Returns: for each number of bins, the metrics by name, each (G,). Those without bins are the same in all.
    """
    confidence, hits = questions.confidence, questions.correct
    atom, add = groups.atoms
    n_atoms = add.shape[1]
    n = add @ np.bincount(atom, minlength=n_atoms).astype(np.float64)

    def mean(values: NDArray[np.generic]) -> Floats:
        return add @ np.bincount(atom, weights=values, minlength=n_atoms) / n

    common: Result = {
        **{name: mean(per_question(metric, questions)) for name, metric in METRICS.items() if metric.of == "mean"},
        "smooth_ece": _smooth_ece(confidence, hits, groups, n),
        "rms_gce": np.empty(len(n)),
    }
    common["overconfidence"] = common["confidence"] - common["accuracy"]
    results = [dict(common) for _ in bins]

    fine = lcm(*bins)  # every bin of each number is a union of these: edges m/M are the same doubles
    index = calibration.bin_index(confidence, fine)
    count, total, right, squares = (
        _histogram(atom, index, weights, add, fine) for weights in (None, confidence, hits, confidence**2)
    )
    for result, m in zip(results, bins, strict=True):
        c, t, r, s = (_merged(sums, m) for sums in (count, total, right, squares))
        gap = np.abs(r - t)  # of the sums: |B| times the gap
        result["ece"] = gap.sum(axis=1) / n
        result["rms"] = np.sqrt(_ratio(gap**2, c).sum(axis=1) / n)
        result["mce"] = _ratio(gap, c).max(axis=1)
        result["expected_ece"] = calibration.mean_absolute_deviation(c, t, s).sum(axis=1) / n

    everyone = np.arange(len(confidence))
    for part, order, bounds in groups.orders(confidence, everyone):
        values, right_in_order = confidence[order], hits[order]
        per_bin = np.maximum(np.diff(bounds) // calibration.PER_BIN, 1)
        c, t, r, owner = _equal_mass(values, right_in_order, bounds, per_bin)
        squared = np.bincount(owner, weights=(r - t) ** 2, minlength=len(per_bin))
        common["rms_gce"][part] = np.sqrt(np.sqrt(squared) / n[part])
        for result, m in zip(results, bins, strict=True):
            c, t, r, owner = _equal_mass(values, right_in_order, bounds, np.full(len(per_bin), m))
            result.setdefault("mad", np.empty(len(n)))[part] = np.bincount(owner, np.abs(r - t)) / n[part]
            share = _ratio(r, c)
            square = (_ratio(r - t, c) ** 2 - _ratio(share * (1 - share), c - 1)) * np.where(c > 1, c, 0)
            result.setdefault("debiased_squared_error", np.empty(len(n)))[part] = np.bincount(owner, square) / n[part]

    _classwise(questions, groups, atom, add, fine, bins, results)
    _by_definition(questions, groups, bins, results)
    return results


def _smooth_ece(confidence: Floats, hits: Booleans, groups: Groups, n: Floats) -> Floats:
    cell = calibration.mesh_index(confidence)
    residual = hits - confidence
    sums = []
    for codes, size in zip(groups.codes, groups.sizes, strict=True):
        inside = slice(None) if codes.min() >= 0 else codes >= 0
        key = codes[inside] * calibration.MESH + cell[inside]
        flat = np.bincount(key, weights=residual[inside], minlength=size * calibration.MESH)
        sums.append(flat.reshape(size, calibration.MESH))
    return calibration.smooth_errors(np.concatenate(sums) / n[:, None])


def _classwise(
    questions: Questions,
    groups: Groups,
    atom: Integers,
    add: "sparse.csr_array",
    fine: int,
    bins: Sequence[int],
    results: Sequence[Result],
) -> None:
    """SCE and ACE: means over the option positions that occur in a group."""
    n_groups, n_classes = add.shape[0], questions.probabilities.shape[1]
    occurring = np.zeros(n_groups)
    static, adaptive = (np.zeros((len(bins), n_groups)) for _ in range(2))
    for k in range(n_classes):
        where = np.flatnonzero(questions.n_options > k)
        p = np.minimum(questions.probabilities[:, k], 1.0)
        is_answer = questions.answers == k
        inside, part_atom = p[where], atom[where]
        index = calibration.bin_index(inside, fine)
        count = add @ np.bincount(part_atom, minlength=add.shape[1]).astype(np.float64)  # N_k
        gap = _histogram(part_atom, index, is_answer[where] - inside, add, fine)
        occurring += count > 0
        for row, m in enumerate(bins):
            static[row] += _ratio(np.abs(_merged(gap, m)).sum(axis=1), count)
        for part, order, bounds in groups.orders(p, where):
            values, right = p[order], is_answer[order]
            filled = np.diff(bounds) > 0
            for row, m in enumerate(bins):
                _, t, r, owner = _equal_mass(values, right, bounds, np.where(filled, m, 0))
                error = np.bincount(owner, np.abs(r - t), minlength=len(filled))
                adaptive[row, part] += _ratio(error, count[part])
    for row, result in enumerate(results):
        result["sce"] = static[row] / occurring
        result["ace"] = adaptive[row] / occurring


def _by_definition(questions: Questions, groups: Groups, bins: Sequence[int], results: Sequence[Result]) -> None:
    """The metrics that have no fast path above, group by group."""
    slow = [(name, metric) for name, metric in METRICS.items() if name not in results[0]]
    if not slow:
        return
    parts = [
        questions.take(codes == group)
        for codes, size in zip(groups.codes, groups.sizes, strict=True)
        for group in range(size)
    ]
    for name, metric in slow:
        for result, m in zip(results, bins, strict=True):
            result[name] = np.array([value(metric, part, m) for part in parts])


def _histogram(
    atom: Integers, index: Integers, weights: NDArray[np.generic] | None, add: "sparse.csr_array", n_bins: int
) -> Floats:
    """(G, n_bins), sums of `weights` (or counts) in the bins of each group."""
    size = add.shape[1] * n_bins
    flat = np.bincount(atom * n_bins + index, weights=weights, minlength=size)
    return add @ flat.reshape(-1, n_bins).astype(np.float64, copy=False)


def _merged(sums: Floats, n_bins: int) -> Floats:
    """(G, n_bins), of finer bins that they consist of."""
    return sums.reshape(len(sums), n_bins, -1).sum(axis=2)


def _equal_mass(
    values: Floats, hits: Booleans, bounds: Integers, n_bins: Integers
) -> tuple[Floats, Floats, Floats, Integers]:
    """Count, sum of values, hits and group of each equal-mass bin of each group (`calibration.equal_mass_starts`).

    Args:
        values: ascending within each group.
        hits: likewise.
        bounds: (G + 1,), where each group begins, and the last one ends.
        n_bins: (G,), of each group; 0 for one without questions.
    """
    sizes = np.diff(bounds)
    group = np.repeat(np.arange(len(sizes)), n_bins)
    place = np.arange(len(group)) - np.repeat(np.cumsum(n_bins) - n_bins, n_bins)  # 0, 1, ... in each group
    step = _ratio(sizes, n_bins)
    ranks = np.minimum(np.round(place * step[group]).astype(np.int64), sizes[group] - 1)
    starts = bounds[group] + ranks
    for i in np.flatnonzero((ranks > 0) & (values[starts] == values[starts - 1])):  # equal values are never parted
        begin = bounds[group[i]]
        starts[i] = begin + np.searchsorted(values[begin : bounds[group[i] + 1]], values[starts[i]], side="left")
    stops = np.append(starts[1:], bounds[-1])
    last = np.append(group[1:] != group[:-1], True)
    stops[last] = bounds[group[last] + 1]
    count = stops - starts
    total, right = (
        np.where(count > 0, np.add.reduceat(sums, starts), 0.0) for sums in (values, hits.astype(np.float64))
    )
    return count.astype(np.float64), total, right, group


def _ratio(numerator: NDArray[np.generic], denominator: NDArray[np.generic]) -> Floats:
    """A quotient that is 0 where the denominator is."""
    return np.divide(numerator, denominator, out=np.zeros(np.shape(denominator)), where=np.asarray(denominator) > 0)
