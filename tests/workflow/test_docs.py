"""The documentation: its links lead somewhere, all pages can be reached, and its commands are real."""

import ast
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from snakemake.cli import parse_args

from support.workflow import ROOT, Workflow

README = ROOT / "README.md"
PAGES = [
    README,
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *(ROOT / folder / "README.md" for folder in ("benchmarks", "config", "data/paper")),
]
LIBRARY = ROOT / "workflow/scripts/calgrid"
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


# Names

DOTTED = re.compile(r"(?<![\w/.:])calgrid((?:\.[A-Za-z_]\w*)+)")
PATH = re.compile(
    r"(?<![\w/.$}-])((?:workflow|tests|profiles|envs|docs|benchmarks|config|data/paper|calgrid)/[\w./*{}<>-]+)"
)
FILE = re.compile(r"`([\w-]+\.(?:py|smk))`")


def definitions(body: list[ast.stmt]) -> dict[str, list[ast.stmt]]:
    """What a module or a class defines, each with what is defined inside it."""
    found: dict[str, list[ast.stmt]] = {}
    for statement in body:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            found[statement.name] = statement.body if isinstance(statement, ast.ClassDef) else []
        elif isinstance(statement, ast.Assign | ast.AnnAssign):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            found |= {target.id: [] for target in targets if isinstance(target, ast.Name)}
    return found


def is_defined(dotted: str) -> bool:
    """Whether `store.files.read_json` or `measure.questions.Questions.take` is there; nothing is imported."""
    place, names = LIBRARY, dotted.split(".")
    while names and (place / names[0]).is_dir():
        place /= names.pop(0)
    module = place / f"{names[0]}.py" if names and (place / f"{names[0]}.py").is_file() else place / "__init__.py"
    names = names[1:] if module.name != "__init__.py" else names
    body = ast.parse(module.read_text(encoding="utf-8")).body
    for name in names:
        found = definitions(body)
        if name not in found:
            return False
        body = found[name]
    return True


def exists(path: str) -> bool:
    """Whether a path of the project is there; `<name>` and `{name}` stand for any."""
    pattern = re.sub(r"<\w+>|\{\w+\}", "*", path.rstrip("."))
    if "*" not in pattern:
        return any((folder / pattern).exists() for folder in (ROOT, LIBRARY.parent))
    return any(any(folder.glob(pattern.rstrip("/"))) for folder in (ROOT, LIBRARY.parent))


def names_of(page: Path) -> Iterator[tuple[str, bool]]:
    """The names of the library, and the files, that a page mentions; with whether each is there."""
    text = page.read_text(encoding="utf-8")
    scripts = {path.name for folder in ("workflow", "benchmarks", "tests") for path in (ROOT / folder).rglob("*.*")}
    for dotted in DOTTED.findall(text):
        if dotted[1:] not in ("sif", "def", "yaml"):  # files
            yield f"calgrid{dotted}", is_defined(dotted[1:])
    for path in PATH.findall(text):
        yield path, exists(path)
    for name in FILE.findall(text):
        yield name, name in scripts


def test_names_are_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "`calgrid.store.files.read_json(x)`, calgrid.measure.questions.Questions.take. calgrid.open_results\n"
        "calgrid.metrics `calgrid.store.files.read` `calgrid.cell.Cell.model` calgrid.cell.Cell.models\n"
        "workflow/scripts/*.py, workflow/scripts/<name>.py, `workflow/metrics.py`. results/benchmarks/x /envs/y\n"
        "calgrid/cell.py `measure_cell.py` `metrics_of_cell.py` calgrid.sif\n"
    )
    assert sorted(name for name, there in names_of(page) if not there) == [
        *("calgrid.cell.Cell.models", "calgrid.metrics", "calgrid.store.files.read"),
        *("metrics_of_cell.py", "workflow/metrics.py"),
    ]
    assert len(list(names_of(page))) == 13
    assert sum(len(list(names_of(page))) for page in PAGES) > 100


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_names_is_there(page):
    assert [name for name, there in names_of(page) if not there] == []


def test_programs_that_the_code_names_are_there():
    """In messages, help texts, comments and commands."""
    files = [path for folder in ("workflow", "benchmarks", "profiles", "envs") for path in (ROOT / folder).rglob("*")]
    files = [path for path in files if path.suffix in (".py", ".smk", ".yaml", ".rst")]
    known = {path.name for path in [*files, *ROOT.glob("tests/**/*.py")]} | {"calib_tools.py"}  # hendrycks/test's
    named = {
        (path.name, name) for path in files for name in re.findall(r"\b\w+\.py\b", path.read_text(encoding="utf-8"))
    }
    assert sorted((where, name) for where, name in named if name not in known) == []


def test_every_folder_has_its_line_in_the_file_tree():
    (tree,) = re.findall(
        r"^## Read these files first\n.*?^```\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL
    )
    folders = [path.parent.name for path in LIBRARY.glob("*/__init__.py")]
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    folders += {name.split("/")[0] for name in done.stdout.splitlines() if "/" in name and not name.startswith(".")}
    assert [name for name in folders if not re.search(rf"\b{name}/", tree)] == []


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


def test_what_hooks_and_actions_run_is_real():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    assert [repo["repo"] for repo in hooks] == ["local"]  # no version beside the lock file's
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    for hook in hooks[0]["hooks"]:
        program = hook["entry"].split()[0].removeprefix(".venv/bin/")
        assert hook["language"] == "system"
        assert f"\n{program}==" in lock, hook["entry"]
    actions = [yaml.safe_load(path.read_text()) for path in (ROOT / ".github/workflows").glob("*.yaml")]
    steps = [step for action in actions for job in action["jobs"].values() for step in job["steps"]]
    for command in (step["run"] for step in steps if "run" in step):
        assert command.startswith("make ")
        subprocess.run(["make", "--dry-run", *command.split()[1:]], cwd=ROOT, check=True, capture_output=True)
    assert [
        step["uses"] for step in steps if "uses" in step and not re.search(r"^actions/[\w-]+@v\d+$", step["uses"])
    ] == []


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
