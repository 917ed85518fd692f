"""The wall time of jobs."""

import pytest

from calgrid.errors import UserError
from calgrid.plan.costs import Cost
from calgrid.plan.schedule import wall_seconds


def cost(seconds: float, gpus: int = 0, cores: int = 1) -> Cost:
    return Cost(seconds, gpus, 0 if gpus else cores, 0)


def test_wall_time_is_that_of_a_hand_made_schedule():
    assert wall_seconds([], [], 1, 1) == 0
    assert wall_seconds([cost(3), cost(4)], [[], [0]], 1, 4) == 7  # one waits for the other
    assert wall_seconds([cost(3), cost(4)], [[], []], 1, 2) == 4
    assert wall_seconds([cost(3), cost(4)], [[], []], 1, 1) == 7
    four = [cost(5, 1), cost(5, 1), cost(5, 2), cost(5, 4)]
    assert wall_seconds(four, [[]] * 4, 4, 1) == 10
    assert wall_seconds(four, [[]] * 4, 8, 1) == 5
    # the long chain first: 1 + 9 beside 2 + 2 + 2 + 2, and not after them
    chain = [cost(2), cost(2), cost(2), cost(2), cost(1), cost(9)]
    assert wall_seconds(chain, [[], [], [], [], [], [4]], 1, 2) == 10
    assert wall_seconds([cost(2, cores=64)], [[]], 1, 8) == 2  # takes what there is


def test_more_gpus_than_there_are_is_a_message():
    with pytest.raises(UserError, match=r"plan\.gpus: 2: a job takes 4 GPUs .*; give at least 4"):
        wall_seconds([cost(1, 4)], [[]], 2, 1)
