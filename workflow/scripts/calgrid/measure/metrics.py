"""The metrics: name, definition, unit, and which side is better. One record each; everything else is read from here.

To add a metric, add a record to `METRICS`: its column in results/metrics, the configuration's checks, the tables, their
heads, arrows and bold numbers follow. Its definition is a function of a group's questions; `measure.grouped` computes
those of the paper faster, for many groups at once, and is held against these definitions by tests.

Parsing the Snakefile imports this module, so `calibration` (NumPy) is imported where a definition is called.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from calgrid.calibration import Booleans, Floats
    from calgrid.measure.questions import Questions


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One number about a group of questions.

    One of `of_question`, `of_group` and `of_bins` defines it.
    """

    name: str  # in the configuration, and its column in results/metrics
    head: str  # of its column in a table
    label: str  # in a caption
    better: Literal["higher", "lower", "neither"]
    unit: str = ""  # of what has one
    of_question: "Callable[[Questions], Floats | Booleans] | None" = None  # (N,): the metric is its mean
    of_group: "Callable[[Questions], float] | None" = None
    of_bins: "Callable[[Questions, int], float] | None" = None  # with the number of bins
    # How two arms are tested beside the t-test over languages: `questions` (a mean over them: Student's t and the
    # bootstrap) or `bootstrap` alone (`measure.bootstrap` has its resampled sums).
    tested: Literal["questions", "bootstrap"] | None = None

    def __post_init__(self) -> None:
        if [self.of_question, self.of_group, self.of_bins].count(None) != 2:
            raise TypeError(f"metric {self.name}: give exactly one of of_question, of_group and of_bins")
        if self.tested == "questions" and self.of_question is None:
            raise TypeError(f"metric {self.name}: tested over questions, but not a mean over them (of_question)")

    @property
    def binned(self) -> bool:
        return self.of_bins is not None

    @property
    def named(self) -> str:
        """As a caption names it: with its unit."""
        return f"{self.label} ({self.unit})" if self.unit else self.label

    @property
    def sign(self) -> int:
        """1 where higher is better, -1 where lower is, 0 where neither is."""
        return {"higher": 1, "lower": -1, "neither": 0}[self.better]

    def of(self, questions: "Questions", n_bins: int) -> float:
        """The metric of a group of questions, by its definition."""
        if self.of_bins is not None:
            return float(self.of_bins(questions, n_bins))
        if self.of_group is not None:
            return float(self.of_group(questions))
        assert self.of_question is not None
        return float(self.of_question(questions).mean())


def _calibration() -> Any:
    from calgrid import calibration

    return calibration


def _metrics(*metrics: Metric) -> Mapping[str, Metric]:
    return {metric.name: metric for metric in metrics}


METRICS = _metrics(
    Metric(
        name="accuracy", head="Acc.", label="accuracy", better="higher", tested="questions",
        of_question=lambda q: q.correct,
    ),
    Metric(
        name="entropy", head="Entr.", label="entropy", unit="bits", better="neither", tested="questions",
        of_question=lambda q: _calibration().entropy(q.probabilities),
    ),
    Metric(
        name="confidence", head="Conf.", label="confidence", better="neither", tested="questions",
        of_question=lambda q: q.confidence,
    ),
    Metric(
        name="overconfidence", head="Over.", label="over-confidence", better="neither", tested="bootstrap",
        of_group=lambda q: _calibration().overconfidence(q.confidence, q.correct),
    ),
    Metric(
        name="nll", head="NLL", label="NLL", unit="nats", better="lower", tested="questions",
        of_question=lambda q: _calibration().nll(q.probabilities, q.answers, q.n_options),
    ),
    Metric(
        name="brier", head="Brier", label="Brier score", better="lower", tested="questions",
        of_question=lambda q: _calibration().brier(q.probabilities, q.answers, q.n_options),
    ),
    Metric(
        name="ece", head="ECE", label="ECE", better="lower", tested="bootstrap",
        of_bins=lambda q, n_bins: _calibration().ece(q.confidence, q.correct, n_bins),
    ),
    Metric(
        name="expected_ece", head="E[ECE]", label="ECE of a calibrated model", better="neither",
        of_bins=lambda q, n_bins: _calibration().expected_ece(q.confidence, n_bins),
    ),
    Metric(
        name="mce", head="MCE", label="MCE", better="lower",
        of_bins=lambda q, n_bins: _calibration().mce(q.confidence, q.correct, n_bins),
    ),
    Metric(
        name="sce", head="SCE", label="SCE", better="lower", tested="bootstrap",
        of_bins=lambda q, n_bins: _calibration().sce(q.probabilities, q.answers, q.n_options, n_bins),
    ),
    Metric(
        name="ace", head="ACE", label="ACE", better="lower",
        of_bins=lambda q, n_bins: _calibration().ace(q.probabilities, q.answers, q.n_options, n_bins),
    ),
    Metric(
        name="rms", head="RMS", label="RMS calibration error", better="lower", tested="bootstrap",
        of_bins=lambda q, n_bins: _calibration().rms(q.confidence, q.correct, n_bins),
    ),
    Metric(
        name="mad", head="MAD", label="MAD", better="lower",
        of_bins=lambda q, n_bins: _calibration().mad(q.confidence, q.correct, n_bins),
    ),
    Metric(
        name="rms_gce", head="RMS GCE", label="RMS GCE", better="lower", tested="bootstrap",
        of_group=lambda q: _calibration().rms_gce(q.confidence, q.correct),
    ),
    Metric(
        name="smooth_ece", head="smECE", label="smECE", better="lower",
        of_group=lambda q: _calibration().smooth_ece(q.confidence, q.correct),
    ),
    Metric(
        name="debiased_squared_error", head="Debiased", label="debiased squared error", better="lower",
        of_bins=lambda q, n_bins: _calibration().debiased_squared_error(q.confidence, q.correct, n_bins),
    ),
    Metric(
        name="tie_share", head="Ties", label="share of ties", better="neither",
        of_question=lambda q: _calibration().tied(q.probabilities),
    ),
)  # fmt: skip
TABLE_METRICS = ("accuracy", "entropy", "ece", "rms")  # the paper's columns
MEANS = tuple(name for name, metric in METRICS.items() if metric.tested == "questions")  # over questions
