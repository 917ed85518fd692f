"""Change rates by tuning: their numbers, the LaTeX and the figure."""

import re
import xml.etree.ElementTree as ElementTree

import polars as pl
import pytest

import write_change_rates as program
from calgrid.errors import UserError
from calgrid.scoring.confidence import CONFIDENCE_METHODS
from calgrid.store.reading import read_metrics
from calgrid.store.selection import read_selection
from calgrid.tables import change_rates


@pytest.fixture(scope="module")
def grid(built_store):
    return built_store(seeds=("0", "1"), n_questions=40)


def run(grid, *flags, smoothings=("0.0", "0.1"), metrics=None):
    found = metrics or [str(path) for name, _, _ in grid.benchmarks for path in grid.metrics(name)]
    program.main(
        [
            *("--models", *grid.models, "--sft", *grid.sft, "--smoothings", *smoothings),
            *("--selection", str(grid.selection), "--metrics", *found, *flags),
        ]
    )


@pytest.fixture(scope="module")
def rates(grid):
    run(grid, "--csv", str(grid.root / "rates.csv"), "--tex", str(grid.root / "rates.tex"))
    return pl.read_csv(grid.root / "rates.csv", schema_overrides={"smoothing": pl.String})


def test_each_rate_by_hand(grid, rates):
    metrics = read_metrics(grid.metrics("ten")).filter(n_bins=30, confidence_method="choice", model="tiny_b")
    for grouping, language, member in [
        ("pooled", "all", "all"), ("category", "all", "STEM"), ("category_by_language", "yo", "Humanities")
    ]:  # fmt: skip
        group = {"grouping": grouping, "language": language, "member": member}
        base = metrics.filter(sft="base", **group)
        tuned = metrics.filter(sft="alpaca", smoothing="0.1", lr="1e-5", **group)
        assert len(tuned) == 2  # seeds
        arm = {
            "benchmark": "ten",
            "model": "tiny_b",
            "sft": "alpaca",
            "smoothing": "0.1",
            "confidence_method": "choice",
        }
        for metric in ("ece", "sce"):
            (row,) = rates.filter(metric=metric, **arm, **group).iter_rows(named=True)
            assert row["base"] == pytest.approx(base[metric].item(), abs=1e-12)
            assert row["tuned"] == pytest.approx(tuned[metric].mean(), abs=1e-12)
            assert row["change_rate"] == pytest.approx((row["tuned"] - row["base"]) / row["base"], abs=1e-12)


def test_every_dimension_is_there_once(rates):
    keys = ["benchmark", "model", "sft", "smoothing", "grouping", "language", "member", "confidence_method", "metric"]
    assert not rates.select(keys).is_duplicated().any()
    assert len(rates) == 2 * 2 * 2 * 2 * (1 + 2 + 2 * 4) * 5 * 2
    assert rates["change_rate"].null_count() == 0


def test_a_base_value_of_0_has_no_rate(grid):
    metrics = read_metrics(grid.metrics("four"))
    flat = metrics.with_columns(ece=pl.when(pl.col("sft") == "base").then(0.0).otherwise("ece"))
    found = change_rates.change_rates(grid.models, grid.sft, ["0.0"], read_selection(grid.selection), flat, 30)
    assert found.filter(metric="ece")["change_rate"].null_count() == len(found) / 2
    assert found.filter(metric="sce")["change_rate"].null_count() == 0
    assert change_rates.printed(None) == "–"
    assert change_rates.latex(found, "four", "", "x").count("--") >= 2 * 2 * 3 * 5


def test_latex(grid, rates):
    source = (grid.root / "rates.tex").read_text()
    assert source.count(r"\begin{tabular}") == source.count(r"\end{table}") == 2
    row = rates.filter(benchmark="four", model="tiny-a", sft="alpaca", smoothing="0.0", grouping="pooled", metric="ece")
    assert row["confidence_method"].to_list() == list(CONFIDENCE_METHODS)
    numbers = " & ".join(change_rates.printed(rate).replace("−", "$-$") for rate in row["change_rate"])
    assert f"tiny-a & alpaca & all questions & {numbers}" in source
    assert r"tiny\_b" in source


def test_figure(grid, rates, tmp_path):
    run(grid, "--benchmark", "ten", "--figures", str(tmp_path / "rates.svg"), str(tmp_path / "rates.png"))
    text = (tmp_path / "rates.svg").read_text()
    root = ElementTree.fromstring(text)
    texts = ["".join(node.itertext()) for node in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "Change of calibration errors by tuning, ten" in texts
    for part in ("Tuned on alpaca", "Tuned on tulu3", "tiny-a, ECE", "tiny_b, SCE"):
        assert texts.count(part) == 1
    assert texts.count("STEM") == 2  # once a row of panels
    shown = rates.filter(benchmark="ten", smoothing="0.0").filter(pl.col("grouping").is_in(["pooled", "category"]))
    assert len(shown) == 2 * 2 * 3 * 5 * 2
    for rate in shown["change_rate"]:
        assert change_rates.printed(rate) in texts
    assert not re.search("undefined|NaN|null", text)
    assert (tmp_path / "rates.png").read_bytes().startswith(b"\x89PNG")


def test_one_language(grid, tmp_path):
    run(grid, "--benchmark", "ten", "--language", "yo", "--figures", str(tmp_path / "yo.svg"))
    text = (tmp_path / "yo.svg").read_text()
    assert "questions of yo" in text
    assert "all questions" not in text


def test_refusals(grid, tmp_path):
    with pytest.raises(UserError, match="no change rates of benchmark ten, language xx"):
        run(grid, "--benchmark", "ten", "--language", "xx", "--figures", str(tmp_path / "x.svg"))
    with pytest.raises(UserError, match=r"smoothing 0.5: no selected cell"):
        run(grid, smoothings=("0.0", "0.5"))
    with pytest.raises(UserError, match=r"no metrics of model tiny-a, SFT set alpaca, smoothing 0.0 with 12 bins"):
        run(grid, "--n-bins", "12")
    without = [str(path) for path in grid.metrics("four") if "model=tiny_b/sft=base" not in str(path)]
    with pytest.raises(UserError, match="no metrics of the base model tiny_b"):
        run(grid, metrics=without)
