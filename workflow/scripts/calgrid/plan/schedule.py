"""Wall time of jobs that wait for each other, on so many GPUs and cores: an imitation of what a scheduler does."""

import heapq
from collections.abc import Sequence

from calgrid.errors import UserError
from calgrid.plan.costs import Cost


def wall_seconds(costs: Sequence[Cost], after: Sequence[Sequence[int]], gpus: int, cores: int) -> float:
    """Seconds until the last job ends, each begun as soon as what it waits for is done and there is room.

    Args:
        costs: of the jobs that are to run.
        after: for each, the places of those that it waits for.
        gpus: that are free for them.
        cores: for the jobs without a GPU; a job that wants more takes all.

    Of the jobs that could begin, the one goes first behind which most time waits; one that does not fit lets others
    pass.

    Raises:
        UserError: a job takes more GPUs than there are.
    """
    most = max((cost.gpus for cost in costs), default=0)
    if most > gpus:
        raise UserError(f"plan.gpus: {gpus}: a job takes {most} GPUs (models.<name>.gpus); give at least {most}")
    followers: list[list[int]] = [[] for _ in costs]
    for job, before in enumerate(after):
        for other in before:
            followers[other].append(job)
    waiting = list(map(len, after))
    behind = _behind(costs, followers, waiting)
    ready: dict[tuple[int, int], list[tuple[float, int]]] = {}  # heaps of jobs that need the same

    def begin(job: int) -> None:
        needed = costs[job].gpus, min(costs[job].cores, cores)
        heapq.heappush(ready.setdefault(needed, []), (-behind[job], job))

    for job, n in enumerate(waiting):
        if not n:
            begin(job)
    running: list[tuple[float, int, int, int]] = []  # end, job, GPUs, cores
    free_gpus, free_cores, now = gpus, cores, 0.0
    while True:
        while fitting := [n for n, jobs in ready.items() if jobs and n[0] <= free_gpus and n[1] <= free_cores]:
            needed = min(fitting, key=lambda n: ready[n][0])
            _, job = heapq.heappop(ready[needed])
            free_gpus, free_cores = free_gpus - needed[0], free_cores - needed[1]
            heapq.heappush(running, (now + costs[job].seconds, job, *needed))
        if not running:
            return now
        now, job, *freed = heapq.heappop(running)
        free_gpus, free_cores = free_gpus + freed[0], free_cores + freed[1]
        for follower in followers[job]:
            waiting[follower] -= 1
            if not waiting[follower]:
                begin(follower)


def _behind(costs: Sequence[Cost], followers: Sequence[Sequence[int]], waiting: Sequence[int]) -> list[float]:
    """Seconds of the longest chain that begins with each job."""
    left, order = list(waiting), [job for job, n in enumerate(waiting) if not n]
    for job in order:  # grows meanwhile
        for follower in followers[job]:
            left[follower] -= 1
            if not left[follower]:
                order.append(follower)
    behind = [0.0] * len(costs)
    for job in reversed(order):
        behind[job] = costs[job].seconds + max((behind[follower] for follower in followers[job]), default=0.0)
    return behind
