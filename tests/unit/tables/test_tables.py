"""Tables: their numbers, what is bold and italic, and that the LaTeX compiles."""

import re
import shutil
import subprocess
from pathlib import Path

import polars as pl
import pytest

import write_language_tables
import write_overall_tables
import write_tables_page as page_program
from calgrid.cell import Cell
from calgrid.errors import UserError
from calgrid.languages import language_name
from calgrid.measure import significance
from calgrid.measure.metrics import METRICS, TABLE_METRICS
from calgrid.store.reading import read_metrics
from calgrid.tables import contents, latex, layout
from calgrid.tables import page as tables_page


@pytest.fixture(scope="module")
def grid(built_store):
    return built_store(seeds=("0", "1"), n_questions=40)


def shared_flags(grid, smoothings):
    metrics = [str(path) for name, _, _ in grid.benchmarks for path in grid.metrics(name)]
    flags = ["--models", *grid.models, "--sft", *grid.sft, "--smoothings", *smoothings]
    return [*flags, "--selection", str(grid.selection), "--metrics", *metrics]


@pytest.fixture(scope="module")
def written(grid):
    folder = grid.root / "results/tables"
    write_overall_tables.main(
        [
            *shared_flags(grid, ["0.0", "0.1"]),
            *("--benchmarks", "ten", "four", "--table1-sft-datasets", "tulu3", "--output-dir", str(folder)),
            *("--significance", str(grid.significance("four")), str(grid.significance("ten"))),
        ]
    )
    write_language_tables.main(
        [
            *shared_flags(grid, ["0.0", "0.1", "0.2"]),
            *("--benchmark", "ten", "--languages", "yo", "en", "--output-dir", str(folder)),
            *("--significance", str(grid.significance("ten"))),
        ]
    )
    return folder


def arms(table):
    return table.select("model", "sft", "smoothing").unique(maintain_order=True).rows()


def read(path):
    return pl.read_csv(path, schema_overrides={"smoothing": pl.String, "lr": pl.String}, infer_schema_length=None)


def test_overall_rows(written):
    first, second = read(written / "table1.csv"), read(written / "table2.csv")
    assert arms(first) == [
        (model, *rest)
        for model in ("tiny-a", "tiny_b")
        for rest in (("base", "none"), ("tulu3", "0.0"), ("tulu3", "0.1"))
    ]
    assert len(arms(second)) == 2 * (1 + 2 * 2)
    assert first["benchmark"].unique(maintain_order=True).to_list() == ["ten", "four"]
    assert second.columns == contents.COLUMNS
    assert second["aggregation"].unique(maintain_order=True).to_list() == ["pooled", "mean_over_languages"]
    assert set(second.filter(pl.col("sft") != "base")["lr"]) == {"1e-5"}  # the store's losses favour it
    assert set(second.filter(pl.col("sft") != "base")["n_seeds"]) == {2}
    assert set(second["n_questions"]) == {160}
    assert set(second["n_languages"]) == {4}


def test_overall_values(grid, written):
    table = read(written / "table2.csv")
    cells = read_metrics(grid.metrics("four")).filter(
        model="tiny_b", sft="alpaca", smoothing="0.1", lr="1e-5", confidence_method="perplexity", n_bins=30
    )
    rows = table.filter(benchmark="four", model="tiny_b", sft="alpaca", smoothing="0.1", metric="ece")
    pooled, mean = rows.sort("aggregation", descending=True).iter_rows(named=True)
    assert pooled["value"] == pytest.approx(cells.filter(grouping="pooled")["ece"].mean(), abs=1e-15)
    assert mean["value"] == pytest.approx(cells.filter(grouping="language")["ece"].mean(), abs=1e-15)
    tests = pl.read_parquet(grid.significance("four")).filter(
        model="tiny_b", sft="alpaca", smoothing="0.1", metric="ece", confidence_method="perplexity", against="0.0"
    )
    for row, name, n in ((pooled, "bootstrap", 40), (mean, "languages", 4)):
        (test,) = tests.filter(test=name, aggregation=row["aggregation"]).iter_rows(named=True)
        assert (row["p"], row["statistic"], row["test_n"], row["test"]) == (test["p"], test["statistic"], n, name)
        assert row["significant"] == (test["p"] < 0.05)
        assert (row["difference"], row["low"], row["effect"]) == (test["difference"], test["low"], test["effect"])
        (clustered,) = tests.filter(test="bootstrap", aggregation=row["aggregation"]).iter_rows(named=True)
        assert (row["clustered_p"], row["clustered_high"]) == (clustered["p"], clustered["high"])


def test_csv_files_have_every_metric(written):
    for path in ("table1.csv", "table2.csv", "ten/yo.csv"):
        assert read(written / path)["metric"].unique(maintain_order=True).to_list() == list(METRICS)


def test_language_rows(grid, written):
    table = read(written / "ten/yo.csv")
    base = [(model, "base", "none") for model in grid.models]
    tuned = [(model, s, b) for s in grid.sft for model in grid.models for b in ("0.0", "0.1", "0.2")]
    assert arms(table) == base + tuned
    assert set(table["language"]) == {"yo"}
    assert set(table["n_questions"]) == {40}
    smoothed = table.filter((pl.col("sft") != "base") & (pl.col("smoothing") != "0.0"))
    assert set(smoothed.filter(pl.col("metric").is_in(["ece", "rms", "rms_gce"]))["test"]) == {"bootstrap"}
    assert set(smoothed.filter(pl.col("metric").is_in(["accuracy", "entropy"]))["test"]) == {"questions"}
    assert smoothed.filter(metric="ece")["p"].null_count() == 0
    cells = read_metrics(grid.metrics("ten")).filter(
        grouping="language", language="yo", confidence_method="perplexity", n_bins=30, sft="base"
    )
    assert table.filter(sft="base", model="tiny-a", metric="rms")["value"][0] == pytest.approx(
        cells.filter(model="tiny-a")["rms"][0], abs=1e-15
    )


def by_hand(values, tests, metric, **settings):
    """Marks of the rows `values` ({smoothing: value}), with `tests` ({smoothing: (difference, p)})."""
    selected = {("m", "s", b): [Cell("m", "s", b, "1e-5", "0")] for b in values}
    common = {"benchmark": "b", "confidence_method": "sum", "n_bins": 30, "n_questions": 9, "n_languages": 1}
    groups = [("pooled", "all"), ("language", "en"), ("language", "de")]
    metrics = pl.DataFrame(
        [
            {
                **common,
                **vars(cells[0]),
                "grouping": grouping,
                "language": language,
                **dict.fromkeys(METRICS, values[arm[2]]),
            }
            for arm, cells in selected.items()
            for grouping, language in groups
        ]
    )
    found = pl.DataFrame(
        [
            {
                **{
                    "model": "m",
                    "sft": "s",
                    "smoothing": b,
                    "against": "0.0",
                    "confidence_method": "sum",
                    "metric": metric,
                },
                **{"test": "languages", "aggregation": "mean_over_languages", "language": "all", "n": 2},
                **{"difference": d, "statistic": 1.0, "p": p, "p_holm": None if p is None else min(1.0, 2 * p)},
            }
            for b, (d, p) in tests.items()
        ],
        schema=significance.TESTS,
    )
    numbers = contents.numbers(
        *(list(selected), selected, metrics, found),
        **{"benchmark": "b", "language": "all", "method": "sum", "n_bins": 30, "alpha": 0.05, **settings},
    ).filter(aggregation="mean_over_languages", metric=metric)
    return {
        row["smoothing"]: ("b" if row["bold"] else "") + ("i" if row["italic"] else "")
        for row in numbers.iter_rows(named=True)
    }


def test_marks_by_corrected_tests():
    values, tests = {"0.0": 0.3, "0.1": 0.2}, {"0.1": (-0.1, 0.03)}
    assert by_hand(values, tests, "ece") == {"0.0": "", "0.1": "bi"}
    assert by_hand(values, tests, "ece", correction="holm") == {"0.0": "", "0.1": "b"}


@pytest.mark.parametrize(
    ("metric", "values", "tests", "marks"),
    [
        # The better is bold, and italic where the gap is significant.
        ("ece", {"0.0": 0.3, "0.1": 0.2}, {"0.1": (-0.1, 0.01)}, {"0.0": "", "0.1": "bi"}),
        ("ece", {"0.0": 0.3, "0.1": 0.2}, {"0.1": (-0.1, 0.2)}, {"0.0": "", "0.1": "b"}),
        ("ece", {"0.0": 0.2, "0.1": 0.3}, {"0.1": (0.1, 0.01)}, {"0.0": "bi", "0.1": ""}),
        ("rms", {"0.0": 0.2, "0.1": 0.3}, {"0.1": (0.1, None)}, {"0.0": "b", "0.1": ""}),
        ("accuracy", {"0.0": 0.2, "0.1": 0.3}, {"0.1": (0.1, 0.01)}, {"0.0": "", "0.1": "bi"}),
        ("accuracy", {"0.0": 0.3, "0.1": 0.2}, {"0.1": (-0.1, 0.01)}, {"0.0": "bi", "0.1": ""}),
        # Equal as printed: none is better.
        ("ece", {"0.0": 0.20004, "0.1": 0.2}, {"0.1": (-0.00004, 0.3)}, {"0.0": "", "0.1": ""}),
        # Of several the best is bold; a significant gain that is not the best is italic alone.
        (
            "ece",
            {"0.0": 0.3, "0.1": 0.2, "0.2": 0.1},
            {"0.1": (-0.1, 0.01), "0.2": (-0.2, 0.2)},
            {"0.0": "", "0.1": "i", "0.2": "b"},
        ),
        (
            "ece",
            {"0.0": 0.2, "0.1": 0.1, "0.2": 0.3},
            {"0.1": (-0.1, 0.01), "0.2": (0.1, 0.01)},
            {"0.0": "i", "0.1": "bi", "0.2": ""},
        ),
        # Entropy has no better side.
        ("entropy", {"0.0": 1.0, "0.1": 1.5}, {"0.1": (0.5, 0.01)}, {"0.0": "", "0.1": "i"}),
        ("entropy", {"0.0": 1.5, "0.1": 1.0}, {"0.1": (-0.5, 0.01)}, {"0.0": "", "0.1": "i"}),
        # Without tests nothing is italic.
        ("ece", {"0.0": 0.3, "0.1": 0.2}, {}, {"0.0": "", "0.1": "b"}),
        ("ece", {"0.1": 0.3}, {}, {"0.1": ""}),
    ],
)
def test_marks(metric, values, tests, marks):
    assert by_hand(values, tests, metric) == marks


def test_latex_shows_the_numbers(written):
    table = read(written / "table2.csv")
    source = (written / "table2.tex").read_text()
    row = table.filter(benchmark="ten", aggregation="pooled", model="tiny-a", sft="base")
    shown = [row.filter(metric=metric)["value"][0] for metric in TABLE_METRICS]
    assert "tiny-a & base & -- & " + " & ".join(f"{v:.3f}" for v in shown) in source
    assert r"tiny\_b" in source
    assert source.count(r"\midrule") == 1 + 2 + 2 + 1  # head, two panel titles, two models each
    best = table.filter(benchmark="ten", metric="ece", bold=True, italic=True)
    assert len(best)
    for value in best["value"]:
        assert rf"\textbf{{\textit{{{value:.3f}}}}}" in source


def test_captions_say_what_was_measured_how(written):
    overall, language = (written / "table1.tex").read_text(), (written / "ten/yo.tex").read_text()
    for part in (
        "all languages (ten: 160 questions in 4 languages; four: 160 questions in 4 languages)",
        "Confidence: perplexity; 30 bins; learning rate by the least validation loss; means over 2 seeds.",
        r"p \textless{} 0.05 (mean over languages: Student's t-test over the languages; pooled: over questions,",
        "Of entropy (bits) neither side is better: italic marks any significant change.",
    ):
        assert part in overall
    assert "for Yoruba (yo) (ten: 40 questions)" in language
    assert "over the questions: Student's paired t-test of means, bootstrap of calibration errors" in language


HOSTILE = 'a\\b{c}_d^e~f%g$h&i#j<k>l|m"n\no'


def test_escape():
    assert latex.escape("50% of $x_1 & #2") == r"50\% of \$x\_1 \& \#2"
    assert latex.escape("a\\b~c^d") == r"a\textbackslash{}b\textasciitilde{}c\textasciicircum{}d"
    assert "\n" not in latex.escape(HOSTILE)


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no LaTeX engine here")
def test_latex_compiles(written, tmp_path):
    numbers = read(written / "table2.csv").with_columns(
        pl.col("model", "benchmark").map_elements(lambda name: f"{name} {HOSTILE}", return_dtype=pl.String)
    )
    caption = layout.caption(numbers, METRICS, HOSTILE, 0.05)
    (tmp_path / "hostile.tex").write_text(latex.table(numbers, TABLE_METRICS, "model", caption, "tab:hostile"))
    sources = [written / "table1.tex", written / "table2.tex", written / "ten/yo.tex", tmp_path / "hostile.tex"]
    inputs = "\n".join(rf"\input{{{path}}}" for path in sources)
    document = rf"\documentclass{{article}}\usepackage{{booktabs}}\begin{{document}}{inputs}\end{{document}}"
    (tmp_path / "document.tex").write_text(document)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "document.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]
    assert Path(tmp_path / "document.pdf").exists()


def test_the_page_has_every_table_and_asks_for_nothing(grid, written):
    output = written / "index.html"
    page_program.main(
        [
            *(
                "--overall",
                str(written / "table1.csv"),
                str(written / "table2.csv"),
                "--table-metrics",
                "ece",
                "rms_gce",
            ),
            *(
                "--by-language",
                str(written / "ten/yo.csv"),
                "--selection",
                str(grid.selection),
                "--output",
                str(output),
            ),
        ]
    )
    page = output.read_text()
    assert not re.search("https?:|src=|<script|@import|url\\(", page)
    assert page.count("<table>") == page.count("</table>") == 3
    for anchor in re.findall('href="?#([^">]+)', page):
        assert page.count(f'id="{anchor}"') == 1
    table = read(written / "ten/yo.csv")
    for metric in ("ece", "rms_gce"):
        for row in table.filter(metric=metric).iter_rows(named=True):
            text = f"{row['value']:.3f}"
            text = f"<em>{text}</em>" if row["italic"] else text
            assert f"<td>{f'<strong>{text}</strong>' if row['bold'] else text}</td>" in page
    assert "ECE↓" in page
    assert "RMS GCE↓" in page
    assert "Yoruba (yo)" in page


def test_the_page_escapes(written):
    numbers = read(written / "ten/yo.csv").with_columns(model=pl.lit("<b>&"), benchmark=pl.lit('"x"'))
    table = tables_page.table(numbers, ["ece"], "sft", "a < b")
    html = tables_page.page("<i>", {"<s>": [tables_page.Table("<n>", "anchor", table)]})
    for hostile in ("<b>", "<i>", "<s>", "<n>", "a < b"):
        assert hostile not in html
    assert "&lt;b&gt;&amp;" in html


def run_overall(grid, tmp_path, *changes):
    write_overall_tables.main(
        [
            *shared_flags(grid, ["0.0", "0.1"]),
            *("--benchmarks", "four", "--table1-sft-datasets", "tulu3", "--output-dir", str(tmp_path)),
            *("--significance", str(grid.significance("four")), *changes),
        ]
    )


def test_refusals(grid, tmp_path):
    with pytest.raises(UserError, match=r"no tests of benchmark 'ten'; give ten.parquet with --significance"):
        run_overall(grid, tmp_path, "--benchmarks", "ten")
    with pytest.raises(UserError, match=r"SFT set flan, smoothing 0.0: no selected cell"):
        run_overall(grid, tmp_path, "--sft", "flan")
    with pytest.raises(UserError, match="no metrics of model tiny-a, SFT set base, smoothing none for benchmark four"):
        without = [str(path) for path in grid.metrics("four") if "model=tiny-a/sft=base" not in str(path)]
        run_overall(grid, tmp_path, "--metrics", *without)
    with pytest.raises(UserError, match="no tests of benchmark ten, language yo, confidence method sum"):
        write_language_tables.main(
            [
                *shared_flags(grid, ["0.0", "0.1"]),
                *("--benchmark", "ten", "--languages", "yo", "--output-dir", str(tmp_path)),
                *("--significance", str(grid.significance("ten")), "--confidence-method", "sum"),
            ]
        )


def test_two_writings_are_the_same(grid, written, tmp_path):
    run_overall(grid, tmp_path / "first")
    run_overall(grid, tmp_path / "second")
    for name in ("table1.csv", "table1.tex", "table2.csv", "table2.tex"):
        assert (tmp_path / "first" / name).read_text() == (tmp_path / "second" / name).read_text()


def test_language_names():
    assert language_name("yo") == "Yoruba (yo)"
    assert language_name("fil") == "Filipino (fil)"
    assert language_name("xx") == "xx"
