"""Print what follows from the paper's printed numbers alone: units, pooling, the RMS column, misprints, its claims.

    python workflow/scripts/check_paper.py

Everything is computed from data/paper; docs/paper.md explains it.
"""

from collections.abc import Sequence
from pathlib import Path

from calgrid import cli


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--paper", type=Path, help="folder of the printed numbers (default: the project's data/paper)")
    arguments = parser.parse_args(argv)

    from calgrid.paper import consistency, published

    printed = published.read(arguments.paper or published.FOLDER)
    print("\n".join(consistency.report(consistency.findings(printed).values())).rstrip())


if __name__ == "__main__":
    cli.run(main)
