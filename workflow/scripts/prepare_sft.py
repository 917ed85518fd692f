"""Bring an instruction data set into the canonical form, with a held-out validation part.

    python workflow/scripts/prepare_sft.py --hub tatsu-lab/alpaca --layout alpaca \
        --output results/data/sft/alpaca.parquet --manifest results/data/sft/alpaca.json

Layouts: alpaca (instruction, input, output), sharegpt (conversations of from and value), messages (messages of role
and content). Rows that can't be used are counted by reason, and refused above --max-rejected-share.
"""

from collections.abc import Sequence

from calgrid import cli
from calgrid.data import sft, sources
from calgrid.data.sft_layouts import SFT_LAYOUTS
from calgrid.vocabulary import SFT_SPLIT, VALIDATION_SHARE


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    sources.add_flags(parser, split=SFT_SPLIT, layouts=SFT_LAYOUTS)
    parser.add_argument("--max-rows", type=sources.positive, metavar="N", help="take a fixed sample of N rows")
    parser.add_argument(
        "--validation-share",
        type=sources.share,
        default=VALIDATION_SHARE,
        metavar="SHARE",
        help="held out for the validation loss, at least one conversation (default: %(default)s)",
    )
    arguments = parser.parse_args(argv)
    source = sources.source_of(arguments)
    with sources.opened(source) as (dataset, commit):
        frame, rejects = sft.prepare(
            source,
            dataset,
            arguments.layout,
            arguments.max_rows,
            arguments.validation_share,
            arguments.max_rejected_share,
        )
    validation = frame["split"].eq("validation").sum()
    made_with = {"max_rows": arguments.max_rows, "validation_share": arguments.validation_share}
    parts = {"train": len(frame) - validation, "validation": validation}
    sources.write(frame, rejects, arguments, source, commit, made_with, **parts)


if __name__ == "__main__":
    cli.run(main)
