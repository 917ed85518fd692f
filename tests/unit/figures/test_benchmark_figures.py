"""The figures of a whole benchmark: their numbers against a plain computation, and that the pictures are whole."""

import math
import re
import xml.etree.ElementTree as ElementTree
from itertools import combinations, pairwise, product
from pathlib import Path

import polars as pl
import pytest

import draw_arrows as arrows_program
import draw_heatmap as heatmap_program
import draw_lr_sensitivity as lr_program
from calgrid.cell import Cell
from calgrid.errors import UserError
from calgrid.figures import arrows, heatmap, lr_sensitivity, theme
from calgrid.store import reading
from calgrid.store.selection import read_selection
from support.synthetic_store import Store
from support.workflow import ROOT, Workflow

SVG = "{http://www.w3.org/2000/svg}"
TIERS = {"low": ["yo", "sw"], "high": ["en"]}  # de is in none
ORDER = ["sw", "yo", "en", "de"]
SETTINGS = {"benchmark": "four", "method": "choice", "n_bins": 10}
PROGRAMS = {"heatmap": heatmap_program, "arrows": arrows_program, "lr_sensitivity": lr_program}


@pytest.fixture(scope="module")
def grid(built_store):
    return built_store(smoothing=("0.0", "0.1"), seeds=("0", "1"), n_questions=30, benchmarks=(("four", 4, 4),))


@pytest.fixture(scope="module")
def metrics(grid):
    return reading.read_metrics(grid.metrics("four"))


def plain(grid: Store, cells: list[Cell], member: str, column: str) -> float:
    """The mean over cells of one value, read file by file."""
    found = []
    for cell in cells:
        rows = pl.read_parquet(grid.path(f"results/metrics/benchmark=four/{cell.path}/metrics.parquet"))
        kind = "pooled" if member == "all" else "language"
        row = [
            row
            for row in rows.to_dicts()
            if (row["grouping"], row["member"], row["confidence_method"], row["n_bins"]) == (kind, member, "choice", 10)
        ]
        assert len(row) == 1
        found.append(row[0][column])
    return sum(found) / len(found)


def chosen(grid: Store, model: str, sft: str, smoothing: str) -> list[Cell]:
    return [Cell(model)] if sft == "base" else read_selection(grid.selection)[model, sft, smoothing]


def arguments(grid: Store, figure: str, output: list[Path], **changes: list[str]) -> list[str]:
    flags = {
        "benchmark": ["four"],
        "models": grid.models,
        "sft": grid.sft,
        "smoothings": grid.smoothing,
        "selection": [str(grid.selection)],
        "metrics": map(str, grid.metrics("four")),
        "confidence-method": ["choice"],
        "n-bins": ["10"],
        **({} if figure == "lr_sensitivity" else {"tiers": ["low=yo,sw", "high=en"]}),
        "output": map(str, output),
        **changes,
    }
    return [word for flag, values in flags.items() for word in (f"--{flag}", *values)]


def picture(grid: Store, figure: str, folder: Path, **changes: list[str]) -> tuple[ElementTree.Element, list[str]]:
    """The SVG that a program draws, and its texts, after what every figure must have."""
    output = [folder / "figure.svg", folder / "figure.png"]
    PROGRAMS[figure].main(arguments(grid, figure, output, **changes))
    assert output[1].read_bytes().startswith(b"\x89PNG")
    source = output[0].read_text(encoding="utf-8")
    assert not re.search(r"undefined|NaN|null|Infinity", source)
    root = ElementTree.fromstring(source)
    return root, ["".join(node.itertext()) for node in root.iter(f"{SVG}text")]


def marks(root: ElementTree.Element, kind: str) -> list[ElementTree.Element]:
    """The drawn items of Vega's mark type, such as `rect`, without those of legends and axes."""
    groups = [g for g in root.iter(f"{SVG}g") if re.search(rf"\bmark-{kind} role-mark\b", g.get("class", ""))]
    return [item for group in groups for item in group]


def luminance(color: str) -> float:
    red, green, blue = (
        [int(color[i : i + 2], 16) for i in (1, 3, 5)] if color[0] == "#" else map(int, re.findall(r"\d+", color))
    )
    parts = [v / 12.92 if v <= 0.03928 else ((v + 0.055) / 1.055) ** 2.4 for v in (red / 255, green / 255, blue / 255)]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def values(drawn: dict, layer: dict) -> list[dict]:
    """The data of a layer, which Altair may keep aside."""
    return layer["data"].get("values") or drawn["datasets"][layer["data"]["name"]]


# The heatmap


def test_the_heatmaps_numbers(grid, metrics):
    found = heatmap.heatmap(
        grid.models, grid.sft, grid.smoothing, read_selection(grid.selection), metrics, tiers=TIERS, **SETTINGS
    )
    tuned = list(product(grid.models, grid.sft, grid.smoothing))
    arms = [*((model, "base", "none") for model in grid.models), *tuned]
    rows = found.to_dicts()
    assert [(row["model"], row["sft"], row["smoothing"]) for row in rows[:: len(ORDER)]] == arms
    assert [row["language"] for row in rows] == ORDER * len(arms)
    assert [row["tier"] for row in rows[:4]] == ["low", "low", "high", "other"]
    for row in rows:
        cells = chosen(grid, row["model"], row["sft"], row["smoothing"])
        assert row["n_seeds"] == len(cells)
        assert row["ece"] == pytest.approx(plain(grid, cells, row["language"], "ece"), abs=1e-12)


def test_the_heatmaps_picture(grid, metrics, tmp_path):
    root, texts = picture(grid, "heatmap", tmp_path)
    numbers = heatmap.heatmap(
        grid.models, grid.sft, grid.smoothing, read_selection(grid.selection), metrics, tiers=TIERS, **SETTINGS
    )
    assert len(marks(root, "rect")) == len(numbers)
    for value in numbers["ece"]:
        assert f"{value:.3f}".removeprefix("0") in texts
    for expected in (
        "Calibration error by language: four",
        "ECE of each model and language, darker: worse. Confidence: choice; 10 bins; means of 2 seeds",
        *("Model", "SFT set", "Smoothing", "ECE", "other", "tulu3", "0.1"),
    ):
        assert expected in texts, expected
    places = [texts.index(language) for language in ORDER]
    assert places == sorted(places)


def test_ink_can_be_read_on_every_colour(grid, tmp_path):
    root, _ = picture(grid, "heatmap", tmp_path)
    cells = marks(root, "rect")
    printed = [text for text in marks(root, "text") if re.fullmatch(r"1?\.\d+", "".join(text.itertext()))]
    assert len(printed) == len(cells)
    lightness = []
    for cell, text in zip(cells, printed, strict=True):
        one, other = luminance(cell.get("fill")), {"white": 1.0, "black": 0.0}[text.get("fill")]
        assert (max(one, other) + 0.05) / (min(one, other) + 0.05) >= 4.5  # WCAG AA
        lightness.append((float("".join(text.itertext())), one))
    by_value = [light for _, light in sorted(lightness)]
    assert all(after <= before + 0.02 for before, after in pairwise(by_value))  # darker: worse


def test_a_cell_of_42_languages_and_30_arms_holds_its_value():
    languages = [f"l{n:02}" for n in range(42)]
    arms = [(model, "base", "none") for model in "abc"] + list(product("abc", "xyz", ("0.0", "0.1", "0.2")))
    rows = [
        {
            **dict(zip(("model", "sft", "smoothing"), arm, strict=True)),
            **{"order": order, "tier": "high", "language": language, "ece": 0.25, "n_seeds": 1},
        }
        for order, arm in enumerate(arms)
        for language in languages
    ]
    chart = heatmap.heatmap_chart(pl.DataFrame(rows), benchmark="b", method="sum", n_bins=30)
    drawn = chart.to_dict()
    cells = values(drawn, drawn["layer"][0])
    assert len(cells) == 42 * 30
    assert {cell["text"] for cell in cells} == {".25"}
    assert min(cell["right"] - cell["left"] for cell in cells) >= 16  # 3 letters of 7.5 points
    assert drawn["width"] < 800


# The arrows


def test_the_arrows_numbers(grid, metrics):
    found = arrows.arrows(
        grid.models, grid.sft, grid.smoothing, read_selection(grid.selection), metrics, tiers=TIERS, **SETTINGS
    )
    assert len(found) == 2 * 2 * 2 * 4
    for row in found.to_dicts():
        model, sft, smoothing = row["model"], row["sft"], row["smoothing"]
        begin = chosen(grid, model, *(("base", "none") if smoothing == "0.0" else (sft, "0.0")))
        for column in ("confidence", "accuracy"):
            assert row[f"from_{column}"] == pytest.approx(plain(grid, begin, row["language"], column), abs=1e-12)
            end = plain(grid, chosen(grid, model, sft, smoothing), row["language"], column)
            assert row[column] == pytest.approx(end, abs=1e-12)


def test_the_arrows_picture(grid, tmp_path):
    root, texts = picture(grid, "arrows", tmp_path)
    for expected in (
        "Confidence against accuracy: four",
        *("Mean confidence", "Accuracy", "Resource tier", "low", "high", "other"),
        *("Arrow to", "tuned, no smoothing", "smoothing 0.1"),
        *(f"{model}, {sft}" for model, sft in product(grid.models, grid.sft)),
    ):
        assert any(expected in text for text in texts), expected
    panels, languages, smoothings = 4, 4, 2
    assert len(marks(root, "symbol")) == panels * languages * (1 + smoothings)  # base models and heads
    lines = [item for item in marks(root, "line") if item.get("stroke") in theme_colors()]
    assert len(lines) == panels * languages * smoothings
    assert len(marks(root, "rule")) == panels  # perfect calibration
    turned = [m for m in marks(root, "symbol") if "rotate" in m.get("transform", "")]
    assert len(turned) == panels * languages * smoothings


def theme_colors() -> set[str]:
    return {style.color for style in theme.STYLES}


@pytest.fixture
def four_arrows():
    """From one point: right, up, left and nowhere."""
    ends = {"a": (0.7, 0.5), "b": (0.5, 0.7), "c": (0.3, 0.5), "d": (0.5, 0.5)}
    return pl.DataFrame(
        [
            {
                **{"model": "m", "sft": "s", "smoothing": "0.0", "tier": "low", "language": language},
                **{"from_confidence": 0.5, "from_accuracy": 0.5, "confidence": x, "accuracy": y, "n_seeds": 1},
            }
            for language, (x, y) in ends.items()
        ]
    )


def test_heads_point_along_their_arrows(four_arrows):
    drawn = arrows.arrows_chart(four_arrows, benchmark="b", method="sum").to_dict()
    (panel,) = drawn["concat"]
    heads = values(drawn, next(layer for layer in panel["layer"] if "angle" in layer["encoding"]))
    assert [head["angle"] % 360 for head in heads[:3]] == pytest.approx([90, 0, 270])  # clockwise from upwards
    assert [head["confidence"] for head in heads] == pytest.approx([0.7, 0.5, 0.3, 0.5])
    assert heads[3]["size"] == 0  # an arrow that goes nowhere has none
    x, y = (panel["layer"][1]["encoding"][axis]["scale"]["domain"] for axis in "xy")
    unit = panel["width"] / (x[1] - x[0])
    assert unit == pytest.approx(panel["height"] / (y[1] - y[0]))  # so the diagonal lies at 45 degrees


def test_codes_overlap_nothing():
    steps = [0.3 + 0.02 * n for n in range(20)]
    rows = [
        {
            **{"model": "m", "sft": "s", "smoothing": "0.0", "tier": "low", "language": f"l{n:02}", "n_seeds": 1},
            **{
                "from_confidence": y,
                "from_accuracy": y,
                "confidence": y + 0.2 * (n % 3),
                "accuracy": y + 0.01 * (n % 2),
            },
        }
        for n, y in enumerate(steps)
    ]
    numbers = pl.DataFrame(rows)
    frame = arrows.Frame.around(numbers, 240)
    codes = arrows._codes(numbers, frame)
    assert len(codes) > 5
    middles = [frame.pixels(code["confidence"], code["accuracy"]) for code in codes]
    half = (3 * arrows.LETTER / 2, arrows.LINE / 2)
    for (x, y), (other_x, other_y) in combinations(middles, 2):
        assert abs(x - other_x) >= 2 * half[0] or abs(y - other_y) >= 2 * half[1]
    for row, (x, y), step in product(rows, middles, range(101)):
        begin, end = (
            frame.pixels(row["from_confidence"], row["from_accuracy"]),
            frame.pixels(row["confidence"], row["accuracy"]),
        )
        at = [a + step / 100 * (b - a) for a, b in zip(begin, end, strict=True)]
        assert not (abs(at[0] - x) < half[0] and abs(at[1] - y) < half[1])


# The learning rates


def test_the_rates_numbers(grid, metrics):
    selection = reading.read_table(grid.selection)
    found = lr_sensitivity.lr_sensitivity(grid.models, grid.sft, grid.smoothing, selection, metrics, **SETTINGS)
    assert len(found) == 2 * (1 + 2 * 2 * 2)
    for row in found.to_dicts():
        model, sft, smoothing, lr = (row[name] for name in ("model", "sft", "smoothing", "lr"))
        cells = [Cell(model)] if sft == "base" else [Cell(model, sft, smoothing, lr, seed) for seed in grid.seeds]
        for column in ("ece", "accuracy"):
            assert row[column] == pytest.approx(plain(grid, cells, "all", column), abs=1e-12)
        if sft == "base":
            assert row["validation_loss"] is None and not row["selected"]
        else:
            losses = [r["validation_loss"] for r in selection.to_dicts() if Cell(*list(r.values())[:5]) in cells]
            assert row["validation_loss"] == pytest.approx(sum(losses) / 2)
            assert row["selected"] == (cells[0] in chosen(grid, model, sft, smoothing))


def test_what_diverged_or_was_not_scored_is_left_out(grid, metrics):
    selection = reading.read_table(grid.selection).with_columns(
        validation_loss=pl.when((pl.col("lr") == "5e-5") & (pl.col("seed") == "1"))
        .then(math.nan)
        .otherwise("validation_loss")
    )
    scored = metrics.filter(pl.col("lr") != "5e-5")
    found = lr_sensitivity.lr_sensitivity(grid.models, grid.sft, grid.smoothing, selection, scored, **SETTINGS)
    rates = found.filter(lr="5e-5")
    assert len(rates) == 2 * 2 * 2
    for column in ("ece", "accuracy", "validation_loss"):
        assert rates[column].null_count() == len(rates)
    chart = lr_sensitivity.lr_sensitivity_chart(found, **SETTINGS).to_json()
    assert "NaN" not in chart and '"5e-5"' not in chart


@pytest.mark.parametrize("rates", [1, 2])
def test_the_rates_picture(grid, tmp_path, rates):
    changes = {}
    if rates == 1:
        selection = reading.read_table(grid.selection).filter("selected")
        selection.write_parquet(tmp_path / "selection.parquet")
        changes = {"selection": [str(tmp_path / "selection.parquet")]}
    root, texts = picture(grid, "lr_sensitivity", tmp_path, **changes)
    for expected in (
        "Sensitivity to the learning rate: four",
        *("ECE", "Accuracy", "Validation loss", "Learning rate", "Smoothing", "1e-5", *grid.models, *grid.sft),
    ):
        assert expected in texts, expected
    assert any("Confidence: choice; 10 bins; means of 2 seeds" in text for text in texts)
    assert ("5e-5" in texts) == (rates == 2)
    panels, smoothings = 4 * 3, 2
    assert len(marks(root, "symbol")) == panels * smoothings * (rates + 1)  # and the rings
    assert len(marks(root, "rule")) == 4 * 2  # base models, which have no loss


# What is refused


@pytest.mark.parametrize("figure", PROGRAMS)
def test_missing_metrics_are_named(grid, tmp_path, figure):
    few = [str(path) for path in grid.metrics("four") if "model=tiny_b/sft=tulu3/smoothing=0.1" not in str(path)]
    output = [tmp_path / "figure.svg"]
    with pytest.raises(
        UserError, match=r"no metrics of model tiny_b, SFT set tulu3, smoothing 0.1 for benchmark four.*--metrics"
    ):
        PROGRAMS[figure].main(arguments(grid, figure, output, metrics=few))
    with pytest.raises(UserError, match=r"tiny-a.* benchmark four, confidence method choice, 7 bins; give them with"):
        PROGRAMS[figure].main(arguments(grid, figure, output, **{"n-bins": ["7"]}))
    with pytest.raises(UserError, match=r"model tiny-a, SFT set alpaca, smoothing 0.3: no "):
        PROGRAMS[figure].main(arguments(grid, figure, output, smoothings=["0.0", "0.3"]))
    with pytest.raises(UserError, match=r"figures are written as .svg or .png"):
        PROGRAMS[figure].main(arguments(grid, figure, [tmp_path / "figure.pdf"]))


def test_a_language_that_one_arm_lacks_is_named(grid, metrics):
    few = metrics.filter(~((pl.col("model") == "tiny_b") & (pl.col("language") == "yo")))
    with pytest.raises(UserError, match="no metrics of model tiny_b, SFT set base, smoothing none, language yo, for"):
        heatmap.heatmap(
            grid.models, grid.sft, grid.smoothing, read_selection(grid.selection), few, tiers=TIERS, **SETTINGS
        )


def test_arrows_without_a_beginning_are_refused(grid, tmp_path):
    with pytest.raises(UserError, match=r"--smoothings 0.1: has no 0.0, from which arrows go to the others; add it"):
        arrows_program.main(arguments(grid, "arrows", [tmp_path / "figure.svg"], smoothings=["0.1"]))


def test_more_than_can_be_told_apart_is_refused(four_arrows):
    many = pl.concat(four_arrows.with_columns(tier=pl.lit(f"t{n}")) for n in range(7))
    with pytest.raises(UserError, match="at most 6 tiers, not 7; give fewer with --tiers"):
        arrows.arrows_chart(many, benchmark="b", method="sum")
    many = pl.concat(four_arrows.with_columns(smoothing=pl.lit(f"0.{n}")) for n in range(5))
    with pytest.raises(UserError, match="at most 4 smoothings, not 5; give fewer with --smoothings"):
        arrows.arrows_chart(many, benchmark="b", method="sum")
    row = {"model": "m", "sft": "s", "lr": "1e-5", "ece": 0.1, "accuracy": 0.5, "validation_loss": 1.0}
    rows = [{**row, "smoothing": f"0.{n}", "selected": True, "n_seeds": 1} for n in range(7)]
    with pytest.raises(
        UserError, match=r"at most 6 arms \(the base model is one\), not 8; give fewer with --smoothings"
    ):
        lr_sensitivity.lr_sensitivity_chart(pl.DataFrame(rows), **SETTINGS)


# The workflow


def test_one_figure_is_planned_with_what_it_needs(tmp_path):
    workflow = Workflow(tmp_path, ROOT / "config/demo.yaml", ROOT / "tests/config/tiny.yaml")
    targets = [f"results/figs/cldr4/{name}.{suffix}" for name, suffix in product(PROGRAMS, ("svg", "png"))]
    plan = workflow.plan(*targets)
    assert sorted(path for figure in PROGRAMS for path in plan[figure]) == sorted(targets)
    assert len(plan["select"]) == 1
    done = workflow.run("results/figs/nothing/heatmap.svg", "--dry-run", check=False)
    assert done.returncode and "benchmark 'nothing' is not in the grid; there are: cldr4" in done.stdout + done.stderr
    done = workflow.run("results/figs/cldr4/heatmap.pdf", "--dry-run", check=False)
    assert done.returncode


def test_all_figures_asks_for_them_as_svg(tmp_path):
    workflow = Workflow(tmp_path, ROOT / "config/demo.yaml", ROOT / "tests/config/tiny.yaml")
    plan = workflow.plan("all_figures")
    for figure in PROGRAMS:
        assert {Path(path).suffix for path in plan[figure]} == {".svg"}
