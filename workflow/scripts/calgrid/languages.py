"""Languages in titles, captions and orders: their names, and their resource tiers."""

from collections.abc import Mapping, Sequence

import polars as pl

NO_TIER = "other"  # of languages that no tier has


def tier_of(tiers: Mapping[str, Sequence[str]], without: str | None = None) -> pl.Expr:
    """The tier of the column `language`; `without` for a language of none."""
    found = {language: tier for tier, languages in tiers.items() for language in languages}
    return pl.col("language").replace_strict(found, default=without, return_dtype=pl.String)


def in_order(column: str, values: Sequence[str]) -> pl.Expr:
    """What to sort by, so that a column's values come in this order."""
    return pl.col(column).replace_strict({value: place for place, value in enumerate(values)})


def language_name(code: str) -> str:
    """English name and code, from CLDR: `yo` gives `Yoruba (yo)`; a code that CLDR lacks stays as it is."""
    from babel import Locale

    name = Locale("en").languages.get(code.replace("-", "_"))
    return f"{name} ({code})" if name else code
