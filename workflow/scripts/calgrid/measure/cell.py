"""From the scores of a cell to its metrics: one row a group of questions, confidence method and number of bins."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import polars as pl

from calgrid.languages import tier_of
from calgrid.measure import grouped
from calgrid.measure.metrics import METRICS
from calgrid.measure.questions import judge
from calgrid.scoring.confidence import CONFIDENCE_METHODS
from calgrid.scoring.stored import QUESTION_ATTRIBUTES
from calgrid.vocabulary import ALL, CATEGORY, CATEGORY_BY_LANGUAGE, LANGUAGE, POOLED, TIER


def measure(
    scores: pl.DataFrame,
    bins: Sequence[int],
    tiers: Mapping[str, Sequence[str]] | None = None,
    methods: Iterable[str] = CONFIDENCE_METHODS,
    threads: int = 1,
) -> pl.DataFrame:
    """The metrics of one cell.

    Args:
        scores: of the languages to measure, as `stored.read_scores` returns them.
        bins: numbers of bins: equal-width ones of ECE, SCE, MCE, RMS; equal-mass ones of ACE, MAD, the debiased error.
        tiers: languages of each resource tier.
        methods: confidence methods.
        threads: methods that are measured at once.

    Returns: a row a group, confidence method and number of bins. Columns: grouping, language, member, n_questions,
        n_languages, confidence_method, n_bins, and METRICS (see `calibration`; entropy in bits, nll in nats).
        Groupings: `pooled` (all questions), `language`, and, where there are several, `tier`, `category`,
        `category_by_language`, `subject`, `cultural_sensitivity`, `n_options`. Questions without a category, subject
        or label, and languages of no tier, are in none of these groups.
    """
    table, groups = _groups(scores, tiers or {})
    with ThreadPoolExecutor(threads) as pool:  # NumPy sorts and adds without holding the interpreter
        results = pool.map(lambda method: grouped.measure(judge(scores, method), groups, bins), methods)
        return pl.concat(
            table.with_columns(
                pl.lit(method).alias("confidence_method"),
                pl.lit(m, dtype=pl.UInt16).alias("n_bins"),
                *(pl.Series(name, result[name]) for name in METRICS),
            )
            for method, by_bins in zip(methods, results, strict=True)
            for m, result in zip(bins, by_bins, strict=True)
        )


def _groups(scores: pl.DataFrame, tiers: Mapping[str, Sequence[str]]) -> tuple[pl.DataFrame, grouped.Groups]:
    """The groups by name, with their sizes, and the questions in them."""
    tables, codes = [], []
    for grouping, language, member in _groupings(scores, tiers):
        labels = scores.select(pl.col("language").alias("of"), language=language, member=member)
        table = (
            labels.drop_nulls()
            .group_by("language", "member")
            .agg(n_questions=pl.len(), n_languages=pl.col("of").n_unique())
            .sort("language", "member")
            .with_row_index("code")
            .select("code", pl.lit(grouping).alias("grouping"), pl.exclude("code"))
        )
        placed = labels.join(table, on=["language", "member"], how="left", maintain_order="left")
        codes.append(placed["code"].cast(pl.Int64).fill_null(-1).to_numpy())
        tables.append(table.drop("code"))
    return pl.concat(tables), grouped.Groups(codes, [len(table) for table in tables])


def _groupings(scores: pl.DataFrame, tiers: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, pl.Expr, pl.Expr]]:
    """Name, language and member of each grouping; one that would have a single group, or none, is left out."""
    of_all, language = pl.lit(ALL), pl.col("language")
    yield POOLED, of_all, of_all
    yield LANGUAGE, language, language
    attributes = {TIER: tier_of(tiers), **{name: pl.col(name).cast(pl.String) for name in QUESTION_ATTRIBUTES}}
    for grouping, member in attributes.items():
        if scores.select(member.drop_nulls().n_unique()).item() > 1:
            yield grouping, of_all, member
            if grouping == CATEGORY:
                yield CATEGORY_BY_LANGUAGE, language, member
