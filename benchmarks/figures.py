"""The table that a benchmark prints: a line a figure, and whether what was asked for is met."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """A line of the table."""

    what: str
    value: float
    limit: float | None = None  # None: shown only
    at_least: bool = False
    ours: str = ""
    peer: str = ""

    @property
    def met(self) -> bool:
        return self.limit is None or (self.value >= self.limit if self.at_least else self.value <= self.limit)

    def cells(self) -> list[str]:
        needed = "" if self.limit is None else f"{'at least' if self.at_least else 'at most'} {self.limit:g}"
        return [self.what, self.ours, self.peer, f"{self.value:.3g}", needed, "" if self.met else "FALLS SHORT"]


def table(figures: Sequence[Figure], peer: str) -> str:
    """Markdown, columns aligned."""
    rows = [["what", "ours", peer, "figure", "needed", ""], *(figure.cells() for figure in figures)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    rows.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |" for row in rows
    )


def report(figures: Sequence[Figure], peer: str) -> None:
    """Print the table, with the peer's name over its column; exit with 1 where a figure falls short."""
    print(table(figures, peer))
    sys.exit(any(not figure.met for figure in figures))
