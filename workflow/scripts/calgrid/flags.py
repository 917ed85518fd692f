"""Flags that several programs have."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from calgrid.errors import UserError
from calgrid.measure.metrics import METRICS, TABLE_METRICS
from calgrid.scoring.confidence import CONFIDENCE_METHODS
from calgrid.vocabulary import (
    ALPHA,
    ATTENTION,
    CONFIDENCE_METHOD,
    CORRECTION,
    CORRECTIONS,
    FIGURE_BINS,
    N_BINS,
    TRANSFER_LANGUAGE,
    Attention,
)


def add_arms(to: argparse.ArgumentParser) -> None:
    """Add the models, SFT sets and smoothings that a table or figure shows."""
    to.add_argument("--models", required=True, nargs="+", help="models, in this order")
    to.add_argument("--sft", required=True, nargs="+", help="SFT sets, in this order")
    to.add_argument("--smoothings", required=True, nargs="+", help="label smoothings, in this order")


def add_table_flags(to: argparse.ArgumentParser) -> None:
    """Add what the table programs share: which cells they show, and how."""
    add_arms(to)
    to.add_argument("--metrics", required=True, nargs="+", type=Path, help="metrics of all cells")
    add_n_bins(to)
    add_confidence_method(to)
    add_table_looks(to)


def add_table_looks(to: argparse.ArgumentParser) -> None:
    """Add what decides how the numbers of a table are set."""
    to.add_argument("--selection", required=True, type=Path, help="which learning rates are shown")
    to.add_argument(
        "--table-metrics", nargs="+", default=TABLE_METRICS, choices=METRICS, metavar="METRIC",
        help=f"columns: of {', '.join(METRICS)} (default: {' '.join(TABLE_METRICS)})",
    )  # fmt: skip
    to.add_argument("--alpha", type=float, default=ALPHA, help="level of significance (default: %(default)s)")
    to.add_argument(
        "--correction",
        default=CORRECTION,
        choices=CORRECTIONS,
        help="of the tests for their number (default: %(default)s)",
    )


def add_benchmark_flags(to: argparse.ArgumentParser) -> None:
    """Add what the figures of a whole benchmark share."""
    to.add_argument("--benchmark", required=True, help="the benchmark to show")
    add_arms(to)
    to.add_argument("--selection", required=True, type=Path, help="which learning rates were selected")
    to.add_argument("--metrics", required=True, nargs="+", type=Path, help="metrics of the cells; of more cells too")
    add_n_bins(to)
    add_confidence_method(to)
    to.add_argument("--output", required=True, nargs="+", type=Path, help="figures to write: .svg, .png")


def add_tiers(to: argparse.ArgumentParser) -> None:
    to.add_argument("--tiers", nargs="*", default=[], metavar="TIER=A,B", help="languages of each resource tier")


def read_tiers(arguments: Sequence[str]) -> dict[str, list[str]]:
    """`TIER=CODE,CODE` arguments: the languages of each resource tier. Raises UserError for another form."""
    tiers = {}
    for argument in arguments:
        name, equals, codes = argument.partition("=")
        if not equals:
            raise UserError(f"--tiers {argument!r}: write TIER=CODE,CODE")
        tiers[name] = codes.split(",")
    return tiers


def add_confidence_method(to: argparse.ArgumentParser) -> None:
    to.add_argument(
        "--confidence-method",
        default=CONFIDENCE_METHOD,
        choices=CONFIDENCE_METHODS,
        help="how confidence is extracted (default: %(default)s)",
    )


def add_transfer_language(to: argparse.ArgumentParser) -> None:
    to.add_argument(
        "--transfer-language",
        default=TRANSFER_LANGUAGE,
        help="whose temperature is tried in all others (default: %(default)s)",
    )


def add_attention(to: argparse.ArgumentParser) -> None:
    to.add_argument(
        "--score-attention",
        default=ATTENTION,
        choices=get_args(Attention),
        help="how attention is computed in scoring (default: %(default)s)",
    )


def add_n_bins(to: argparse.ArgumentParser) -> None:
    to.add_argument("--n-bins", type=int, default=N_BINS, help="of the calibration errors (default: %(default)s)")


def add_figure_bins(to: argparse.ArgumentParser) -> None:
    to.add_argument(
        "--figure-bins", type=int, default=FIGURE_BINS, help="equal-width bins of a diagram (default: %(default)s)"
    )
