"""Random and hostile input: no traceback, and nothing wrong that is taken for right.

    PYTHONPATH=workflow/scripts:tests python tests/unit/test_fuzz.py 10000       many cases, and their counts

pytest runs a few hundred.
"""

import sys
import tempfile
import time
from pathlib import Path

from support.fuzz.cases import Tally
from support.fuzz.run import fuzz

CASES = 600


def test_nothing_hostile_gets_through_or_ends_in_a_traceback(tmp_path: Path) -> None:
    tally = fuzz(CASES, tmp_path / "fuzz")
    assert not tally.failures, "\n".join(tally.failures)
    assert sum(counts.total() for counts in tally.counts.values()) == CASES
    for kind, counts in tally.counts.items():
        assert counts["refused"], kind
    assert {kind for kind, counts in tally.counts.items() if counts["accepted"]} >= {"configuration", "row", "YAML"}


def report(tally: Tally) -> None:
    outcomes = ("refused", "accepted", "traceback", "accepted silently", "refused wrongly")
    print(f"{'kind':16}{'cases':>8}" + "".join(f"{name:>19}" for name in outcomes))
    for kind, counts in sorted(tally.counts.items()):
        print(f"{kind:16}{counts.total():>8}" + "".join(f"{counts[name]:>19}" for name in outcomes))
    total = sum(tally.counts.values(), start=type(next(iter(tally.counts.values())))())
    print(f"{'all':16}{total.total():>8}" + "".join(f"{total[name]:>19}" for name in outcomes))


if __name__ == "__main__":
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        found = fuzz(int(sys.argv[1]), Path(scratch, "fuzz"), *map(int, sys.argv[2:3]))
    print("\n".join(found.failures[:50]))
    report(found)
    print(f"{time.monotonic() - started:.0f} s")
    sys.exit(bool(found.failures))
