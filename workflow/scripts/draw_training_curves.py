"""Draw the training curves of one model on one SFT set: a column an arm of smoothing, a line a learning rate.

    python workflow/scripts/draw_training_curves.py --output results/figs/training_tiny-llama_cldr-alpaca.svg \\
        --records $(find results/models/model=tiny-llama/sft=cldr-alpaca -name train.json)
"""

from collections.abc import Sequence
from pathlib import Path

from calgrid import cli
from calgrid.errors import UserError


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--records", required=True, nargs="+", type=Path, help="train.json of the cells to show")
    parser.add_argument("--output", required=True, nargs="+", type=Path, help="figures to write: .svg, .png")
    arguments = parser.parse_args(argv)

    from calgrid.figures import theme, training_curves
    from calgrid.store.reading import cell_of

    shown = {(cell.model, cell.sft) for cell in map(cell_of, arguments.records)}
    if len(shown) != 1:
        raise UserError(f"--records: of {len(shown)} pairs of model and SFT set; give those of one")
    ((model, sft),) = shown
    chart = training_curves.curves_chart(
        training_curves.training_curves(arguments.records), f"Training of {model} on {sft}"
    )
    theme.save(chart, arguments.output)


if __name__ == "__main__":
    cli.run(main)
