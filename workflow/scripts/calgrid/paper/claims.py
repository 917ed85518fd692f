"""What the paper claims, as data, and how far a table of numbers bears it out.

One function weighs every claim, on the numbers as printed and on a run's alike: over the languages of a benchmark, of
all models and SFT sets together (the counts of docs/paper.md) and of each pair of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import polars as pl

from calgrid.measure.tests import t_test
from calgrid.vocabulary import ALL, BASE

CLAIMED_ALPHA = 0.05  # the paper's level of significance
HARDLY = 0.02  # ours: a mean change of accuracy up to this is called none; the paper names no number


@dataclass(frozen=True)
class Claim:
    """A tuned arm's metric against another arm's, over languages."""

    text: str
    metric: str
    smoothing: str  # of the tuned arm
    against: str  # `base`, or the smoothing of the other arm of this model and SFT set
    sign: int  # the claimed direction of the change: 1 up, -1 down, 0 none
    weighed_by: Literal["share", "mean", "test"]
    # share: of the languages that change as claimed, holds above a half; mean: the mean change, holds where it is at
    # most HARDLY; test: a paired t-test over the languages, holds with p < CLAIMED_ALPHA and the claimed direction


CLAIMS: Mapping[str, Claim] = {
    "tuning_raises_ece": Claim("Tuning without smoothing raises ECE", "ece", "0.0", BASE, 1, "share"),
    "tuning_lowers_entropy": Claim("Tuning without smoothing lowers entropy", "entropy", "0.0", BASE, -1, "share"),
    "smoothing_0.1_lowers_ece": Claim("Smoothing 0.1 lowers ECE against none", "ece", "0.1", "0.0", -1, "share"),
    "smoothing_0.2_lowers_ece": Claim("Smoothing 0.2 lowers ECE against none", "ece", "0.2", "0.0", -1, "share"),
    "smoothing_0.1_keeps_accuracy": Claim("Smoothing 0.1 hardly changes accuracy", "accuracy", "0.1", "0.0", 0, "mean"),
    "smoothing_0.1_lowers_ece_significantly": Claim(
        "Smoothing 0.1 lowers ECE significantly, over languages", "ece", "0.1", "0.0", -1, "test"
    ),
}
KEYS = ["claim", "benchmark", "model", "sft"]
SCHEMA = {
    **dict.fromkeys(KEYS, pl.String),
    **{"n": pl.Int64, "result": pl.Float64, "mean_change": pl.Float64, "holds": pl.Boolean},
}


def pairs(numbers: pl.DataFrame, claim: Claim) -> pl.DataFrame:
    """The two sides of a claim.

    Args:
        numbers: a row a number: benchmark, language, model, sft, smoothing, metric, value; of single languages.
        claim: which arms of them to set against each other.

    Returns: benchmark, model, sft, language and change (value of the tuned arm - value of the other one), a row
        wherever both are there.
    """
    of_metric = numbers.filter(metric=claim.metric)
    tuned = of_metric.filter(pl.col("sft") != BASE, smoothing=claim.smoothing)
    keys = ["benchmark", "model", "language"] + (["sft"] if claim.against != BASE else [])
    other = of_metric.filter(sft=BASE) if claim.against == BASE else of_metric.filter(smoothing=claim.against)
    return tuned.join(other.select(*keys, other="value"), on=keys).select(
        "benchmark", "model", "sft", "language", value="value", other="other", change=pl.col("value") - pl.col("other")
    )


def weigh(numbers: pl.DataFrame) -> pl.DataFrame:
    """How far numbers bear each claim out.

    Args:
        numbers: as for `pairs`.

    Returns: a row a claim, benchmark, and model and SFT set (`all` for all of them together): n, the result (a share of
        n, the mean change, or the test's p), the mean change, and whether the claim holds by it (null where no test is
        possible). A test over all models and SFT sets would count languages repeatedly: there n is the number of
        pairs of model and SFT set with a test, and the result the share of them in which the claim holds.
    """
    rows = []
    for name, claim in CLAIMS.items():
        for (benchmark,), part in pairs(numbers, claim).group_by("benchmark", maintain_order=True):
            single = [
                (*arm, *_weigh(group, claim)) for arm, group in part.group_by("model", "sft", maintain_order=True)
            ]
            together = _count(single, part) if claim.weighed_by == "test" else _weigh(part, claim)
            rows += [(name, benchmark, *row) for row in [(ALL, ALL, *together), *single]]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def _weigh(part: pl.DataFrame, claim: Claim) -> tuple[int, float | None, float, bool | None]:
    """n, result, mean change, holds."""
    change = part["change"]
    mean = float(change.mean())  # type: ignore[arg-type]
    if claim.weighed_by == "share":
        share = float((change.sign() == claim.sign).mean())  # type: ignore[arg-type]
        return len(part), share, mean, share > 0.5
    if claim.weighed_by == "mean":
        return len(part), mean, mean, abs(mean) <= HARDLY
    p = t_test(part["value"], part["other"]).p
    return len(part), p, mean, None if p is None else p < CLAIMED_ALPHA and mean * claim.sign > 0


def _count(single: list[tuple], part: pl.DataFrame) -> tuple[int, float | None, float, bool | None]:
    tested = [row[-1] for row in single if row[-1] is not None]
    share = sum(tested) / len(tested) if tested else None
    return len(tested), share, float(part["change"].mean()), None if share is None else share > 0.5  # type: ignore[arg-type]
