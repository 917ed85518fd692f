"""The documentation: its links lead somewhere, all pages can be reached, and its commands are real."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from snakemake.cli import parse_args

from support.workflow import ROOT, Workflow

README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md")), ROOT / "benchmarks/README.md", ROOT / "data/paper/README.md"]
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
TUTORIAL = (ROOT / "docs/tutorial.md").read_text(encoding="utf-8")
RULES = {
    name
    for path in [ROOT / "Snakefile", *ROOT.glob("workflow/rules/*.smk")]
    for name in re.findall(r"^(?:rule|checkpoint) (\w+):", path.read_text(encoding="utf-8"), re.MULTILINE)
}


# Links


def links(page: Path) -> list[str]:
    text = re.sub(r"`[^`\n]*`", "", FENCE.sub("", page.read_text(encoding="utf-8")))
    return re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", text)


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        anchor = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
        found.add(next(name for n in range(99) if (name := anchor + (f"-{n}" if n else "")) not in found))
    return found


def target(page: Path, link: str) -> tuple[Path, str]:
    path, _, anchor = link.partition("#")
    return (page.parent / path).resolve() if path else page, anchor


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for link in links(page):
        if link.startswith(("https://", "http://", "mailto:")):
            continue
        path, anchor = target(page, link)
        assert path.is_relative_to(ROOT), f"{page.name}: {link} leaves the project"
        assert path.exists(), f"{page.name}: {link}: no such file"
        assert not anchor or anchor in anchors(path), f"{page.name}: {link}: no such heading"


def test_a_broken_link_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# A `b.<c>`: d, e\n\n## A\n\n## A\n\n[x](page.md#a) [`y`](#a-1) `[no](link)`\n```\n[no](link)\n```\n"
    )
    assert links(page) == ["page.md#a", "#a-1"]
    assert anchors(page) == {"a-bc-d-e", "a", "a-1"}


def test_every_page_can_be_reached_from_the_readme():
    seen, todo = {README}, [README]
    while todo:
        page = todo.pop()
        found = {target(page, link)[0] for link in links(page) if "://" not in link}
        new = {path for path in found if path.suffix == ".md" and path.is_file()} - seen
        seen |= new
        todo += new
    assert {str(page.relative_to(ROOT)) for page in PAGES} - {str(page.relative_to(ROOT)) for page in seen} == set()
    assert {path.resolve() for path in (ROOT / "docs").glob("*.md")} <= {
        target(README, link)[0] for link in links(README)
    }


# Commands


def commands(page: Path) -> list[str]:
    """The command lines of a page: in indented and fenced blocks, and in its text where more than a name is given."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    blocks = re.findall(r"^(?: {4})?((?:[A-Z_]+=\S+ )?(?:snakemake|make|python) .*)$", text, re.MULTILINE)
    inline = re.findall(r"`((?:snakemake|make|python workflow/\S+)(?: [^`\n]+))`", FENCE.sub("", text))
    return [*blocks, *inline]


EVERY = [(page, command) for page in PAGES for command in commands(page)]


def test_commands_are_found():
    assert len(EVERY) > 40
    assert len(commands(ROOT / "docs/tutorial.md")) > 10


@pytest.mark.parametrize(("page", "command"), EVERY, ids=lambda value: value.name if isinstance(value, Path) else value)
def test_a_command_is_real(page, command, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    words = shlex.split(command.split(" && ")[0], comments=True)
    words = [re.sub("=[A-Z]$", "=1", word) for word in words if word != "..."]  # gpu=N
    while re.match(r"[A-Z_]+=", words[0]):
        words.pop(0)
    program, *arguments = words
    if program == "make":
        subprocess.run(["make", "--dry-run", *arguments], check=True, capture_output=True)
    elif program == "python":
        if arguments[0].endswith(".py"):
            done = subprocess.run([sys.executable, arguments[0], "--help"], capture_output=True, text=True, check=True)
            flags = [word.split("=")[0] for word in arguments[1:] if word.startswith("--")]
            assert [flag for flag in flags if flag not in done.stdout] == []
    else:
        try:
            _, parsed = parse_args(arguments)
        except SystemExit:
            raise AssertionError(f"{page.name}: {command}\n{capsys.readouterr().err[-300:]}") from None
        assert [file for file in map(str, parsed.configfile or []) if not file.endswith(".yaml")] == []
        named = [name for name in parsed.targets if not name.startswith("results/") and not name.isupper()]
        assert set(named) <= RULES


# The tutorial's own grid with a cell of each kind, since that it can be planned is what is asked.
FEWER = {
    "grid": {"smoothing": [0.0], "lr": ["1e-5"], "languages": ["yo"]},
    "evaluation": {"smoothing": [0.0], "figure1_languages": ["yo"]},
}


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory):
    """A folder with the files that the tutorial lets its reader write."""
    folder = tmp_path_factory.mktemp("tutorial")
    blocks = re.findall(r"^```yaml\n# (\S+)\n(.*?)^```", TUTORIAL, re.MULTILINE | re.DOTALL)
    assert [name for name, _ in blocks] == ["more.yaml", "my.yaml"]
    for name, text in blocks:
        assert yaml.safe_load(text)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def test_the_tutorials_changed_grid_is_planned(newcomer):
    few = {"benchmarks": ["cldr4"], "languages": ["yo"]}
    changed = Workflow(newcomer, ROOT / "config/demo.yaml", newcomer / "more.yaml").plan(
        "all_tables", settings={"grid": few}
    )
    before = Workflow(newcomer, ROOT / "config/demo.yaml").plan("all_tables", settings={"grid": few})
    assert len(set(changed["train"]) - set(before["train"])) == 2 * 4  # weights and record
    assert set(before["train"]) < set(changed["train"])


def test_the_tutorials_own_grid_is_planned(newcomer):
    plan = Workflow(newcomer, newcomer / "my.yaml").plan("all_tables", "audit", "report", settings=FEWER)
    assert plan["audit_model"] == ["results/audits/gemma2-2b.json", "results/audits/my-model.json"]
    assert plan["report"] == ["results/report.html"]


def test_the_tutorial_plans_its_own_grid(newcomer):
    done = Workflow(newcomer, newcomer / "my.yaml").run("plan", settings=FEWER)
    assert "my-model" in done.stdout
    assert (newcomer / "results/plan.html").is_file()
