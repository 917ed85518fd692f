"""Reliability figures: their numbers, and that the picture has marks, titles and axes."""

import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree

import numpy as np
import polars as pl
import pytest
from statsmodels.stats.proportion import proportion_confint

import draw_reliability as program
from calgrid import calibration
from calgrid.cell import Cell
from calgrid.errors import UserError
from calgrid.figures import reliability, theme
from calgrid.figures.panels import FEW
from calgrid.measure.questions import judge
from calgrid.scoring import stored
from calgrid.store import reading
from calgrid.store.selection import read_selection

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def grid(built_store):
    return built_store()


def numbers(grid, sft, smoothings, models=None, **changes):
    return reliability.reliability(
        models or grid.models,
        sft,
        smoothings,
        read_selection(grid.selection),
        reading.by_cell(grid.scores("ten"), "ten"),
        **{"language": "yo", "method": "perplexity", "n_bins": 10, **changes},
    )


def test_numbers(grid):
    found = numbers(grid, ["tulu3", "alpaca"], ["0.0", "0.1"])
    assert len(found) == 2 * 2 * 3 * 10  # rows, columns, series, bins
    paths = reading.by_cell(grid.scores("ten"), "ten")[Cell("tiny_b", "alpaca", "0.1", "1e-5", "0")]
    judged = judge(stored.read_scores(paths, ["yo"]), "perplexity")
    bins = calibration.bins(judged.confidence, judged.correct, 10)
    part = found.filter(sft="alpaca", model="tiny_b", smoothing="0.1")
    assert part["count"].to_list() == bins.count.tolist()
    assert part["accuracy"].drop_nulls().to_list() == [a for a, n in zip(bins.accuracy, bins.count, strict=True) if n]
    assert part["ece"].unique().to_list() == [calibration.ece(judged.confidence, judged.correct, 10)]
    assert part["n_questions"].unique().to_list() == [60]


def test_base_rows_have_one_series(grid):
    assert numbers(grid, ["base"], ["0.0", "0.1"])["smoothing"].unique().to_list() == ["none"]


def test_seeds_are_taken_together(built_store):
    small = built_store(models=("m",), sft=("s",), smoothing=("0.0",), lr=("1e-5",), seeds=("0", "1"))
    found = reliability.reliability(
        ["m"], ["s"], ["0.0"], read_selection(small.selection), reading.by_cell(small.scores("four"), "four"),
        language="en", method="perplexity", n_bins=5,
    )  # fmt: skip
    assert found.group_by("smoothing").agg(n=pl.col("count").sum())["n"].to_list() == [60, 60]


def plain_band(confidence, correct, n_bins, draws):
    """Drawing question by question, each with all its seeds; of the bins after the first one, which must be empty."""
    rng = np.random.default_rng(1)
    found = []
    for _ in range(draws):
        chosen = rng.integers(0, len(confidence), len(confidence))
        found.append(calibration.bins(confidence[chosen].ravel(), correct[chosen].ravel(), n_bins).accuracy[1:])
    return np.nanquantile(found, [0.025, 0.975], axis=0)


@pytest.mark.parametrize("seeds", [1, 2])
def test_the_band_is_that_of_drawing_questions(seeds):
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.3, 0.9, (300, seeds))
    correct = rng.uniform(size=(300, 1)) < confidence  # the seeds of a question are alike
    low, high = reliability.accuracy_band(confidence, correct, 5)
    count = calibration.bins(confidence.ravel(), correct.ravel(), 5).count
    assert (np.isnan(low) == (count < FEW * seeds)).all()
    expected = plain_band(confidence, correct, 5, 2000)
    np.testing.assert_allclose([low[1:], high[1:]], expected, atol=0.02)


@pytest.mark.parametrize("right", [False, True])
def test_a_bin_of_all_or_none_has_wilsons_interval(right):
    low, high = reliability.accuracy_band(np.full((20, 1), 0.55), np.full((20, 1), right), 10)
    wilson = proportion_confint(20 * right, 20, method="wilson")
    assert (low[5], high[5]) == pytest.approx(wilson, abs=1e-6)
    assert np.isnan(low).sum() == 9


def test_few_questions_have_no_band(grid):
    found = numbers(grid, ["tulu3"], ["0.0"])
    assert found.filter(pl.col("count") < FEW)["low"].null_count() == len(found.filter(pl.col("count") < FEW)) > 0
    enough = found.filter(pl.col("count") >= FEW)
    assert (enough["low"] <= enough["accuracy"]).all()
    assert (enough["accuracy"] <= enough["high"]).all()


def test_seeds_of_other_questions_are_refused(built_store, tmp_path):
    small = built_store(models=("m",), sft=("s",), smoothing=("0.0",), lr=("1e-5",), seeds=("0", "1"))
    path = next(path for path in small.scores("four") if "seed=1" in str(path))
    pl.read_parquet(path, hive_partitioning=False).filter(pl.col("question_id") != "q00003").write_parquet(path)
    with pytest.raises(UserError, match=r"seed=1: has other questions than model=m/.*seed=0; score both on the same"):
        reliability.reliability(
            ["m"], ["s"], ["0.0"], read_selection(small.selection), reading.by_cell(small.scores("four"), "four"),
            language="en", method="perplexity", n_bins=5,
        )  # fmt: skip


def draw(grid, tmp_path, *flags, name="figure.svg"):
    output = tmp_path / name
    program.main(
        [
            *("--benchmark", "ten", "--language", "yo", "--models", *grid.models),
            *("--selection", str(grid.selection), "--scores", *map(str, grid.scores("ten"))),
            *("--output", str(output), *flags),
        ]
    )
    return output


def texts(root):
    nodes = list(root.iter(f"{SVG}text"))
    lines = [line for node in nodes for line in node.iter(f"{SVG}tspan")]  # of a text of several lines
    return ["".join(node.itertext()) for node in [*nodes, *lines]]


def paths(root, color):
    return [node for node in root.iter() if color in (node.get("stroke"), node.get("fill"))]


def test_svg(grid, tmp_path):
    output = draw(grid, tmp_path, "--sft", "tulu3", "alpaca", "--smoothings", "0.0", "0.1")
    root = ElementTree.parse(output).getroot()
    found = texts(root)
    assert "Yoruba (yo), ten" in found
    assert "60 questions; confidence: perplexity; 10 equal-width bins" in found
    assert "Faint: fewer than 10 questions. Bands: 95 % bootstrap intervals of the accuracy" in found
    for text in ("base", "tuned, no smoothing", "tuned, smoothing 0.1", "perfect calibration"):
        assert found.count(text) == 1
    for text in ("Tuned on tulu3", "Tuned on alpaca"):
        assert found.count(text) == 1
    assert found.count("tiny-a") == 2
    assert found.count("Accuracy") == found.count("Questions") == 2
    assert found.count("Confidence") == 4
    assert found.count("ECE") == 4
    eces = numbers(grid, ["tulu3", "alpaca"], ["0.0", "0.1"]).unique(["sft", "model", "smoothing"])["ece"]
    for ece in eces:
        assert f"{ece:.3f}" in found
    for style in theme.STYLES[:3]:
        assert len(paths(root, style.color)) > 20
    assert not re.search("undefined|NaN|null", output.read_text())


def test_base_figure(grid, tmp_path):
    root = ElementTree.parse(draw(grid, tmp_path)).getroot()
    found = texts(root)
    assert "Base models" in found
    assert "base" in found
    assert not any("tuned" in text for text in found)
    assert not paths(root, theme.STYLES[1].color)


def test_png_and_title(grid, tmp_path):
    output = draw(grid, tmp_path, "--title", "A title", name="figure.png")
    assert output.read_bytes().startswith(b"\x89PNG")
    assert "A title" in texts(ElementTree.parse(draw(grid, tmp_path, "--title", "A title")).getroot())


def test_two_drawings_are_the_same(grid, tmp_path):
    flags = ("--sft", "tulu3", "--smoothings", "0.0", "0.1")
    first, second = draw(grid, tmp_path, *flags), draw(grid, tmp_path, *flags, name="again.svg")
    assert first.read_text() == second.read_text()


def test_series_are_told_apart_without_colour():
    assert len({style.color for style in theme.STYLES}) == len(theme.STYLES)
    assert len({style.shape for style in theme.STYLES}) == len(theme.STYLES)
    assert len({style.dash for style in theme.STYLES}) == len(theme.STYLES)


# A language's own name, in the letters that names of subjects, models and data sets may have.
LETTERS = {"am": "አማርኛ", "ar": "العربية", "bn": "বাংলা", "si": "සිංහල", "te": "తెలుగు", "th": "ไทย", "zh": "中文"}


def labelled(tmp_path, text, suffix):
    path = tmp_path / f"label{suffix}"
    theme.save(theme.words(text, 50, 10).properties(width=100, height=20).configure(**theme.config()), [path])
    return path.read_bytes()


@pytest.mark.parametrize("language", LETTERS)
def test_letters_that_are_not_latin(tmp_path, language):
    """An SVG keeps them as text and names a font for them; a PNG shows them where the machine has such a font."""
    text = LETTERS[language]
    root = ElementTree.fromstring(labelled(tmp_path, text, ".svg"))
    [node] = [node for node in root.iter(f"{SVG}text") if node.text == text]
    assert [name.strip(" '\"") for name in node.get("font-family").split(",")] == theme.FONTS.split(", ")
    if not (shutil.which("fc-list") and subprocess.check_output(["fc-list", f":lang={language}"])):
        pytest.skip(f"no font for {language} on this machine")
    in_no_font = "\u0378" * len(text)
    assert labelled(tmp_path, text, ".png") != labelled(tmp_path, in_no_font, ".png")


def test_refusals(grid, tmp_path):
    with pytest.raises(UserError, match=r"figure.pdf: figures are written as .svg or .png"):
        draw(grid, tmp_path, name="figure.pdf")
    with pytest.raises(UserError, match="language 'xx' has no questions"):
        draw(grid, tmp_path, "--language", "xx")
    with pytest.raises(UserError, match=r"SFT set tulu3, smoothing 0.5: no selected cell"):
        draw(grid, tmp_path, "--sft", "tulu3", "--smoothings", "0.5")
    without = [str(path) for path in grid.scores("ten") if "sft=tulu3/smoothing=0.1" not in str(path)]
    with pytest.raises(UserError, match=r"no scores of the selected cell model=tiny-a/sft=tulu3/smoothing=0.1"):
        draw(grid, tmp_path, "--sft", "tulu3", "--smoothings", "0.1", "--scores", *without)
    many = numbers(grid, ["tulu3"], ["0.0"]).with_columns(smoothing=pl.int_range(pl.len()).cast(str))
    with pytest.raises(UserError, match="at most 6 series, not"):
        reliability.reliability_chart(many, "", "")
