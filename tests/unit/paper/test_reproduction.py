"""A run beside the printed numbers: made of these numbers themselves with known shifts, so that each place is known."""

import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import polars as pl
import pytest

import write_reproduction as program
from calgrid.cell import Cell
from calgrid.figures import theme
from calgrid.paper import published, reproduction
from calgrid.paper.chart import chart
from calgrid.paper.page import page
from calgrid.store import files, paths
from calgrid.store.selection import SCHEMA

SVG = "{http://www.w3.org/2000/svg}"
SHIFTS = {"accuracy": 0.01, "entropy": -0.02, "ece": 0.003, "rms_gce": 0.004}  # of a run to the printed numbers
LANGUAGES = ("nl", "ro", "yo")
MODELS = ("gemma2-2b", "llama3.1-8b")
CELL = {"benchmark": "global_mmlu", "aggregation": "language"}


@pytest.fixture(scope="module")
def printed():
    return published.read()


def lr_of(sft):
    return "none" if sft == "base" else "1e-5"


def metrics_rows(rows, **changes):
    """Metrics of a cell in one grouping: the printed numbers, shifted, with 30 bins; and others, to be ignored."""
    numbers = rows.select(
        "language",
        member="language",
        n_questions=pl.lit(14042, pl.UInt32),
        n_languages=pl.lit(1, pl.UInt16),
        **{ours: pl.col(name) + SHIFTS[ours] for name, ours in published.PRINTED_METRICS.items()},
    )
    wrong = [(pl.col(name) + 0.3).alias(name) for name in ("accuracy", "entropy", "rms_gce")]
    return pl.concat(
        [
            numbers.with_columns(
                *(wrong if method != "perplexity" else []),
                ece=pl.col("ece") + (0 if (method, bins) == ("perplexity", 30) else 0.2),
                grouping=pl.lit("language"),
                confidence_method=pl.lit(method),
                n_bins=pl.lit(bins, pl.UInt16),
                rms=pl.lit(0.9),
            ).with_columns(**changes)
            for method in ("perplexity", "choice")
            for bins in (10, 30)
        ]
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory, printed):
    """A run of two models, two SFT sets and three of the languages of Global-MMLU; the arguments of the program."""
    root = tmp_path_factory.mktemp("run")
    part = printed.languages.filter(
        pl.col("language").is_in(LANGUAGES), pl.col("model").is_in(MODELS), pl.col("sft") != "alpaca",
        benchmark="global_mmlu",
    )  # fmt: skip
    selection, metrics, intervals = [], [], []
    for (model, sft, smoothing), rows in part.group_by(published.ARM, maintain_order=True):
        cell = Cell(model, sft, smoothing, lr_of(sft), "none" if sft == "base" else "0")
        pooled = metrics_rows(
            rows.head(1), language=pl.lit("all"), member=pl.lit("all"), grouping=pl.lit("pooled"),
            n_languages=pl.lit(3, pl.UInt16),
        )  # fmt: skip
        tiers = metrics_rows(rows.head(1), grouping=pl.lit("tier"), ece=pl.lit(0.77))
        for rate in {cell.lr, "5e-5"} if sft != "base" else {cell.lr}:
            other = Cell(model, sft, smoothing, rate, cell.seed)
            frame = pl.concat([metrics_rows(rows), pooled, tiers], how="diagonal_relaxed")
            if rate == "5e-5":
                frame = frame.with_columns(accuracy=pl.lit(0.99))  # not selected: must not be read
            metrics.append(root / paths.metrics("global_mmlu", other.path))
            files.write_parquet(frame, metrics[-1], {})
            if sft != "base":
                selection.append((model, sft, smoothing, rate, cell.seed, 1.0, rate == cell.lr))
        intervals.append(
            rows.select(
                *(
                    pl.lit(value).alias(name)
                    for name, value in zip(published.ARM, (model, sft, smoothing), strict=True)
                ),
                confidence_method=pl.lit("perplexity"),
                aggregation=pl.lit("language"),
                language="language",
                metric=pl.lit("ece"),
                value=pl.col("ece") + SHIFTS["ece"],
            )
        )
    bounds = pl.concat(intervals).with_columns(
        # yo: an interval too narrow for the printed number; nl: of another value than ours
        low=pl.col("value") - pl.when(language="yo").then(0.001).otherwise(0.01),
        high=pl.col("value") + 0.01,
        value=pl.col("value") + pl.when(language="nl").then(0.1).otherwise(0.0),
        n_questions=pl.lit(14042),
        n_languages=pl.lit(1),
    )
    files.write_parquet(
        pl.concat([bounds, bounds.with_columns(confidence_method=pl.lit("choice"), low=pl.lit(0.0))]),
        root / "results/intervals/global_mmlu.parquet",
        {},
    )
    schema = {**SCHEMA, "selected": pl.Boolean}
    files.write_parquet(
        pl.DataFrame(selection, schema=schema, orient="row"), root / "results/selection.parquet", {"rule": "x"}
    )
    program.main(arguments(root, metrics, [root / "results/intervals/global_mmlu.parquet"]))
    return root


def arguments(root, metrics, intervals):
    return [
        *("--selection", str(root / "results/selection.parquet"), "--metrics", *map(str, metrics)),
        *("--intervals", *map(str, intervals), "--csv", str(root / "cells.csv"), "--claims", str(root / "claims.csv")),
        *("--html", str(root / "page.html"), "--figures", str(root / "figure.svg"), str(root / "figure.png")),
    ]


@pytest.fixture(scope="module")
def cells(run):
    text = dict.fromkeys(("smoothing", "sft", "printed_as", "why_not"), pl.String)
    return pl.read_csv(run / "cells.csv", schema_overrides=text, infer_schema_length=None)


def test_every_printed_number_is_there(cells):
    assert len(cells.filter(aggregation="language")) == 2130 * 4
    overall = cells.filter(language="all").group_by("benchmark", "aggregation").len()
    assert sorted(overall.rows()) == [
        ("global_mmlu", "pooled", 84),
        ("mmlu_prox", "mean_over_languages", 84),
        ("mmlu_prox", "pooled", 84),
    ]


def test_values_land_in_their_cells(cells):
    covered = cells.filter("covered")
    assert len(covered) == 3 * 2 * (1 + 2 * 3) * 4  # languages, models, base and SFT sets x smoothings, metrics
    for metric, shift in SHIFTS.items():
        difference = covered.filter(metric=metric)["difference"]
        assert (difference - shift).abs().max() < 1e-9, metric
    assert set(covered["n_seeds"]) == {1}


def test_misprinted_labels_are_matched(cells):
    marked = cells.filter(printed_as="smoothing 0.1", metric="ece").sort("table", "model")
    assert marked.select("language", "model", "sft", "smoothing").rows() == [
        ("nl", "llama3.1-8b", "tulu3", "0.2"),
        ("ro", "gemma2-2b", "tulu3", "0.2"),
        ("ro", "llama3.1-8b", "tulu3", "0.2"),
    ]
    assert marked["covered"].all()
    assert (marked["difference"] - SHIFTS["ece"]).abs().max() < 1e-9
    assert set(cells.filter(table=62)["language"]) == {"ru"}


def test_what_is_not_covered_says_why(cells):
    def why(**names):
        return set(cells.filter(**names)["why_not"])

    assert why(benchmark="mmlu_prox") == {"the grid has no benchmark mmlu_prox"}
    assert why(**CELL, model="mistral-7b") == {"the grid has no model mistral-7b"}
    assert why(**CELL, model="gemma2-2b", sft="alpaca") == {"the grid has no SFT set alpaca"}
    assert why(**CELL, model="gemma2-2b", sft="base", language="zh") == {"the grid has no language zh"}
    assert why(benchmark="global_mmlu", aggregation="pooled", model="gemma2-2b", sft="base") == {
        "the grid has 3 languages, the paper 42"
    }
    assert cells.filter(~pl.col("covered"))["ours"].null_count() == len(cells.filter(~pl.col("covered")))


def test_intervals(cells):
    covered = cells.filter("covered")
    assert covered.filter(pl.col("metric") != "ece")["low"].null_count() == len(covered) * 3 // 4
    ece = covered.filter(metric="ece")
    assert set(ece.filter(language="nl")["low"]) == {None}  # an interval of another value is not shown
    assert set(ece.filter(language="ro")["inside"]) == {True}
    assert set(ece.filter(language="yo")["inside"]) == {False}
    assert (ece["high"] - ece["ours"]).drop_nulls().round(9).unique().to_list() == [0.01]


def test_the_rounding_of_a_printed_number_counts(printed):
    ours = published.long(printed.overall).select(
        *published.ROW, "metric", aggregation=pl.lit("pooled"), ours=pl.col("value") + 0.0015,
        n_questions=pl.lit(9, pl.Int64), n_languages=pl.lit(42, pl.Int64), n_seeds=pl.lit(1, pl.Int64),
    ).select(list(reproduction.OURS))  # fmt: skip
    for room, inside in ((0.0011, True), (0.0009, False)):
        bounds = ours.with_columns(value="ours", low=pl.col("ours") - room, high=pl.col("ours") + 1)
        found = reproduction.compare(printed, ours, bounds).filter(benchmark="global_mmlu", aggregation="pooled")
        assert set(found["inside"]) == {inside}


def test_overall_numbers(printed):
    """A run of all languages: pooled beside both benchmarks, the mean over languages beside MMLU-ProX alone."""
    pooled = published.long(printed.overall).with_columns(aggregation=pl.lit("pooled"), ours=pl.col("value") + 0.5)
    mean = pooled.with_columns(aggregation=pl.lit("mean_over_languages"), ours=pl.col("value") - 0.1)
    sizes = pl.DataFrame({"benchmark": ["global_mmlu", "mmlu_prox"], "n_languages": [42, 29]})
    ours = pl.concat([pooled, mean]).join(sizes, on="benchmark")
    ours = ours.with_columns(n_questions=pl.lit(1, pl.Int64), n_seeds=pl.lit(1, pl.Int64)).select(
        list(reproduction.OURS)
    )
    none = ours.clear().select(*reproduction.KEYS, *(pl.lit(0.0).alias(name) for name in ("value", "low", "high")))
    found = reproduction.compare(printed, ours, none).filter(language="all")
    assert found["covered"].all()
    assert found.filter(aggregation="pooled")["difference"].round(9).unique().to_list() == [0.5]
    other = found.filter(aggregation="mean_over_languages")
    assert set(other["benchmark"]) == {"mmlu_prox"}
    assert other["difference"].round(9).unique().to_list() == [-0.1]
    total = reproduction.summary(found).row(0, named=True)
    assert (total["printed"], total["covered"]) == (168, 168)  # one that stands beside two counts once
    assert total["difference"] == pytest.approx(0.5)


def test_seeds_are_averaged_and_bins_matter(tmp_path, printed):
    rows = printed.languages.filter(benchmark="global_mmlu", language="yo", model="gemma2-2b", sft="tulu3")
    rows = rows.filter(smoothing="0.0")
    cells = [Cell("gemma2-2b", "tulu3", "0.0", "1e-5", seed) for seed in ("0", "1")]
    measured_files = [tmp_path / paths.metrics("global_mmlu", cell.path) for cell in cells]
    for path, shift in zip(measured_files, (0.0, 0.04), strict=True):
        frame = metrics_rows(rows).with_columns(pl.col("accuracy", "ece") + shift)
        files.write_parquet(frame.filter(n_bins=10) if shift else frame, path, {})
    found = reproduction.read_run(measured_files, {("gemma2-2b", "tulu3", "0.0"): cells}).filter(aggregation="language")
    accuracy, ece = (found.row(by_predicate=pl.col("metric") == name, named=True) for name in ("accuracy", "ece"))
    assert accuracy["ours"] == pytest.approx(rows["accuracy"][0] + SHIFTS["accuracy"] + 0.02)
    assert (accuracy["n_seeds"], ece["n_seeds"]) == (2, 1)  # the second seed has no ECE with 30 bins
    frame = reproduction.read_run(measured_files[1:], {("gemma2-2b", "tulu3", "0.0"): cells})
    none = frame.clear().select(*reproduction.KEYS, *(pl.lit(0.0).alias(name) for name in ("value", "low", "high")))
    compared = reproduction.compare(printed, frame, none).filter(
        **CELL, language="yo", sft="tulu3", model="gemma2-2b", smoothing="0.0"
    )
    assert compared.filter(metric="ece")["why_not"].to_list() == ["not measured with 30 bins"]
    assert compared.filter(metric="accuracy")["covered"].all()


def test_claims(run, cells):
    table = pl.read_csv(run / "claims.csv", infer_schema_length=None)
    row = table.row(
        by_predicate=(pl.col("claim") == "tuning_raises_ece")
        & (pl.col("benchmark") == "global_mmlu")
        & (pl.col("model") == "all"),
        named=True,
    )
    assert (row["printed_n"], row["same_n"], row["ours_n"]) == (378, 12, 12)
    assert row["same_result"] == row["ours_result"]  # a shift of all numbers changes no direction
    assert row["agree"] is True
    assert set(table.filter(benchmark="mmlu_prox")["agree"]) == {None}
    # a run in which tuning lowers ECE
    turned = cells.with_columns(ours=pl.when(sft="base").then(0.9).otherwise("ours"))
    again = reproduction.compare_claims(turned.with_columns(pl.col("smoothing").fill_null("none")))
    assert set(again.filter(claim="tuning_raises_ece", benchmark="global_mmlu")["agree"]) == {False, None}


class Outside(HTMLParser):
    """Collects what a browser would fetch or run, and the tags that are left open."""

    def __init__(self):
        super().__init__()
        self.found, self.open = [], []

    def handle_starttag(self, tag, attrs):
        bad = {"script", "link", "img", "iframe", "object", "embed", "base", "form", "video", "audio", "svg"}
        if tag in bad or any(n in ("src", "href", "action", "style") or n.startswith("on") for n, _ in attrs):
            self.found.append((tag, attrs))
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def check_page(text):
    parser = Outside()
    parser.feed(text)
    assert parser.found == []
    assert parser.open == []
    assert not re.search(r"https?:|url\(|@import", text)


def test_the_page(run):
    text = (run / "page.html").read_text()
    check_page(text)
    assert "<strong>168 of the 8,688 numbers</strong>" in text
    assert "the grid has no benchmark mmlu_prox" in text
    assert "docs/paper.md" in text
    assert "Table 43: Yoruba (yo)" in text
    assert "printed as smoothing 0.1" in text
    assert text.index("The paper's claims") < text.index("Known of the printed tables") < text.index("Cell by cell")
    assert "None" not in text and "null" not in text


def test_the_page_escapes_names(cells):
    hostile = '<script src="http://x">&\'"</script><img src=x onerror=alert(1)>'
    frame = cells.with_columns(pl.col("smoothing").fill_null("none"), pl.col("printed_as", "why_not").fill_null(""))
    frame = frame.with_columns(
        (pl.col(name) + hostile).alias(name) for name in ("benchmark", "model", "sft", "why_not")
    )
    frame = frame.with_columns(printed_as=pl.lit(hostile))
    text = page(frame.with_columns(sft=pl.col("sft").str.replace("^base.*", "base")), [])
    parser = Outside()
    parser.feed(text)
    assert parser.found == []
    assert parser.open == []
    assert "&lt;script src=" in text


def texts(path):
    return ["".join(node.itertext()) for node in ElementTree.parse(path).getroot().iter(f"{SVG}text")]


def test_the_figure(run):
    found = texts(run / "figure.svg")
    for expected in (
        "A run against the paper's printed numbers",
        "168 of the 8,688 printed numbers are covered",
        *("Accuracy", "Entropy (bits)", "ECE", "RMS"),
        "Printed in the paper",
        "This run",
        "global_mmlu",
        "ours - printed: +0.0100 on average",
        "inside our interval: 14 of 28",
        "no interval of this metric",
    ):
        assert any(expected in text for text in found), expected
    assert not any("mmlu_prox" in text for text in found)  # nothing of it is drawn
    source = (run / "figure.svg").read_text()
    assert "undefined" not in source and "NaN" not in source and "null" not in source
    assert source.count(theme.STYLES[1].color) > 168
    assert (run / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_a_run_that_covers_nothing(tmp_path):
    """As the demo's: other models, benchmarks and languages."""
    cell = Cell("tiny-gemma2", "cldr-alpaca", "0.1", "2e-3", "0")
    path = tmp_path / paths.metrics("cldr4", cell.path)
    rows = pl.DataFrame({"language": ["en"], "accuracy": [0.5], "entropy": [1.0], "ece": [0.1], "rms": [0.1]})
    files.write_parquet(metrics_rows(rows), path, {})
    chosen = pl.DataFrame(
        [("tiny-gemma2", "cldr-alpaca", "0.1", "2e-3", "0", 1.0, True)],
        schema={**SCHEMA, "selected": pl.Boolean},
        orient="row",
    )
    files.write_parquet(chosen, tmp_path / "results/selection.parquet", {"rule": "x"})
    none = pl.DataFrame(
        schema={
            **dict.fromkeys(("model", "sft", "smoothing", "confidence_method"), pl.String),
            **dict.fromkeys(("aggregation", "language", "metric"), pl.String),
            **dict.fromkeys(("value", "low", "high"), pl.Float64),
        }
    )
    files.write_parquet(none, tmp_path / "results/intervals/cldr4.parquet", {})
    program.main(arguments(tmp_path, [path], [tmp_path / "results/intervals/cldr4.parquet"]))
    text = (tmp_path / "page.html").read_text()
    check_page(text)
    assert "<strong>0 of the 8,688 numbers</strong>" in text
    assert "5,124: the grid has no benchmark global_mmlu" in text
    assert set(pl.read_csv(tmp_path / "claims.csv", infer_schema_length=None)["agree"]) == {None}
    found = texts(tmp_path / "figure.svg")
    assert any("this run's grid covers none" in text for text in found)
    assert not any("undefined" in text for text in found)


def test_a_panel_without_numbers_says_so(cells, tmp_path):
    frame = cells.with_columns(covered=pl.col("covered") & (pl.col("metric") == "accuracy"))
    theme.save(chart(frame), [tmp_path / "figure.svg"])
    assert sum("not covered by this run" in text for text in texts(tmp_path / "figure.svg")) == 3
