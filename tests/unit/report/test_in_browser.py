"""The report in a browser: by keyboard, on a phone, with any names."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from calgrid.cell import arms_to_show
from calgrid.report import content
from calgrid.report import page as report_page
from support.report import CHOICES, HOSTILE, covered, data_of


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
