"""What a confidence method makes of questions: their distributions over the options, confidence and correctness."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from calgrid import calibration
from calgrid.calibration import Booleans, Floats, Integers
from calgrid.scoring.confidence import option_values

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Questions:
    """N questions with up to K options, as a confidence method sees them; checked (`calibration.distribution`)."""

    probabilities: Floats  # (N, K)
    answers: Integers  # (N,)
    n_options: Integers  # (N,)

    @cached_property
    def confidence(self) -> Floats:
        """(N,), the probability of the predicted option."""
        return calibration.confidence(self.probabilities)

    @cached_property
    def correct(self) -> Booleans:
        """(N,), whether the prediction is the right option."""
        return calibration.correct(self.probabilities, self.answers, self.n_options)

    def take(self, which: NDArray[np.generic]) -> Self:
        """Some of the questions, by index or mask."""
        return type(self)(self.probabilities[which], self.answers[which], self.n_options[which])


def judge(scores: "pl.DataFrame", method: str) -> Questions:
    """The questions in `scores`, in their order, as a confidence method sees them."""
    values, n_options = option_values(scores, method)
    answers = scores["answer"].to_numpy().astype(np.int64)
    return Questions(calibration.distribution(values, n_options), answers, n_options)
