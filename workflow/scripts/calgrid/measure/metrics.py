"""The metrics: one record each, which the configuration, the tables and their heads, arrows and bold numbers read.

To add a metric, add its record here and, in `measure.definitions`, a function of the same name.
Parsing the Snakefile imports this module: nothing heavy at its head.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One number about a group of questions."""

    name: str  # in the configuration, its column in results/metrics, and its function in `measure.definitions`
    head: str  # of its column in a table
    label: str  # in a caption
    unit: str = ""  # where it has one
    of: Literal["mean", "group", "bins"]  # a mean over questions, a number about all of them, or one by bins
    better: Literal["higher", "lower", "neither"]
    # How two arms are tested beside the t-test over languages: over `questions` (a mean over them; by Student's t and
    # the bootstrap) or by the `bootstrap` alone (`measure.bootstrap` has its resampled sums).
    tested: Literal["questions", "bootstrap"] | None = None

    def __post_init__(self) -> None:
        if self.tested == "questions" and self.of != "mean":
            raise TypeError(f"metric {self.name}: tested over questions, but not a mean over them")

    @property
    def named(self) -> str:
        """As a caption names it: with its unit."""
        return f"{self.label} ({self.unit})" if self.unit else self.label

    @property
    def sign(self) -> int:
        """1 where higher is better, -1 where lower is, 0 where neither is."""
        return {"higher": 1, "lower": -1, "neither": 0}[self.better]


def _metrics(*metrics: Metric) -> Mapping[str, Metric]:
    return {metric.name: metric for metric in metrics}


METRICS = _metrics(
    Metric(name="accuracy", head="Acc.", label="accuracy", of="mean", better="higher", tested="questions"),
    Metric(name="entropy", head="Entr.", label="entropy", unit="bits", of="mean", better="neither", tested="questions"),
    Metric(name="confidence", head="Conf.", label="confidence", of="mean", better="neither", tested="questions"),
    Metric(
        name="overconfidence", head="Over.", label="over-confidence", of="group", better="neither", tested="bootstrap"
    ),
    Metric(name="nll", head="NLL", label="NLL", unit="nats", of="mean", better="lower", tested="questions"),
    Metric(name="brier", head="Brier", label="Brier score", of="mean", better="lower", tested="questions"),
    Metric(name="ece", head="ECE", label="ECE", of="bins", better="lower", tested="bootstrap"),
    Metric(name="expected_ece", head="E[ECE]", label="ECE of a calibrated model", of="bins", better="neither"),
    Metric(name="mce", head="MCE", label="MCE", of="bins", better="lower"),
    Metric(name="sce", head="SCE", label="SCE", of="bins", better="lower", tested="bootstrap"),
    Metric(name="ace", head="ACE", label="ACE", of="bins", better="lower"),
    Metric(name="rms", head="RMS", label="RMS calibration error", of="bins", better="lower", tested="bootstrap"),
    Metric(name="mad", head="MAD", label="MAD", of="bins", better="lower"),
    Metric(name="rms_gce", head="RMS GCE", label="RMS GCE", of="group", better="lower", tested="bootstrap"),
    Metric(name="smooth_ece", head="smECE", label="smECE", of="group", better="lower"),
    Metric(name="debiased_squared_error", head="Debiased", label="debiased squared error", of="bins", better="lower"),
    Metric(name="tie_share", head="Ties", label="share of ties", of="mean", better="neither"),
)
TABLE_METRICS = ("accuracy", "entropy", "ece", "rms")  # the paper's columns
MEANS = tuple(name for name, metric in METRICS.items() if metric.tested == "questions")  # over questions
