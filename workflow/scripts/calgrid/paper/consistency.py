"""What follows from the paper's printed numbers alone: each finding computed from `data/paper`, with its numbers."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import polars as pl

from calgrid.calibration import PER_BIN
from calgrid.paper import claims
from calgrid.paper.published import ARM, PRINTED_METRICS, ROUNDING, Printed, long
from calgrid.vocabulary import ALL, BASE, NONE

POOLED_BENCHMARK = "global_mmlu"  # whose overall table pools its languages; that of the others does not follow
SAME = 2 * ROUNDING + 1e-9  # two rounded numbers, or a mean of such and one, differ by this where they are the same


@dataclass(frozen=True)
class Finding:
    """A finding on the printed numbers: its numbers by name, and what they say, a line each."""

    title: str
    lines: tuple[str, ...]
    numbers: Mapping[str, float] = field(default_factory=dict)


def findings(printed: Printed) -> dict[str, Finding]:
    """Every finding by name, the faults of the tables first."""
    return {
        "unit": entropy_in_bits(printed),
        "pooling": pooling(printed),
        "no_overall": not_from_language_tables(printed),
        "rms": not_equation_5(printed),
        "labels": misprinted_labels(printed),
        "claims": direction_of_the_claims(printed),
    }


def entropy_in_bits(printed: Printed) -> Finding:
    """Entropy of K options is at most ln K in nats and log2 K in bits."""
    lines: list[str] = []
    numbers: dict[str, float] = {}
    for name, options in printed.benchmarks.select("benchmark", "options").iter_rows():
        entropy = printed.languages.filter(benchmark=name)["entropy"]
        nats, bits, top = pl.Series([options]).log()[0], pl.Series([options]).log(2)[0], _number(entropy.max())
        above = int((entropy > nats).sum())
        numbers |= {f"{name}.max": top, f"{name}.above_nats": above}
        lines.append(
            f"{name}: the largest is {top:.3f}, above ln {options} = {nats:.3f} and not above log2 {options} = "
            f"{bits:.3f}; {above} of {len(entropy)} rows are above ln {options}"
        )
    return Finding("Entropy is in bits, though the paper names no unit", tuple(lines), numbers)


def pooling(printed: Printed) -> Finding:
    """Pooling equally many questions a language gives the mean accuracy and entropy, and at most the mean ECE."""
    rows = _beside_the_mean(printed, POOLED_BENCHMARK)
    n = len(rows)
    numbers: dict[str, float] = {"rows": n}
    lines = [f"Against the mean over the {rows['n_languages'][0]} language tables, in the {n} overall rows:"]
    for metric in ("entropy", "accuracy"):
        gap = (rows[metric] - rows[f"{metric}_mean"]).abs()
        numbers[f"{metric}.same"], numbers[f"{metric}.most"] = int((gap <= SAME).sum()), _number(gap.max())
        lines.append(
            f"{metric} is the same within rounding in {numbers[f'{metric}.same']}, "
            f"and differs by {numbers[f'{metric}.most']:.4f} at most"
        )
    below = rows["ece"] <= rows["ece_mean"] + SAME
    numbers["ece.not_above"] = int(below.sum())
    lines.append(f"ECE is not above it in {below.sum()}, as pooling wants")
    examples = rows.filter(sft=BASE)
    lines += [f"  {_arm(r)}: ECE {r['ece']:.3f} against {r['ece_mean']:.3f}" for r in examples.iter_rows(named=True)]
    odd = rows.filter((pl.col("entropy") - pl.col("entropy_mean")).abs() > SAME)
    numbers["odd"] = len(odd)
    lines += [
        f"  does not fit: {_arm(r)}: entropy {r['entropy']:.3f} against {r['entropy_mean']:.3f}, "
        f"ECE {r['ece']:.3f} against {r['ece_mean']:.3f}"
        for r in odd.iter_rows(named=True)
    ]
    return Finding(
        f"The overall table of {POOLED_BENCHMARK} pools the questions of all languages", tuple(lines), numbers
    )


def not_from_language_tables(printed: Printed) -> Finding:
    """An overall accuracy or entropy outside the range of the languages is no average of them, however weighted."""
    lines: list[str] = []
    numbers: dict[str, float] = {}
    for name in printed.benchmarks["benchmark"].to_list():
        if name == POOLED_BENCHMARK:
            continue
        rows = _beside_the_mean(printed, name)
        outside = {
            metric: ~rows.select(
                pl.col(metric).is_between(pl.col(f"{metric}_least") - SAME, pl.col(f"{metric}_most") + SAME)
            ).to_series()
            for metric in ("accuracy", "entropy")
        }
        numbers |= {f"{name}.rows": len(rows), **{f"{name}.{m}.outside": int(o.sum()) for m, o in outside.items()}}
        for metric, found in outside.items():
            lines.append(
                f"{name}: {metric} lies outside the range of its languages' tables in {found.sum()} of {len(rows)} rows"
            )
        lines += [
            f"  {_arm(r)}: accuracy {r['accuracy']:.3f} against a mean of {r['accuracy_mean']:.3f}, entropy "
            f"{r['entropy']:.3f} against {r['entropy_mean']:.3f} "
            f"(from {r['entropy_least']:.3f} to {r['entropy_most']:.3f})"
            for r in rows.filter(sft=BASE).iter_rows(named=True)
        ]
    return Finding("The overall table of mmlu_prox does not follow from its language tables", tuple(lines), numbers)


def not_equation_5(printed: Printed) -> Finding:
    """With the same bins RMS >= ECE. As `rms_gce`, over N/100 bins, it implies a gap of RMS^2 sqrt(N/100)."""
    sizes = dict(printed.benchmarks.select("benchmark", "questions").iter_rows())
    rows = printed.languages.with_columns(
        below=pl.col("rms") < pl.col("ece"),
        gap=(pl.col("rms") + ROUNDING) ** 2 * (pl.col("benchmark").replace_strict(sizes) / PER_BIN).sqrt(),
    )
    lines: list[str] = []
    numbers: dict[str, float] = {}
    for (name,), part in rows.group_by("benchmark", maintain_order=True):
        share = _number(part["below"].mean())
        numbers[f"{name}.below"] = share
        lines.append(f"{name}: RMS is below ECE in {part['below'].sum()} of {len(part)} rows, {percent(share)}")
    overall = _beside_the_mean(printed, POOLED_BENCHMARK).filter(pl.col("sft") != BASE)
    fall, n = _number((overall["rms_mean"] / overall["rms"]).median()), overall["n_languages"][0]
    numbers |= {"fall": fall, "fourth_root": n**0.25}
    lines.append(
        f"{POOLED_BENCHMARK}: where {n} languages are pooled it falls by a factor of {fall:.2f} (the median of "
        f"{len(overall)} tuned rows); the number of questions to the power 1/4 is {n**0.25:.2f}"
    )
    odd = rows.filter(pl.col("gap") < pl.col("ece") - ROUNDING)
    numbers |= {"fits": len(rows) - len(odd), "rows": len(rows)}
    lines.append(
        f"As sqrt(sqrt(sum (weight * gap)^2)) over bins of {PER_BIN} questions (`rms_gce`), it implies a root mean "
        f"square gap of RMS^2 * sqrt(N / {PER_BIN}) over these, which is at least ECE in {len(rows) - len(odd)} of "
        f"{len(rows)} rows"
    )
    lines += [
        f"  does not fit: Table {r['table']}, {r['language']}, {_arm(r)}: RMS {r['rms']:.3f} and ECE {r['ece']:.3f}, "
        f"a gap of {r['gap']:.3f} at most"
        for r in odd.iter_rows(named=True)
    ]
    return Finding("The RMS column is not equation 5", tuple(lines), numbers)


def misprinted_labels(printed: Printed) -> Finding:
    """Labels that the order of rows and tables contradicts."""
    rows = printed.languages
    # In every table the smoothings of a model on an SFT set follow each other in rising order.
    order = rows.filter(pl.col("sft") != BASE).group_by("table", "model", "sft", maintain_order=True)
    sorted_groups = order.agg(ordered=(pl.col("smoothing").cast(pl.Float64).diff().drop_nulls() > 0).all())
    marked = rows.filter(pl.col("printed_as") != "")
    smoothing = marked.filter(pl.col("printed_as").str.starts_with("smoothing"))
    language = marked.filter(pl.col("printed_as").str.starts_with("language"))
    lines = [
        f"As corrected here, the smoothings rise from row to row in {sorted_groups['ordered'].sum()} of "
        f"{len(sorted_groups)} groups of one table, model and SFT set; as printed, these {len(smoothing)} repeat one:"
    ]
    lines += [
        f"  Table {r['table']}, {r['language']}, {_arm(r)}: printed as {r['printed_as']}"
        for r in smoothing.iter_rows(named=True)
    ]
    for table, code, printed_as, size in (
        language.group_by("table", "language", "printed_as").len().sort("table").rows()
    ):
        around = [rows.filter(table=table + step)["language"][:1].to_list() for step in (-1, 1)]
        before, after = (found[0] if found else "none" for found in around)
        lines.append(
            f"Table {table}, {size} rows: printed as {printed_as}; it stands between {before} and {after}, "
            f"so it is {code}"
        )
    numbers = {"smoothing": len(smoothing), "language": len(language), "ordered": int(sorted_groups["ordered"].sum())}
    return Finding("Misprinted labels", tuple(lines), numbers)


def direction_of_the_claims(printed: Printed) -> Finding:
    """The paper's claims, counted over all printed rows of languages."""
    weighed = claims.weigh(long(printed.languages))
    lines: list[str] = []
    numbers: dict[str, float] = {}
    for name, claim in claims.CLAIMS.items():
        lines.append(f"{claim.text}:")
        rows = weighed.filter(claim=name, model=ALL)
        single = weighed.filter(pl.col("model") != ALL, claim=name)
        for r in rows.iter_rows(named=True):
            numbers[f"{name}.{r['benchmark']}"] = r["result"]
            lines.append(f"  {r['benchmark']}: {describe(r, claim)}")
        held = int(single["holds"].sum())
        numbers[f"{name}.pairs"] = held
        lines.append(f"  holds in {held} of {len(single)} combinations of benchmark, model and SFT set{_but(single)}")
    return Finding("Direction of the paper's claims", tuple(lines), numbers)


def describe(row: Mapping, claim: claims.Claim) -> str:
    """The result of a row of `claims.weigh` in words."""
    if row["result"] is None:
        return f"no test possible with {row['n']} languages"
    if claim.weighed_by == "mean":
        return f"{row['result']:+.3f} on average of {row['n']}"
    change = f"mean change {row['mean_change']:+.3f}"
    if claim.weighed_by == "share":
        return f"{percent(row['result'])} of {row['n']}, {change}"
    if row["model"] == ALL:
        return (
            f"p < {claims.CLAIMED_ALPHA} in {percent(row['result'])} of {row['n']} pairs of model and SFT set, {change}"
        )
    return f"p = {row['result']:.2g} over {row['n']} languages, {change}"


def percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _but(single: pl.DataFrame) -> str:
    missed = single.filter(~pl.col("holds"))
    if missed.is_empty() or len(missed) > 4:
        return ""
    return "; not in " + ", ".join(f"{r['benchmark']} {r['model']} {r['sft']}" for r in missed.iter_rows(named=True))


def _beside_the_mean(printed: Printed, benchmark: str) -> pl.DataFrame:
    """The overall rows of a benchmark, with mean, least and most over its languages' tables."""
    metrics = pl.col(list(PRINTED_METRICS))
    over = (
        printed.languages.filter(benchmark=benchmark)
        .group_by(ARM)
        .agg(
            metrics.mean().name.suffix("_mean"),
            metrics.min().name.suffix("_least"),
            metrics.max().name.suffix("_most"),
            n_languages=pl.len(),
        )
    )
    return printed.overall.filter(benchmark=benchmark).join(over, on=ARM, maintain_order="left")


def _arm(row: Mapping) -> str:
    tuned = "" if row["smoothing"] == NONE else f" on {row['sft']}, smoothing {row['smoothing']}"
    return f"{row['model']}{tuned or ' ' + BASE}"


def _number(value: object) -> float:
    assert isinstance(value, int | float)
    return float(value)


def report(found: Iterable[Finding]) -> Iterator[str]:
    """The findings as lines of text."""
    for number, finding in enumerate(found, 1):
        yield f"{number}. {finding.title}"
        yield from (f"   {line}" for line in finding.lines)
        yield ""
