"""Confidence methods: what a question's distribution over its options is made of.

A method takes columns of the stored scores to one value per option; the softmax over a question's options
(`calibration.distribution`) makes probabilities of these. All methods come out of one scoring pass, so that which one
is used is decided later, without a GPU.

To add a method, add a record to `CONFIDENCE_METHODS`: the configuration, the metrics and the tables read it from there.
Parsing the Snakefile imports this module: nothing heavy at its head.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from calgrid.calibration import Floats


@dataclass(frozen=True, kw_only=True)
class ConfidenceMethod:
    """One way to score the options of a question."""

    name: str  # in the configuration, and in the column confidence_method
    columns: tuple[str, ...]  # of the scores: lists with a value per option
    value: "Callable[..., Floats]"  # of these columns, each as one array over the options of all questions
    meaning: str


def _methods(*methods: ConfidenceMethod) -> Mapping[str, ConfidenceMethod]:
    return {method.name: method for method in methods}


CONFIDENCE_METHODS = _methods(
    ConfidenceMethod(
        name="perplexity",
        columns=("logprob_sum", "n_tokens"),
        value=lambda total, tokens: total / tokens,
        meaning="mean log-probability per token of the option",
    ),
    ConfidenceMethod(
        name="sum",
        columns=("logprob_sum",),
        value=lambda total: total,
        meaning="sum of the log-probabilities of the option's tokens",
    ),
    ConfidenceMethod(
        name="min",
        columns=("logprob_min",),
        value=lambda lowest: lowest,
        meaning="lowest log-probability of a token of the option",
    ),
    ConfidenceMethod(
        name="choice",
        columns=("letter_logprob",),
        value=lambda letter: letter,
        meaning="log-probability of the option's letter",
    ),
    ConfidenceMethod(
        name="bytes",
        columns=("logprob_sum", "n_bytes"),
        value=lambda total, size: total / size,
        meaning="log-probability per byte of the option's text",
    ),
)


def columns_of(methods: Iterable[str]) -> list[str]:
    """The columns of the scores that some methods read, each once."""
    return list(dict.fromkeys(column for method in methods for column in CONFIDENCE_METHODS[method].columns))


def option_values(scores: "pl.DataFrame", method: str) -> "tuple[Floats, NDArray[np.int64]]":
    """What a confidence method's softmax is taken of, as `calibration.distribution` wants it.

    Args:
        scores: one row per question, as `stored.read_scores` returns them.
        method: name of a confidence method.

    Returns: values (N, K), natural logarithms, padded with 0, and n_options (N,).
    """
    import numpy as np

    n_options = scores["n_options"].to_numpy().astype(np.int64)
    record = CONFIDENCE_METHODS[method]
    flat = [scores[column].list.explode().to_numpy().astype(np.float64) for column in record.columns]
    values = np.zeros((len(scores), int(n_options.max())))
    values[np.arange(values.shape[1]) < n_options[:, None]] = record.value(*flat)
    return values, n_options
