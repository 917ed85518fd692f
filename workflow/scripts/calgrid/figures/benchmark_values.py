"""What the figures of a whole benchmark share: values by language of many cells, languages in order of their tier."""

from collections.abc import Mapping, Sequence

import polars as pl

from calgrid.cell import Arm, Cell
from calgrid.errors import UserError
from calgrid.languages import NO_TIER, in_order, tier_of
from calgrid.store.selection import of_arms
from calgrid.vocabulary import LANGUAGE


def by_language(
    arms: Sequence[Arm],
    selected: Mapping[Arm, Sequence[Cell]],
    metrics: pl.DataFrame,
    *,
    benchmark: str,
    method: str,
    n_bins: int,
    tiers: Mapping[str, Sequence[str]],
    columns: Sequence[str],
) -> pl.DataFrame:
    """The selected cells' values, language by language.

    Args:
        arms: in the figure's order.
        selected: the selected cells (`selection.read_selection`).
        metrics: of these cells (`reading.read_metrics`); of others too.
        benchmark: its name.
        method: the confidence method.
        n_bins: of the calibration errors.
        tiers: languages of each resource tier, in the figure's order.
        columns: the metrics wanted.

    Returns: a row an arm and language: order (the arm's place), model, sft, smoothing, tier, language, the columns
        (means over the seeds) and n_seeds. Arms in their order, languages by tier, then by code.

    Raises UserError for an arm without metrics, or without those of a language that another arm has.
    """
    wanted = metrics.filter(grouping=LANGUAGE, benchmark=benchmark, confidence_method=method, n_bins=n_bins)
    found = (
        of_arms(wanted, arms, selected)
        .sort("seed")  # means are to add in the same order every time
        .group_by("order", "model", "sft", "smoothing", "language", maintain_order=True)
        .agg(pl.col(columns).mean(), n_seeds=pl.len())
        .with_columns(tier=tier_of(tiers, NO_TIER))
        .sort("order", in_order("tier", (*tiers, NO_TIER)), "language")
    )
    languages = set(found["language"])
    for order, (model, sft, smoothing) in enumerate(arms):
        there = set(found.filter(order=order)["language"])
        if not there or there != languages:
            of = f", language {min(languages - there)}," if there else ""
            raise UserError(
                f"no metrics of model {model}, SFT set {sft}, smoothing {smoothing}{of} for benchmark {benchmark}, "
                f"confidence method {method}, {n_bins} bins; give them with --metrics"
            )
    return found.select("order", "model", "sft", "smoothing", "tier", "language", *columns, "n_seeds")


def settings(numbers: pl.DataFrame, method: str, n_bins: int | None = None) -> str:
    """What a subtitle says of how values were made."""
    seeds = max(numbers["n_seeds"].to_list())
    bins = f"; {n_bins} bins" if n_bins else ""
    return f"Confidence: {method}{bins}" + (f"; means of {seeds} seeds" if seeds > 1 else "")
