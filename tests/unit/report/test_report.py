"""The report: its numbers are those of the figures; its page works offline, by keyboard, on a phone, with any names."""

import gzip
import json
import re
import shutil
from base64 import b64decode, b64encode
from dataclasses import replace
from hashlib import sha256
from html import unescape
from pathlib import Path
from urllib.parse import unquote

import polars as pl
import pytest

import bin_reliability as bins_program
import calgrid
import draw_arrows as arrows_program
import draw_heatmap as heatmap_program
import write_overall_tables as tables_program
import write_report as program
import write_reproduction as reproduction_program
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
from support.synthetic_store import TIERS, Store

LANGUAGES = {"four": ["en", "de", "sw", "yo"], "ten": ["yo", "en", "sw"]}
HOSTILE = (
    "</script><script>document.title='bad'</script><img src=x onerror=\"document.title='bad'\">{{ 7 * 7 }}{% if %}"
)
CHOICES = ("benchmark", "language", "model", "sft")


class Report:
    """A synthetic grid, and all that its report is made of."""

    def __init__(self, root: Path):
        self.store = Store(root).build()
        self.output = root / "results/report.html"
        self.arms = ["--models", *self.store.models, "--sft", *self.store.sft]
        self.all_arms = [*self.arms, "--smoothings", *self.store.smoothing]
        self.shown = [*self.arms, "--smoothings", "0.0", "0.1"]
        self.selection = ["--selection", str(self.store.selection)]
        self.metrics = [path for name in LANGUAGES for path in self.store.metrics(name)]
        for name, languages in LANGUAGES.items():
            self.make_figures(name)
            bins_program.main(
                [
                    *("--benchmark", name, "--languages", *languages, *self.shown, *self.selection),
                    *("--scores", *map(str, self.store.scores(name)), "--output", str(self.bins(name))),
                ]
            )
        tables_program.main(
            [
                *("--benchmarks", *LANGUAGES, "--table1-sft-datasets", "tulu3", *self.shown, *self.selection),
                *("--metrics", *map(str, self.metrics), "--output-dir", str(self.tables)),
                *("--significance", *(str(self.store.significance(name)) for name in LANGUAGES)),
            ]
        )
        reproduction_program.main(
            [
                *self.selection,
                *("--metrics", *map(str, self.metrics)),
                *("--intervals", *(str(self.store.intervals(name)) for name in LANGUAGES)),
                *("--csv", str(self.tables / "reproduction.csv"), "--claims", str(self.tables / "claims.csv")),
                *("--html", str(self.tables / "reproduction.html"), "--figures", str(self.figure("reproduction"))),
            ]
        )
        self.write()

    @property
    def tables(self) -> Path:
        return self.store.path("results/tables")

    def figure(self, name: str) -> Path:
        return self.store.path(f"results/figs/{name}.svg")

    def bins(self, benchmark: str) -> Path:
        return self.store.path(f"results/reliability/{benchmark}.parquet")

    @property
    def files(self) -> list[Path]:
        return sorted(path for part in ("tables", "figs") for path in self.store.path(f"results/{part}").rglob("*.*"))

    def make_figures(self, name: str) -> None:
        for drawn in (heatmap_program, arrows_program):
            drawn.main(
                [
                    *("--benchmark", name, *self.shown, *self.selection, "--tiers", *TIERS),
                    *("--metrics", *map(str, self.store.metrics(name))),
                    *("--output", str(self.figure(f"{name}/{drawn.__name__.removeprefix('draw_')}"))),
                ]
            )
        self.figure(f"{name}/tulu3/reliability_yo").parent.mkdir()
        self.figure(f"{name}/tulu3/reliability_yo").write_text("<svg/>")

    def write(self, *flags: str) -> str:
        program.main(
            [
                *(*self.all_arms, *self.selection, "--lr", *self.store.lr, "--seeds", *self.store.seeds),
                *("--benchmarks", *LANGUAGES, "--diagram-smoothings", "0.0", "0.1"),
                *("--records", *(str(path) for path in self.store.path("results").rglob("train.json"))),
                *("--metrics", *map(str, self.metrics), "--bins", *(str(self.bins(name)) for name in LANGUAGES)),
                *("--table1", str(self.tables / "table1.csv"), "--table-metrics", "accuracy", "ece"),
                *("--heatmaps", *(str(self.figure(f"{name}/heatmap")) for name in LANGUAGES)),
                *("--arrows", *(str(self.figure(f"{name}/arrows")) for name in LANGUAGES)),
                *("--reproduction", str(self.tables / "reproduction.csv")),
                *("--reproduction-figure", str(self.figure("reproduction"))),
                *("--files", *map(str, self.files), "--configuration", '{"grid": {"lr": ["1e-5"]}}'),
                *("--output", str(self.output), *flags),
            ]
        )
        return self.output.read_text()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return Report(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def html(made):
    return made.output.read_text()


def covered(made):
    """A reproduction that covers one number of the paper."""
    cells = reproduction.read_cells(made.tables / "reproduction.csv").with_row_index()
    first = pl.col("index") == 0
    return cells.with_columns(
        covered=first,
        ours=pl.when(first).then("printed").otherwise("ours"),
        difference=pl.when(first).then(0.0).otherwise("difference"),
    ).drop("index")


def data_of(html):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)[1])


def words_of(html):
    return " ".join(unescape(re.sub("<[^>]+>", " ", html)).split())


def part_of(html, name):
    return re.search(f'<section id="{name}">(.*?)</section>', html, re.DOTALL)[1]


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
    assert (made_by["method"], made_by["n_bins"]) == ("perplexity", 10)


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


# In a browser


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("needs Chromium")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


class Opened:
    """A page in the browser, which may load the file itself and nothing else."""

    def __init__(self, browser, path: Path, choice: str = "", width: int = 1200):
        self.problems: list[str] = []
        self.page = browser.new_page(viewport={"width": width, "height": 800})
        self.page.on("console", lambda message: self.problems.append(message.text))
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.problems.append(dialog.message), dialog.dismiss()))
        self.page.route("**/*", lambda route: self.allow(route, path))
        self.page.goto(path.as_uri() + choice)
        self.page.wait_for_selector("html[data-ready]", state="attached")

    def allow(self, route, path: Path) -> None:
        if route.request.url.split("#")[0] == path.as_uri() or route.request.url.startswith("blob:"):
            route.continue_()
        else:
            self.problems.append(f"asked for {route.request.url}")
            route.abort()

    def wait(self, condition: str) -> None:
        """Until an expression is true; Playwright's own way evaluates strings in the page, which refuses that."""
        for _ in range(1000):
            if self.page.evaluate(condition):
                return
            self.page.wait_for_timeout(20)
        raise AssertionError(f"not within 20 s: {condition}")

    def select(self, name: str):
        return self.page.locator(f"#choose-{name}")

    def chosen(self) -> list[str]:
        return [self.select(name).evaluate("it => it.selectedOptions[0].textContent") for name in CHOICES]

    @property
    def picture(self) -> str:
        return self.page.locator("#diagram figure svg").evaluate("it => it.outerHTML")

    @property
    def table(self) -> list[list[str]]:
        rows = self.page.locator("#diagram .beside table").first.locator("tbody tr").all()
        return [row.locator("th, td").all_text_contents() for row in rows]


@pytest.fixture
def opened(browser, made):
    opened = Opened(browser, made.output)
    yield opened
    opened.page.close()
    assert opened.problems == []


def test_each_choice_changes_the_picture(opened, html):
    data = data_of(html)
    seen = [opened.picture]
    assert opened.chosen() == ["four", content.POOLED_NAME, "tiny-a", "alpaca"]
    for name, label in (("benchmark", "ten"), ("language", "Yoruba (yo)"), ("model", "tiny_b"), ("sft", "tulu3")):
        opened.select(name).select_option(label=label)
        assert opened.picture not in seen
        seen.append(opened.picture)
    [benchmark] = [one for one in data["benchmarks"] if one["name"] == "ten"]
    place = [language["code"] for language in benchmark["languages"]].index("yo")
    arms = [arm for arm in benchmark["arms"] if arm["model"] == 1 and arm["sft"] in (None, 1)]
    expected = []
    for arm in arms:
        n, accuracy, confidence, ece, _ = arm["languages"][place]
        expected.append(
            [data["styles"][arm["style"]]["name"], str(n), *(f"{v:.3f}" for v in (accuracy, confidence, ece))]
        )
    assert opened.table == expected
    assert [row[0] for row in expected] == ["base", "tuned, no smoothing", "tuned, smoothing 0.1"]
    for row in expected:
        assert f">{row[-1]}</text>" in opened.picture
        assert f">{row[0]}</text>" in opened.picture
    link = opened.page.locator("#diagram .beside a")
    assert link.get_attribute("href") == "figs/ten/tulu3/reliability_yo.svg"
    opened.select("language").select_option(label="English (en)")
    assert link.count() == 0


def test_every_bin_is_drawn(opened, html):
    [benchmark, _] = data_of(html)["benchmarks"]
    bins = sum(len(arm["languages"][0][4]) for arm in benchmark["arms"] if arm["model"] == 0 and not arm["sft"])
    assert opened.page.locator("#diagram figure path > title").count() == bins
    opened.page.locator("#diagram summary").click()
    assert opened.page.locator("#diagram details tbody tr").count() == bins
    opened.select("sft").select_option(label="tulu3")
    assert opened.page.locator("#diagram details").get_attribute("open") is not None
    styles = [re.findall(f'{name}="([^"]+)"', opened.picture) for name in ("stroke-dasharray", "fill")]
    assert all(len(set(found)) >= 3 for found in styles)


def test_the_figures_are_shown(opened):
    for place in range(2 + 2):
        opened.page.locator("img").nth(place).scroll_into_view_if_needed()
        opened.wait(f"document.images[{place}].naturalWidth > 100")
    assert opened.page.locator("img").count() == 2 + 2
    assert opened.page.locator("img").evaluate_all("all => all.every((image) => image.alt.includes('numbers'))")


def test_a_loaded_page_has_its_figures(opened):
    """Without scrolling: whoever prints it has them."""
    widths = opened.page.locator("img").evaluate_all("all => all.map((image) => image.naturalWidth)")
    assert len(widths) == 2 + 2 and min(widths) > 100


def test_a_language_is_kept_where_the_benchmark_has_it(opened):
    opened.select("language").select_option(label="Yoruba (yo)")
    opened.select("benchmark").select_option(label="ten")
    assert opened.chosen()[1] == "Yoruba (yo)"
    opened.select("benchmark").select_option(label="four")
    opened.select("language").select_option(label="German (de)")
    opened.select("benchmark").select_option(label="ten")
    assert opened.chosen()[1] == content.POOLED_NAME


def test_the_address_keeps_the_choice(browser, made):
    address = "#benchmark=ten&language=sw&model=tiny_b&sft=tulu3"
    opened = Opened(browser, made.output, address)
    assert opened.chosen() == ["ten", "Swahili (sw)", "tiny_b", "tulu3"]
    assert opened.page.locator("#diagram").evaluate("it => it.getBoundingClientRect().top < innerHeight")
    opened.select("model").select_option(label="tiny-a")
    assert opened.page.evaluate("location.hash") == address.replace("tiny_b", "tiny-a")
    opened.page.reload()
    opened.page.wait_for_selector("html[data-ready]", state="attached")
    assert opened.chosen() == ["ten", "Swahili (sw)", "tiny-a", "tulu3"]
    opened.page.evaluate("location.hash = '#benchmark=four&language=xx&sft=alpaca'")
    opened.wait("document.querySelector('#choose-benchmark').value === '0'")
    assert opened.chosen() == ["four", content.POOLED_NAME, "tiny-a", "alpaca"]
    opened.select("model").select_option(label="tiny_b")
    opened.page.locator("nav a", has_text="Table 1").click()
    assert opened.chosen()[2] == "tiny_b"
    assert opened.problems == []
    opened.page.close()


def test_by_keyboard(opened):
    reached = []
    for _ in range(60):
        opened.page.keyboard.press("Tab")
        name = opened.page.evaluate("document.activeElement.id")
        if not name.startswith("choose-"):
            continue
        before = (opened.picture, opened.chosen())
        opened.page.keyboard.press("ArrowDown")
        assert opened.picture != before[0]
        assert opened.chosen() != before[1]
        assert opened.page.evaluate("document.activeElement.id") == name
        reached.append(name)
        if len(reached) == len(CHOICES):
            break
    assert reached == [f"choose-{name}" for name in CHOICES]
    for name in CHOICES:
        label = opened.select(name).evaluate("it => it.labels[0].textContent")
        assert report_page.CHOICES[name] in label


@pytest.mark.parametrize("width", [360, 768, 1200])
def test_the_page_fits_its_window(browser, made, width):
    opened = Opened(browser, made.output, width=width)
    opened.page.locator("details").evaluate_all("all => all.forEach((it) => (it.open = true))")
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
    drawn = opened.page.locator("#diagram figure svg").bounding_box()
    assert drawn["x"] >= 0
    assert 280 < drawn["width"] <= min(width, 500)
    inside = "all => all.map((it) => it.getBoundingClientRect().right)"
    assert max(opened.page.locator("img").evaluate_all(inside)) <= width
    caption = opened.page.locator("figcaption").first.bounding_box()
    assert caption["width"] > 0.9 * min(width, 1184) - 32  # of the text's column
    assert opened.problems == []
    opened.page.close()


def test_hostile_names_are_text(browser, made, tmp_path):
    """A model, an SFT set, a benchmark, a language and a figure that would run scripts."""
    renamed = {"tiny_b": HOSTILE, "tulu3": f"{HOSTILE}s", "yo": f"{HOSTILE}l"}
    frame = pl.read_parquet(made.bins("four")).with_columns(pl.col("model", "sft", "language").replace(renamed))
    models, sft = ["tiny-a", HOSTILE], ["alpaca", f"{HOSTILE}s"]
    benchmark = f"{HOSTILE}b"
    figure = tmp_path / "heatmap.svg"
    figure.write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9" onload="parent.document.title=\'bad\'">'
        "<script>parent.document.title='bad'</script><image href='http://example.invalid/x.png'/></svg>"
    )
    arms = arms_to_show(models, sft, ["0.0", "0.1"])
    selection = pl.read_parquet(made.store.selection).with_columns(pl.col("model", "sft").replace(renamed))
    points = content.state(arms, made.store.lr, ["0"], [benchmark], selection, set())
    made_by = {"commit": HOSTILE, "versions": {HOSTILE: HOSTILE}, "device": HOSTILE, "count": 1}
    page = report_page.page(
        [*points, replace(points[0], model=HOSTILE)],
        {benchmark: (1, 2)},
        HOSTILE,
        "",
        content.diagrams({benchmark: frame}, models, sft, ["0.0", "0.1"]),
        HOSTILE,
        {name: [report_page.Figure(HOSTILE, figure, HOSTILE)] for name in ("heatmap", "arrows", "reproduction")},
        covered(made),
        [f"tables/{HOSTILE}.csv"],
        report_page.Provenance([(HOSTILE,) * 4], [(HOSTILE, made_by)], HOSTILE),
    )
    path = tmp_path / "report.html"
    path.write_text(page)
    opened = Opened(browser, path)
    for name, label in (("language", f"{HOSTILE}l"), ("model", HOSTILE), ("sft", f"{HOSTILE}s")):
        opened.select(name).select_option(label=label)
    assert opened.chosen() == [benchmark, f"{HOSTILE}l", HOSTILE, f"{HOSTILE}s"]
    assert HOSTILE in opened.page.locator("#shown").text_content()
    assert opened.page.title() == report_page.TITLE
    for place in range(3):
        opened.page.locator("img").nth(place).scroll_into_view_if_needed()
        opened.wait(f"document.images[{place}].naturalWidth === 9")
    assert opened.page.locator("img[onerror], img[src=x], body script:not(#data)").count() == 1  # the page's own
    assert opened.problems == []
    opened.page.close()
