"""The pages' templates: whatever they print is escaped, and each counts in the hash of the programs that render it."""

import ast
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import StrictUndefined, UndefinedError, nodes

from calgrid.pages import frame
from calgrid.plan import page as plan_page
from calgrid.report import page as report_page
from calgrid.store import program_hash as hashing
from calgrid.tables import page as tables_page
from support.workflow import ROOT

SCRIPTS = ROOT / "workflow/scripts"
LIBRARY = SCRIPTS / "calgrid"
TEMPLATES = sorted(LIBRARY.rglob("*.html"))
FILES = sorted(path for suffix in ("html", "css", "js") for path in LIBRARY.rglob(f"*.{suffix}"))
PLAN, REPORT, REPRODUCTION, TABLES = "plan_grid", "write_report", "write_reproduction", "write_tables_page"
PAPER = ["covers.html", "coverage.html", "claims.html", "table.html", "page.css"]
RENDERED_BY = {  # of each file, the programs whose pages show it
    **{f"pages/{name}": {PLAN, REPORT, REPRODUCTION, TABLES} for name in ("frame.html", "frame.css")},
    **{f"plan/{name}": {PLAN} for name in ("page.html", "page.css")},
    **{f"report/{name}": {REPORT} for name in ("page.html", "page.css", "page.js", "state.html", "reliability.html")},
    **{f"report/{name}.html": {REPORT} for name in ("figures", "reproduction", "files", "provenance")},
    **{f"paper/{name}": {REPORT, REPRODUCTION} for name in PAPER},
    "paper/page.html": {REPRODUCTION},
    "tables/page.html": {TABLES},
    **{f"tables/{name}": {REPORT, TABLES} for name in ("table.html", "page.css")},
}
# Every way out of text, an attribute, a style, a script and a template.
HOSTILE = '</script></style><img src=x onerror="bad()"><!-- \' " & {{ 7 * 7 }} {% if %} {# javascript:bad()'


def name_of(path: Path) -> str:
    return path.relative_to(LIBRARY).as_posix()


each_template = pytest.mark.parametrize("path", TEMPLATES, ids=name_of)


# What a template may do


@each_template
def test_nothing_turns_escaping_off(path):
    environment = frame.environment(path.parent)
    assert environment.autoescape is True
    assert environment.undefined is StrictUndefined
    tree = environment.parse(path.read_text(encoding="utf-8"))
    filters = {node.name for node in tree.find_all(nodes.Filter)}
    assert filters <= {"join", "length", "urlencode"}
    assert not list(tree.find_all((nodes.EvalContextModifier, nodes.MarkSafe, nodes.MarkSafeIfAutoescape)))


def test_only_the_frame_makes_text_that_is_not_escaped():
    makers = set()
    for path in SCRIPTS.rglob("*.py"):
        called = [node.func for node in ast.walk(ast.parse(path.read_bytes())) if isinstance(node, ast.Call)]
        words = {getattr(function, "id", getattr(function, "attr", "")) for function in called}
        if words & {"Markup", "Environment", "Template", "from_string"}:
            makers.add(path)
    assert makers == {LIBRARY / "pages/frame.py"}


@each_template
def test_what_is_printed_within_a_tag_stands_in_quotes(path):
    text = re.sub(r"\{#.*?#\}", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    outside = re.sub(r'="[^"<>]*"', "", re.sub(r"\{%.*?%\}", "", text, flags=re.DOTALL))
    for tag in re.findall(r"<[a-z][^<>]*>", outside):
        assert "{{" not in tag.replace("{{ class(kind) }}", "").replace("{{ class(cell.kind) }}", ""), tag


@each_template
def test_an_address_is_quoted_as_one(path):
    """So that none begins with `javascript:`, and none leaves the results folder's neighbourhood by a `?` or `#`."""
    for address in re.findall(r'\b(?:href|src|action|style|on\w+)="([^"]*)"', path.read_text(encoding="utf-8")):
        assert re.fullmatch(r"#?\{\{ [\w.]+\|urlencode \}\}", address), address


def test_a_style_and_a_script_hold_nothing_of_a_run():
    found = set()
    for path in TEMPLATES:
        text = path.read_text(encoding="utf-8")
        within = re.findall(r"<(?:style|script)\b.*?</|\{% block style %\}.*?\{% endblock %\}", text, re.DOTALL)
        found |= {word for part in within for word in re.findall(r"\{\{ (.*?) \}\}", part)}
    ours = {'text("frame.css")', 'text("page.css")', "tables_style", "reproduction_style", "script"}
    assert found == ours | {"data"}  # which `script_data` makes


@pytest.mark.parametrize("path", [path for path in FILES if path.suffix != ".html"], ids=name_of)
def test_a_style_or_script_does_not_end_its_element(path):
    text = path.read_text(encoding="utf-8").lower()
    assert "</s" not in text
    assert "<!--" not in text


# What comes of hostile text


class Structure(HTMLParser):
    """The tags of a page with their attributes' names, and its text."""

    def __init__(self, html: str):
        super().__init__()
        self.tags: list[tuple[str, ...]] = []
        self.text = ""
        self.feed(str(html))  # of `Markup`, what is joined to it is escaped
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, *(name for name, _ in attrs)))

    def handle_data(self, data):
        self.text += data


@given(st.text())
def test_any_text_is_printed_as_it_is(text):
    values = {"confidence": text, "n_bins": 10, "few": 5, "choices": {text: text}}
    made = Structure(frame.fragment(report_page.__file__, report_page.RELIABILITY, **values))
    calm = Structure(
        frame.fragment(
            report_page.__file__, report_page.RELIABILITY, **{**values, "confidence": "x", "choices": {"x": "x"}}
        )
    )
    assert made.tags == calm.tags
    assert f"Confidence ({text}) against" in made.text


def plan_like(text: str) -> str:
    row = [text] * 3
    lists = ("command", "summary", "again", "unreadable", "unknown", "assumptions", "sizes")
    tables = {name: row if "heads" in name else [row, row] for name in ("heads", "rows", "error_heads", "errors")}
    more = {"n_labels": 1, "wall": [(text, text)], "again_title": text, **tables}
    return frame.page(plan_page.__file__, plan_page.PAGE, text, **more, **{name: [text] for name in lists})


def files_like(text: str) -> str:
    return str(report_page._files([f"tables/{text}.csv", f"{text}/x.svg"]))


def provenance_like(text: str) -> str:
    made = {"commit": text, "versions": {text: text}, "count": 1}
    return str(report_page._provenance(report_page.Provenance([(text,) * 4], [(text, made)], text)))


def tables_like(text: str) -> str:
    return tables_page.page(text, {text: [tables_page.Table(text, text, frame.Markup("<b></b>"))]})


def page_with_script(text: str) -> str:
    return frame.page(
        report_page.__file__, report_page.PAGE, text, report_page.SCRIPT, {text: text},
        tables_style="", reproduction_style="", summary=text, titles={text: text}, parts={text: text},
    )  # fmt: skip


@pytest.mark.parametrize("made", [plan_like, files_like, provenance_like, tables_like, page_with_script])
def test_hostile_text_changes_no_tag(made):
    html = made(HOSTILE)
    hostile, calm = Structure(html), Structure(made("calm"))
    assert hostile.tags == calm.tags
    assert HOSTILE in hostile.text
    for address in re.findall(r'href="([^"]*)"', html):
        assert not re.search(r"""[:<>"' ?]""", address)


def test_a_part_that_no_template_made_is_escaped():
    """A caller that gives HTML as a mere text sees it as text."""
    html = tables_page.page("x", {"x": [tables_page.Table("x", "x", "<table></table>")]})
    assert "<table>" not in html
    assert "&lt;table&gt;" in html


def test_what_is_not_given_is_an_error():
    with pytest.raises(UndefinedError, match="'choices' is undefined"):
        frame.fragment(report_page.__file__, report_page.RELIABILITY, confidence="x", n_bins=1, few=1)


# What a template counts for


def test_each_file_is_known():
    assert set(map(name_of, FILES)) == set(RENDERED_BY)
    assert not [path for path in FILES if len(path.read_text(encoding="utf-8").splitlines()) > 500]


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    scripts = tmp_path_factory.mktemp("programs") / "scripts"
    shutil.copytree(SCRIPTS, scripts, ignore=shutil.ignore_patterns("__pycache__"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hashing, "LIBRARY", scripts / "calgrid")
        yield scripts


def hashes(scripts: Path) -> dict[str, str]:
    return {path.stem: hashing.program_hash(path) for path in scripts.glob("*.py")}


def test_a_changed_file_changes_the_hash_of_the_programs_that_render_it_and_of_no_other(copied):
    before = hashes(copied)
    assert len(before) > 30
    for name, programs in RENDERED_BY.items():
        path = copied / "calgrid" / name
        text = path.read_text(encoding="utf-8")
        path.write_text(f"{text} ", encoding="utf-8")
        after = hashes(copied)
        path.write_text(text, encoding="utf-8")
        assert {program for program in before if before[program] != after[program]} == programs, name
    assert hashes(copied) == before
