"""What a benchmark is run by and prints: a line a figure, and whether what was asked for is met."""

import argparse
import logging
import math
import os
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

DATA = Path(__file__).parents[2] / "shared" / "data"  # where it is not, the Hub

Bench = TypeVar("Bench")


@dataclass(frozen=True)
class Figure:
    """A line of the table."""

    what: str
    value: float  # NaN: not measured
    limit: float | None = None  # None: shown only
    at_least: bool = False
    ours: str = ""
    peer: str = ""

    @property
    def met(self) -> bool:
        return self.limit is None or (self.value >= self.limit if self.at_least else self.value <= self.limit)

    def cells(self) -> list[str]:
        needed = "" if self.limit is None else f"{'at least' if self.at_least else 'at most'} {self.limit:g}"
        value = "" if math.isnan(self.value) else f"{self.value:.3g}"
        return [self.what, self.ours, self.peer, value, needed, "" if self.met else "FALLS SHORT"]


def table(figures: Sequence[Figure], peer: str) -> str:
    """Markdown, columns aligned."""
    rows = [["what", "ours", peer, "figure", "needed", ""], *(figure.cells() for figure in figures)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    rows.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |" for row in rows
    )


def parser(description: str | None, lines: Collection[str]) -> argparse.ArgumentParser:
    """The flags of every benchmark that has these lines."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--quick", action="store_true", help="less data, smaller models, lower speeds asked for")
    made.add_argument("--only", nargs="+", choices=lines, default=list(lines), help="lines to measure")
    return made


def peer_parser(description: str | None, lines: Collection[str]) -> argparse.ArgumentParser:
    """The flags of a benchmark whose peer lives in an environment of its own, and which takes real data."""
    made = parser(description, lines)
    made.add_argument("--data", type=Path, default=DATA, help="folder with hub/ and tokenizers/; absent: the Hub")
    made.add_argument("--peer-python", required=True, help="Python of the peers' environment")
    made.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of each side")
    return made


def run(
    arguments: argparse.Namespace,
    prepare: Callable[[argparse.Namespace, Path], Bench],
    lines: Mapping[str, Callable[[Bench], list[Figure]]],
    peer: str,
    folder: Path | None = None,
) -> None:
    """Measure the lines in a folder and print the table; exit with 1 where a figure falls short.

    Args:
        arguments: of `parser`.
        prepare: makes of them, and of the folder, what each line takes.
        lines: by name.
        peer: whose name stands over its column.
        folder: that is kept; a temporary one by default.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    figures: list[Figure] = []
    with _working(folder) as place:
        bench = prepare(arguments, place)
        for name in arguments.only:
            figures += lines[name](bench)
    print(table(figures, peer))
    sys.exit(any(not figure.met for figure in figures))


@contextmanager
def _working(given: Path | None) -> Iterator[Path]:
    if given is None:
        with tempfile.TemporaryDirectory(prefix="calgrid-bench-") as made:
            yield Path(made)
    else:
        given.mkdir(parents=True, exist_ok=True)
        yield given.resolve()
