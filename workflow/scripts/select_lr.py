"""Select the learning rate of each model, SFT set and smoothing, by validation loss or as configured.

    python workflow/scripts/select_lr.py --train-json results/models/model=*/**/train.json \\
        --output results/selection.parquet
"""

from collections.abc import Sequence
from pathlib import Path

from calgrid import cli
from calgrid.store import files
from calgrid.vocabulary import VALIDATION_LOSS


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument(
        "--train-json", required=True, nargs="+", type=Path, help="records of the trainings, .../<cell>/train.json"
    )
    parser.add_argument(
        "--lr", default=VALIDATION_LOSS, help="take this learning rate everywhere (default: the least validation loss)"
    )
    parser.add_argument("--output", required=True, type=Path, help="the Parquet file to write")
    arguments = parser.parse_args(argv)

    from calgrid.store.reading import cell_of
    from calgrid.store.selection import read_validation_loss, select

    losses = {cell_of(path): read_validation_loss(path) for path in arguments.train_json}
    made_by = files.provenance(rule=arguments.lr, made_of=files.seals_of(arguments.train_json))
    files.write_parquet(select(losses, arguments.lr), arguments.output, made_by)


if __name__ == "__main__":
    cli.run(main)
