"""The report: its numbers are those of the figures; its page works offline."""

import gzip
import json
import re
from base64 import b64decode, b64encode
from hashlib import sha256
from html import unescape
from urllib.parse import unquote

import polars as pl
import pytest

import calgrid
from calgrid import calibration
from calgrid.cell import Cell, arms_to_show
from calgrid.errors import UserError
from calgrid.figures import reliability
from calgrid.measure.questions import judge
from calgrid.pages import frame as html_page
from calgrid.paper import reproduction
from calgrid.report import content
from calgrid.report import page as report_page
from calgrid.report import provenance as report_provenance
from calgrid.scoring import stored
from calgrid.store import files, reading
from calgrid.store.selection import cells_of, read_selection
from support.report import HOSTILE, LANGUAGES, covered, data_of, part_of, words_of

# Numbers


def test_the_numbers_are_those_of_the_figures(made, html):
    data = data_of(html)
    assert (data["models"], data["sft"], data["bins"]) == (list(made.store.models), list(made.store.sft), 10)
    compared = 0
    for benchmark in data["benchmarks"]:
        scores = reading.by_cell(made.store.scores(benchmark["name"]), benchmark["name"])
        for place, language in enumerate(benchmark["languages"][1:], 1):
            figure = reliability.reliability(
                data["models"], data["sft"], ["0.0", "0.1"], read_selection(made.store.selection), scores,
                language=language["code"], method="perplexity", n_bins=10,
            )  # fmt: skip
            for arm in benchmark["arms"]:
                n, accuracy, confidence, ece, bins = arm["languages"][place]
                rows = figure.filter(
                    model=data["models"][arm["model"]],
                    sft=data["sft"][arm["sft"] or 0],
                    smoothing=["none", "0.0", "0.1"][arm["style"]],
                )
                assert len(rows) == 10
                assert (n, ece) == (60, pytest.approx(rows["ece"][0], abs=1e-5))
                weight = rows["count"] / 60
                assert accuracy == pytest.approx((weight * rows["accuracy"]).sum(), abs=1e-5)
                assert confidence == pytest.approx((weight * rows["confidence"]).sum(), abs=1e-5)
                columns = ["count", "confidence", "accuracy", "low", "high"]
                expected = [[i, *row] for i, row in enumerate(rows.select(columns).rows()) if row[0]]
                assert [bin[0] for bin in bins] == [row[0] for row in expected]
                for found, wanted in zip(bins, expected, strict=True):
                    assert found == [None if value is None else pytest.approx(value, abs=1e-5) for value in wanted]
                compared += 1
    assert compared == (4 + 3) * 2 * (1 + 2 * 2)  # languages, models, series


def test_pooled_bins_are_those_of_all_questions(made):
    numbers = pl.read_parquet(made.bins("ten"))
    pooled = reliability.pooled(numbers)
    assert pooled.columns == numbers.columns
    assert pooled["language"].unique().to_list() == ["all"]
    arm = ("tiny_b", "tulu3", "0.1")
    [cell] = cells_of(arm, read_selection(made.store.selection))
    scores = reading.by_cell(made.store.scores("ten"), "ten")[cell]
    judged = judge(stored.read_scores(scores, LANGUAGES["ten"]), "perplexity")
    bins = calibration.bins(judged.confidence, judged.correct, 10)
    part = pooled.filter(model=arm[0], sft=arm[1], smoothing=arm[2])
    assert part["count"].to_list() == bins.count.tolist()
    for name, expected in (("confidence", bins.confidence), ("accuracy", bins.accuracy)):
        assert part[name].to_list() == [
            pytest.approx(value) if n else None for value, n in zip(expected, bins.count, strict=True)
        ]
    assert part["ece"][0] == pytest.approx(calibration.ece(judged.confidence, judged.correct, 10))
    assert part["n_questions"][0] == 180


def test_the_bins_open_in_a_notebook(made):
    frame = (
        calgrid.open_results(made.store.path("results")).reliability.filter(benchmark="ten", language="yo").collect()
    )
    assert len(frame) == 2 * (1 + 2 * 2) * 10
    made_by = files.read_provenance(made.bins("ten"))
    assert (made_by["confidence_method"], made_by["figure_bins"]) == ("perplexity", 10)


def test_bins_that_lack_an_arm_are_refused(made):
    bins = {"four": pl.read_parquet(made.bins("four"))}
    with pytest.raises(UserError, match=r"model tiny-a, SFT set alpaca, smoothing 0\.2 for benchmark four; make"):
        content.diagrams(bins, made.store.models, made.store.sft, made.store.smoothing)


def test_the_state_of_a_grid(made, html):
    part = part_of(html, "state")
    words = words_of(part)
    assert "trainings 24 24" in words
    assert "cells scored and measured on ten 26 26 240 questions a cell, in 4 languages" in words
    assert "learning rates selected 12 12 by the least validation loss" in words
    assert 'class="missing"' not in part
    assert words.count("★") == 12 + 1  # and in the explanation
    assert "alpaca 0.1 ★ 2.010 2.410" in words
    assert words.count("scored and measured") == 2 + 2  # base models; lines of the summary


def test_what_is_not_done_is_said(made, tmp_path):
    """Two cells are not trained, one benchmark is half measured, another cell is measured on one benchmark alone."""
    selection = pl.read_parquet(made.store.selection).with_columns(
        validation_loss=pl.when(lr="5e-5", model="tiny-a").then(float("nan")).otherwise("validation_loss")
    )
    untrained = pl.struct("model", "sft", "smoothing", "lr").is_in(
        [{"model": "tiny-a", "sft": "alpaca", "smoothing": s, "lr": "5e-5"} for s in ("0.0", "0.1")]
    )
    measured = {(reading.benchmark_of(path), reading.cell_of(path)) for path in made.store.metrics("four")}
    cell = Cell("tiny_b", "tulu3", "0.2", "5e-5", "0")
    measured |= {("ten", Cell("tiny-a"))}
    measured -= {("four", cell)}
    arms = arms_to_show(made.store.models, made.store.sft, made.store.smoothing)
    points = content.state(arms, made.store.lr, ["0", "1"], list(LANGUAGES), selection.filter(~untrained), measured)
    by_name = {(p.model, p.sft, p.smoothing, p.lr): p for p in points}
    assert len(points) == 2 + 24
    assert by_name["tiny-a", "alpaca", "0.0", "5e-5"].trained == 0
    assert by_name["tiny-a", "alpaca", "0.0", "5e-5"].loss is None
    assert by_name["tiny-a", "alpaca", "0.1", "1e-5"].selected
    assert by_name["tiny_b", "tulu3", "0.2", "5e-5"].measured == {"four": 0, "ten": 0}
    assert by_name["tiny-a", "base", "none", "none"].measured == {"four": 1, "ten": 1}
    shown = words_of(report_page._state(points, {}, ""))
    assert "trainings 22 48" in shown
    assert "tiny-a alpaca 0.0 ★ 2.000 1 of 2 seeds trained; ten: 0 of 1 scored not trained" in shown
    assert "diverged" in shown
    assert "tiny_b base – ten: 0 of 1 scored" in shown
    assert "1 of 2 seeds trained; not scored" in shown


def test_table_1_the_reproduction_and_the_figures_are_there(made, html):
    assert "tulu3" in part_of(html, "table1")
    assert "alpaca" not in part_of(html, "table1")
    assert "Acc.↑ ECE↓ Acc.↑ ECE↓" in words_of(part_of(html, "table1"))
    parts = {name: part_of(html, name) for name in ("heatmap", "arrows")}
    figure = made.figure("reproduction")
    parts["reproduction"] = report_page._reproduction(covered(made), [report_page.Figure("", figure, figure.name)])
    assert "This run covers 1 of the" in words_of(parts["reproduction"])
    assert "Tuning without smoothing raises ECE" in parts["reproduction"]
    for name, part in parts.items():
        figures = [made.figure(f"{b}/{name}") for b in LANGUAGES] if name != "reproduction" else [figure]
        packed = re.findall(r'<img [^>]*width="\d+" height="\d+" data-svg="([^"]+)">', part)
        assert [gzip.decompress(b64decode(data)) for data in packed] == [path.read_bytes() for path in figures]


def test_a_run_that_covers_nothing_of_the_paper_is_a_sentence(html):
    words = words_of(part_of(html, "reproduction"))
    assert re.fullmatch(
        r"Against the paper This run covers none of the [\d,]+ numbers that the tables of [\w -]+ print: the grid "
        r"has no benchmark global_mmlu; the grid has no benchmark mmlu_prox ?\.",
        words,
    )


def test_the_page_says_what_it_is_of(made, html):
    said = words_of(html[html.index("<h1>") : html.index("<nav>")])
    assert said == (
        "Calibration report Models: tiny-a, tiny_b. SFT sets: alpaca, tulu3; 3 label smoothings, 2 learning rates, "
        f"1 seed. Benchmarks: four (4 languages), ten (3 languages). Code: commit {commit_of(files.code_commit())}."
    )


def commit_of(code):
    commit, plus, changes = code.partition("+")
    return commit[: report_page.SHORT] + plus + changes


@pytest.mark.parametrize(
    ("stem", "title"),
    [
        ("lr_sensitivity", "Sensitivity to the learning rate"),
        ("index", "Page of tables"),
        ("table1", "Table 1"),
        ("change_rates", "Change rates"),
        ("reliability_yo", "Reliability, Yoruba (yo)"),
        ("sw", "Swahili (sw)"),
    ],
)
def test_files_have_readable_titles(stem, title):
    assert report_page._title_of(stem) == title


def test_a_reproduction_is_read_as_it_was_written(made, tmp_path):
    written = pl.read_csv(made.tables / "reproduction.csv", infer_schema_length=None)
    read = reproduction.read_cells(made.tables / "reproduction.csv")
    assert read.columns == reproduction.COLUMNS
    assert read.schema == pl.Schema({name: reproduction.CSV_SCHEMA[name] for name in reproduction.COLUMNS})
    assert read["printed"].to_list() == written["printed"].to_list()
    assert {reason for reason, _ in reproduction.reasons(read)} == {
        f"the grid has no benchmark {name}" for name in ("global_mmlu", "mmlu_prox")
    }
    with pytest.raises(UserError, match="no such file"):
        reproduction.read_cells(tmp_path / "reproduction.csv")
    (tmp_path / "reproduction.csv").write_text("table,benchmark\n1,x\n")
    with pytest.raises(UserError, match="not readable as a reproduction"):
        reproduction.read_cells(tmp_path / "reproduction.csv")


# Provenance


def test_each_combination_stands_once():
    records = [{"commit": "a", "versions": {"polars": "2"}, "device": "cpu"}] * 2 + [{"commit": "b", "versions": {}}]
    assert report_provenance.distinct(records, report_provenance.CODE) == [
        {"commit": "a", "versions": {"polars": "2"}, "count": 2},
        {"commit": "b", "versions": {}, "count": 1},
    ]


def test_the_sources_of_a_grid():
    hub = {"weights": {"hub": "google/gemma-2-2b", "revision": "c5ebcd4"}, "content_hash": None}
    local = {"weights": {"path": "results/pretrained/tiny"}, "content_hash": "3ea0bf5c3ad41477"}
    data = {"source": "allenai/tulu-3", "revision": "main", "source_commit": "b14afda", "sha256": "0" * 64}
    unpinned = {"source_commit": None, "revision": None}
    trainings = {
        Cell("gemma", "tulu3", "0.0", "1e-5", "0"): {"base": hub, "data": data},
        Cell("gemma", "tulu3", "0.1", "1e-5", "0"): {"base": hub, "data": data},
        Cell("tiny", "mine", "0.1", "1e-5", "0"): {"base": local, "data": {**data, **unpinned}},
    }
    questions = {"source": "li-lab/MMLU-ProX", "revision": "8e6106a", "source_commit": None}
    by_language = {"en": {**questions, "sha256": "1"}, "yo": {**questions, "sha256": "2"}}
    shard = {"data": by_language, "commit": "c", "versions": {}, "device": "cuda"}
    scored = report_provenance.of_scores([shard, {**shard, "device": "cpu"}, shard, {}])
    assert scored["data"] == [{**questions, "languages": {"en": "1", "yo": "2"}}]
    assert [(made["device"], made["count"]) for made in scored["scored"]] == [("cuda", 2), ("cpu", 1), (None, 1)]
    assert report_provenance.sources(trainings, {"mmlu_prox": scored}) == [
        ("model", "gemma", "google/gemma-2-2b", "c5ebcd4"),
        ("model", "tiny", "results/pretrained/tiny", "content 3ea0bf5c3ad41477"),
        ("SFT set", "tulu3", "allenai/tulu-3", "b14afda"),
        ("SFT set", "mine", "allenai/tulu-3", "content 0000000000000000"),
        ("benchmark", "mmlu_prox", "li-lab/MMLU-ProX", "8e6106a"),
    ]
    stages = report_provenance.stages(trainings.values(), [scored, scored], [], {"commit": "d", "versions": {}})
    assert [(stage, made["count"]) for stage, made in stages] == [
        ("trainings", 3), ("score files shown", 4), ("score files shown", 2), ("score files shown", 2), ("this page", 1)
    ]  # fmt: skip


def test_the_page_says_what_made_it(html):
    words = words_of(part_of(html, "provenance"))
    assert files.code_commit()[: report_page.SHORT] in words
    assert f"polars {files.versions()['polars']}" in words
    assert "grid: lr: - 1e-5" in words


# The page by itself


def test_the_page_asks_for_nothing_outside(made, html):
    assert not re.search(r"<[a-z]+ [^>]*\bsrc(set)?=", html)
    links = [unescape(link) for link in re.findall(r'\bhref="([^"]*)"', html)]
    anchors = {link[1:] for link in links if link.startswith("#")}
    assert anchors == set(report_page.PARTS)
    targets = [made.output.parent / unquote(link) for link in links if not link.startswith("#")]
    assert {path.resolve() for path in targets} == {path.resolve() for path in made.files}
    assert not re.search(r"@import|url\(|<link|<iframe|\bfetch\(|XMLHttpRequest|import\(", html)
    assert set(re.findall(r"https?://[^\s\"'<]+", html)) == {"http://www.w3.org/2000/svg"}
    assert len(html) < 2**20


def test_the_policy_allows_the_pages_script_alone(html):
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)[1]
    source = re.search(r"<script>(.*?)</script>", html, re.DOTALL)[1]
    assert policy.startswith("default-src 'none'; ")
    allowed = b64encode(sha256(source.encode()).digest()).decode()
    assert f"script-src 'sha256-{allowed}'" in policy
    assert "unsafe-inline" not in policy.split("script-src")[1]
    assert "script-src" not in html_page.page(html_page.__file__, "frame.html", "No script")


def test_data_in_a_script_end_nothing():
    data = {"name": HOSTILE, "separator": "\u2028"}
    text = html_page.script_data(data)
    assert "<" not in text
    assert json.loads(text) == data
