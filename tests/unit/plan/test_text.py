"""The plan as text."""

import pytest

from calgrid.plan import text as plan_text


@pytest.mark.parametrize(
    ("value", "words", "cell"),
    [
        (3875, "3,875 GPU hours", "3,875 h"),
        (3.4, "3.4 GPU hours", "3.4 h"),
        (1, "60 GPU minutes", "60 min"),
        (5 / 60, "5 GPU minutes", "5 min"),
        (0.00058, "2 GPU seconds", "2 s"),
        (1e-9, "1 GPU second", "1 s"),
        (0, "0 GPU hours", "0"),
    ],
)
def test_times_have_the_unit_that_fits(value, words, cell):
    assert plan_text.hours(value, "GPU") == words
    assert plan_text._time(value) == cell
