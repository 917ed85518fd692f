"""What cases of fuzzing are, their outcomes, and how bytes are damaged."""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from calgrid.errors import UserError

REFUSE, ACCEPT, EITHER = "must be refused", "must be accepted", "either"


@dataclass
class Case:
    """What was tried, and what came of it."""

    kind: str
    name: str
    expected: str
    attempt: Callable[[], str | None]  # None: refused; otherwise what is wrong with what was accepted, or ""
    outcome: str = ""
    detail: str = ""

    def run(self) -> "Case":
        try:
            wrong = self.attempt()
        except UserError as error:
            wrong = None
            self.detail = str(error)
            if "Traceback" in self.detail or not self.detail.strip():
                self.outcome = "traceback"
                return self
        except BaseException as error:  # a panic of polars is no Exception
            self.outcome, self.detail = "traceback", f"{type(error).__name__}: {error}"
            return self
        if wrong is None:
            self.outcome = "refused wrongly" if self.expected == ACCEPT else "refused"
        elif wrong or self.expected == REFUSE:
            self.outcome, self.detail = "accepted silently", wrong or "it should have been refused"
        else:
            self.outcome = "accepted"
        return self


@dataclass
class Tally:
    """Counts of outcomes by kind, and the cases that failed."""

    counts: dict[str, Counter[str]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def add(self, case: Case, number: int) -> None:
        self.counts.setdefault(case.kind, Counter())[case.outcome] += 1
        if case.outcome not in ("refused", "accepted"):
            self.failures.append(f"{case.kind} {number}: {case.name}: {case.outcome}: {case.detail[:300]}")


def damage_bytes(data: bytes, rng: random.Random) -> tuple[bytes, str]:
    """Bytes as disks, networks and hasty users leave them."""
    how = rng.choice(
        ["flip", "flip", "flip", "flips", "cut", "cut", "zeros", "inserted", "removed", "empty", "doubled"]
    )
    place = rng.randrange(len(data))
    if rng.random() < 0.3:  # near the ends, where the structure is
        place = min(len(data) - 1, rng.choice([rng.randrange(100), max(0, len(data) - 1 - rng.randrange(100))]))
    if how in ("flip", "flips"):
        changed = bytearray(data)
        for _ in range(1 if how == "flip" else rng.randint(2, 9)):
            changed[place] ^= 1 << rng.randrange(8)
            place = rng.randrange(len(data))
        return bytes(changed), how
    length = rng.randint(1, 200)
    made = {
        "cut": data[:place],
        "zeros": data[:place] + bytes(min(length, len(data) - place)) + data[place + length :],
        "inserted": data[:place] + rng.randbytes(length) + data[place:],
        "removed": data[:place] + data[place + length :],
        "empty": b"",
        "doubled": data + data,
    }
    return made[how], f"{how} at {place}"
