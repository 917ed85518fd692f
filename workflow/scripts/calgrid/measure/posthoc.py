"""Post-hoc calibration from stored scores alone: temperature scaling, and contextual calibration.

Temperature scaling (Guo et al. 2017, https://arxiv.org/abs/1706.04599) divides scores by one T > 0 before the softmax:
predictions stay, confidences move. Contextual calibration (Zhao et al. 2021, https://arxiv.org/abs/2102.09690) divides
each option's probability by what the model gives it where the question says nothing, and renormalises.

Questions are cut in two by a hash of their ids: temperatures are fitted on one part, everything is measured on the
other. An id is the same in every language, so that no translation of a question is on both sides.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from calgrid import calibration
from calgrid.calibration import Booleans, Floats, Integers
from calgrid.errors import UserError
from calgrid.measure.definitions import per_question
from calgrid.measure.metrics import MEANS, METRICS
from calgrid.measure.questions import Questions
from calgrid.scoring.confidence import option_values
from calgrid.vocabulary import ALL, LANGUAGE, POOLED, POSTHOC_SHARE, TIER

LEAST, MOST = 1e-3, 1e3  # bounds of a temperature
STEPS = 100  # of Newton's method at most; bisection alone needs 60
TOLERANCE = 1e-10  # of a temperature, relative

UNCALIBRATED = "none"
OWN = "temperature_language"
TRANSFER = "temperature_transfer"
POOLED_FIT = "temperature_pooled"
CONTEXTUAL = "contextual"
CALIBRATIONS = (UNCALIBRATED, OWN, TRANSFER, POOLED_FIT, CONTEXTUAL)

MEASURED = ("accuracy", "entropy", "confidence", "nll", "brier", "ece", "rms", "sce", "expected_ece")
TOPICS = ("subject", "category")  # that the examples before a question go by


class Calibrated(NamedTuple):
    """One calibration of one confidence method, on the M measured questions."""

    calibration: str
    values: Floats  # (M, K); their softmax is the distribution
    temperature: Floats  # (languages,), of each language; NaN where there is none
    n_fit: Integers  # (languages,), on how many questions, or prompts, that of each language was fitted
    shared: bool  # whether these are the same questions for all languages


def split(question_ids: Iterable[str], share: float = POSTHOC_SHARE) -> Booleans:
    """(N,), true where a question is in the part that temperatures are fitted on, about `share` of all.

    By a hash of the id alone: the same for every language, model, benchmark and run. Another hash than the one by
    which `max_questions` samples, which would leave a sample on one side.
    """
    bound = int(share * 2**64)
    digests = (sha256(f"posthoc {name}".encode()).digest() for name in question_ids)
    return np.array([int.from_bytes(digest[:8], "big") < bound for digest in digests], bool)


def temperature(values: ArrayLike, answers: ArrayLike, n_options: ArrayLike, groups: ArrayLike | None = None) -> Floats:
    """The temperature of each group: T in [LEAST, MOST] that minimises the mean of -ln softmax(values / T)[answer].

    In the inverse temperature b the loss is convex: its derivative, mean(E_p[v] - v_answer) with p = softmax(b v),
    rises with b. Newton's method finds its zero, kept inside a bracket by bisection of log b, all groups at once.
    There is none for b > 0 where every answer scores highest of its question (T would go to 0), and where answers
    score no better than options do on average (T would go to infinity): then T is the bound.

    Args:
        values: (N, K), a log-probability or another score of each option, in nats; padding is ignored.
        answers: (N,), index of the right option.
        n_options: (N,), from 2 to K.
        groups: (N,), each question's group, from 0; default: one group of all.

    Returns: (G,) temperatures. Those of values times a constant are this times the constant (between the bounds).

    Raises ValueError for an empty group, and what `calibration.distribution` raises.
    """
    v = np.asarray(values, dtype=np.float64)
    calibration.correct(calibration.distribution(v, n_options), answers, n_options)  # for what they refuse
    group = np.zeros(len(v), np.int64) if groups is None else np.asarray(groups)
    size = np.bincount(group)
    if not size.all():
        raise ValueError(f"group {int(np.argmin(size))} has no question to fit a temperature on")
    absent = ~calibration.option_mask(n_options, v.shape).T
    v = np.ascontiguousarray(v.T)  # (K, N): sums over few options are several times faster so
    v = np.where(absent, 0.0, v - np.where(absent, -np.inf, v).max(axis=0))
    right = v[np.asarray(answers), np.arange(v.shape[1])]
    padded = bool(absent.any())

    def mean(per_question: Floats) -> Floats:
        return np.bincount(group, weights=per_question, minlength=len(size)) / size

    def slope_and_curvature(inverse: Floats) -> tuple[Floats, Floats]:
        weight = np.exp(v * inverse[group])
        if padded:
            weight[absent] = 0.0
        total = weight.sum(axis=0)
        weight *= v
        first = weight.sum(axis=0) / total
        weight *= v
        return mean(first - right), mean(weight.sum(axis=0) / total - first**2)

    low, high = np.full(len(size), 1 / MOST), np.full(len(size), 1 / LEAST)
    at_low, at_high = slope_and_curvature(low)[0] >= 0, slope_and_curvature(high)[0] <= 0
    b = np.ones(len(size))
    for _ in range(STEPS):
        slope, curvature = slope_and_curvature(b)
        low, high = np.where(slope < 0, b, low), np.where(slope < 0, high, b)
        with np.errstate(divide="ignore", invalid="ignore"):  # no curvature: bisection
            newton = b - slope / curvature
        following = np.where((newton > low) & (newton < high), newton, np.sqrt(low * high))
        following = np.where(slope == 0, b, following)
        settled = np.abs(following - b) <= TOLERANCE * b
        b = following
        if (settled | at_low | at_high).all():
            break
    return np.where(at_low, MOST, np.where(at_high, LEAST, 1 / b))


def contextual(values: Floats, n_options: Integers, prior: Floats) -> Floats:
    """(N, K), scores whose softmax is softmax(values) / prior, renormalised (Zhao et al. 2021).

    Args:
        values: (N, K).
        n_options: (N,).
        prior: (N, K), the mean distribution over content-free prompts; above 0 where a column is an option.
    """
    present = calibration.option_mask(n_options, values.shape)
    return values - np.log(prior, out=np.zeros_like(prior), where=present)


def content_free_prior(scores: pl.DataFrame, content_free: pl.DataFrame, method: str) -> tuple[Floats, Integers]:
    """The mean distribution over the content-free prompts that go with each question.

    Args:
        scores: N questions, with the columns TOPICS where `content_free` has values in them.
        content_free: scores of content-free prompts, with the columns TOPICS.
        method: the confidence method.

    Returns: (N, K), 0 beyond a question's options, and (N,) the number of prompts.

    Raises UserError where a question has none with its number of options.
    """
    distributions = calibration.distribution(*option_values(content_free, method))
    keys = ["language", "n_options", *(name for name in TOPICS if content_free[name].null_count() < len(content_free))]
    priors = (
        content_free.select(keys)
        .with_columns(pl.Series("prior", distributions, dtype=pl.Array(pl.Float64, distributions.shape[1])))
        .with_columns(pl.col("prior").arr.to_list())
        .group_by(keys, maintain_order=True)
        .agg(pl.col("prior"))
    )
    means = np.stack([np.mean(rows, axis=0) for rows in priors["prior"].to_list()])
    places = priors.select(*keys, n_prompts=pl.col("prior").list.len()).with_row_index("place")
    found = scores.select(keys).join(places, on=keys, how="left", nulls_equal=True, maintain_order="left")
    if found["place"].null_count():
        row = scores.row(int(found["place"].is_null().arg_max() or 0), named=True)
        raise UserError(
            f"language {row['language']!r}, question {row['question_id']!r}: no content-free prompt with "
            f"{row['n_options']} options was scored; look for why in the manifest beside the tokens"
        )
    place = found["place"].to_numpy()
    wanted = int(scores["n_options"].max())  # type: ignore[arg-type]
    return means[place][:, :wanted], found["n_prompts"].to_numpy().astype(np.int64)


def measure(
    scores: pl.DataFrame,
    methods: Sequence[str],
    n_bins: int,
    *,
    posthoc_share: float = POSTHOC_SHARE,
    transfer_language: str | None = None,
    tiers: Mapping[str, Sequence[str]] | None = None,
    content_free: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Every calibration of one cell, fitted on one part of the questions and measured on the other.

    Args:
        scores: of the languages to measure, as `stored.read_scores` returns them: sorted by language.
        methods: confidence methods.
        n_bins: equal-width bins of ECE, RMS and SCE.
        posthoc_share: of the questions, that temperatures are fitted on.
        transfer_language: whose temperature `temperature_transfer` takes to all languages; left out without it.
        tiers: languages of each resource tier.
        content_free: scores of content-free prompts, for `contextual`, which the letters alone have.

    Returns: a row a group, confidence method and calibration. Groups, by grouping, language and member: `pooled` (all,
        all), `language` (code, code) and `tier` (all, tier). Columns: temperature (null where languages of the group
        have different ones, or none), at_bound (whether any of the group's temperatures is LEAST or MOST), n_fit
        (questions that the group's temperatures were fitted on; of `contextual`, prompts), n_questions (measured),
        n_languages, n_bins and MEASURED (`calibration`; entropy in bits, nll in nats).

    Raises UserError for a language with no question on one of the sides.
    """
    names = scores["question_id"].unique()
    in_fit = pl.DataFrame({"question_id": names, "fit": split(names, posthoc_share)})
    placed = scores.select("question_id").join(in_fit, on="question_id", how="left", maintain_order="left")
    fit = placed["fit"].to_numpy()
    languages = scores["language"].unique().sort().to_list()
    code = scores["language"].cast(pl.Enum(languages)).to_physical().to_numpy().astype(np.int64)
    n_fit, n_measured = (np.bincount(code[part], minlength=len(languages)) for part in (fit, ~fit))
    for side, count in (("fitted", n_fit), ("measured", n_measured)):
        if not count.all():
            raise UserError(
                f"language {languages[int(np.argmin(count))]!r}: none of its questions is in the part that is {side}; "
                "score more questions, or change evaluation.posthoc_share"
            )
    measured = scores.filter(~pl.Series(fit))
    groups = list(_groups(languages, code[~fit], tiers or {}))
    rows: list[dict[str, Any]] = []
    for method in methods:
        arms = _temperatures(scores, method, fit, code, languages, transfer_language)
        if content_free is not None and method == "choice":
            arms.append(_contextual(measured, content_free, method, code[~fit]))
        for arm in arms:
            questions = _Questions(measured, arm)
            for (grouping, language, member), where, members in groups:
                temperatures = arm.temperature[members]
                rows.append(
                    {
                        "grouping": grouping,
                        "language": language,
                        "member": member,
                        "confidence_method": method,
                        "calibration": arm.calibration,
                        "temperature": float(temperatures[0]) if len(np.unique(temperatures)) == 1 else None,
                        "at_bound": bool(np.isin(temperatures, (LEAST, MOST)).any()),
                        "n_fit": int(arm.n_fit[members[0]] if arm.shared else arm.n_fit[members].sum()),
                        "n_languages": len(members),
                        "n_bins": n_bins,
                        **questions.metrics(where, n_bins),
                    }
                )
    counts = ("n_fit", "n_questions", "n_languages")
    return pl.DataFrame(
        rows,
        schema_overrides={"temperature": pl.Float64, "n_bins": pl.UInt16, **dict.fromkeys(counts, pl.UInt32)},
        infer_schema_length=None,
    ).with_columns(pl.col("temperature").fill_nan(None))


def _temperatures(
    scores: pl.DataFrame, method: str, fit: Booleans, code: Integers, languages: Sequence[str], transfer: str | None
) -> list[Calibrated]:
    """No calibration, and the temperatures; values of the measured part."""
    values, n_options = option_values(scores, method)
    answers = scores["answer"].to_numpy().astype(np.int64)[fit]
    own = temperature(values[fit], answers, n_options[fit], code[fit])
    pooled = temperature(values[fit], answers, n_options[fit])[0]
    n_fit = np.bincount(code[fit], minlength=len(languages))
    nothing, everything = np.zeros_like(n_fit), np.full_like(n_fit, n_fit.sum())
    found = [(UNCALIBRATED, np.ones_like(own), nothing, True), (OWN, own, n_fit, False)]
    if transfer in languages:
        source = languages.index(transfer)
        found.append((TRANSFER, np.full_like(own, own[source]), np.full_like(n_fit, n_fit[source]), True))
    found.append((POOLED_FIT, np.full_like(own, pooled), everything, True))
    of_measured, measured = code[~fit], values[~fit]
    return [Calibrated(name, measured / t[of_measured, None], t, n, shared) for name, t, n, shared in found]


def _contextual(measured: pl.DataFrame, content_free: pl.DataFrame, method: str, code: Integers) -> Calibrated:
    values, n_options = option_values(measured, method)
    prior, n_prompts = content_free_prior(measured, content_free, method)
    first = np.unique(code, return_index=True)[1]  # every language has as many prompts a question as any of its own
    n_fit = n_prompts[first]
    return Calibrated(CONTEXTUAL, contextual(values, n_options, prior), np.full(len(first), np.nan), n_fit, shared=True)


def _groups(
    languages: Sequence[str], code: Integers, tiers: Mapping[str, Sequence[str]]
) -> Iterator[tuple[tuple[str, str, str], Any, Integers]]:
    """Grouping, language and member; where its questions are; and the places of its languages."""
    yield (POOLED, ALL, ALL), slice(None), np.arange(len(languages))
    bounds = np.searchsorted(code, np.arange(len(languages) + 1))  # questions are sorted by language
    for place, language in enumerate(languages):
        yield (LANGUAGE, language, language), slice(bounds[place], bounds[place + 1]), np.array([place])
    for tier, codes in tiers.items():
        members = np.array([place for place, language in enumerate(languages) if language in codes], np.int64)
        if len(members):
            yield (TIER, ALL, tier), np.flatnonzero(np.isin(code, members)), members


class _Questions:
    """Measured questions under one calibration; what needs no group is computed once."""

    def __init__(self, scores: pl.DataFrame, arm: Calibrated):
        self.answers = scores["answer"].to_numpy().astype(np.int64)
        self.n_options = scores["n_options"].to_numpy().astype(np.int64)
        self.probabilities = calibration.distribution(arm.values, self.n_options)
        questions = Questions(self.probabilities, self.answers, self.n_options)
        self.means = {name: per_question(METRICS[name], questions) for name in MEANS}

    def metrics(self, where: Any, n_bins: int) -> dict[str, float | int]:
        """The metrics of the questions `where`: a slice or places."""
        confidence, hits = self.means["confidence"][where], self.means["accuracy"][where]
        p, answers, n_options = self.probabilities[where], self.answers[where], self.n_options[where]
        return {
            "n_questions": len(confidence),
            **{name: float(values[where].mean()) for name, values in self.means.items()},
            "ece": calibration.ece(confidence, hits, n_bins),
            "rms": calibration.rms(confidence, hits, n_bins),
            "sce": calibration.sce(p, answers, n_options, n_bins),
            "expected_ece": calibration.expected_ece(confidence, n_bins),
        }
