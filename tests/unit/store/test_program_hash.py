"""The hash that decides whether a cheap stage runs again: by what a program uses, and by no word."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from calgrid.store.program_hash import written
from support.workflow import ROOT

SCRIPTS = ROOT / "workflow/scripts"
HASHES = """
import pathlib, sys
from calgrid.store.program_hash import program_hash
for program in sorted(pathlib.Path(sys.argv[1]).glob("*.py")):
    print(program.name, program_hash(program))
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("programs") / "scripts"
    shutil.copytree(SCRIPTS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def hashes(scripts: Path, seed: str = "0") -> dict[str, str]:
    done = subprocess.run(
        [sys.executable, "-c", HASHES, str(scripts)],
        env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(scripts)},
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(line.split() for line in done.stdout.splitlines())


@pytest.fixture(scope="module")
def before(copy: Path) -> dict[str, str]:
    return hashes(copy)


def changed_by(copy: Path, before: dict[str, str], file: str, old: str, new: str) -> set[str]:
    """The programs whose hash changes with a file."""
    path = copy / file
    text = path.read_text(encoding="utf-8")
    assert old in text, f"{file} has no {old!r}"
    path.write_text(text.replace(old, new), encoding="utf-8")
    try:
        after = hashes(copy)
    finally:
        path.write_text(text, encoding="utf-8")
    return {name for name in before if after[name] != before[name]}


def test_it_is_the_same_in_every_process(copy, before):
    assert hashes(copy, seed="1") == hashes(copy, seed="2") == before
    assert len(set(before.values())) == len(before) > 30


WORDS = [  # a description, a message, a comment, a docstring, a help text, a line for the log
    ("calgrid/config/sections.py", "bins of the tables' calibration errors", "bins of the tables' errors,"),
    ("calgrid/scoring/settings.py", "text before a candidate", "text before a candidate, "),
    ("calgrid/calibration.py", "expected 1 or more", "expected at least 1"),
    ("calgrid/calibration.py", "# 0/0 = NaN: the mean over no question", "# another comment"),
    ("calgrid/calibration.py", "Expected calibration error, equation 2", "Another docstring"),
    ("calgrid/scoring/stored.py", "occurs more than once", "is there twice"),
    ("calgrid/store/seals.py", "its seal is gone", "its seal is lost"),
    ("calgrid/scoring/confidence.py", "mean log-probability per token of the option", "another meaning"),
    ("calgrid/store/seals.py", "; delete it and run again", "; delete it, then run again"),
    ("calgrid/scoring/stored.py", "the index of an option", "one of the options"),
    ("calgrid/cli.py", 'print(f"error: {error}"', 'print(f"Error: {error}"'),
    ("calgrid/store/selection.py", "model {}, SFT set {}, smoothing {}", "{}, {}, {}"),
    ("calgrid/figures/reliability.py", "give fewer to --smoothings", "give fewer"),
    ("calgrid/report/page.js", "// ", "// so: "),
    ("measure_cell.py", "languages to measure", "the languages"),
    ("calibrate_posthoc.py", "is not among the languages", "is none of the languages"),
]


def test_words_change_no_hash(copy, before):
    for file, old, new in WORDS:
        assert changed_by(copy, before, file, old, new) == set(), f"{file}: {old}"


CHANGES = [  # a constant or a formula; programs that use it, and programs that don't
    (
        "calgrid/calibration.py",
        "return float(weight @ np.abs(gap))",
        "return float(weight @ gap**2)",
        {"draw_reliability.py", "calibrate_posthoc.py", "measure_cell.py"},
        {"select_lr.py", "draw_heatmap.py", "write_overall_tables.py"},
    ),
    (
        "calgrid/scoring/confidence.py",
        "lambda total, tokens: total / tokens",
        "lambda total, tokens: total / tokens**2",
        {"measure_cell.py", "compare_arms.py"},
        {"select_lr.py", "draw_training_curves.py"},
    ),
    (
        "calgrid/vocabulary.py",
        'NO_SMOOTHING = "0.0"',
        'NO_SMOOTHING = "0"',
        {"compare_arms.py", "draw_figure1.py"},
        {"select_lr.py", "draw_arrows.py", "measure_cell.py"},
    ),
    (  # a default of the configuration, and of the flag of one program
        "calgrid/vocabulary.py",
        "RESAMPLES = 1000",
        "RESAMPLES = 2000",
        {"compare_arms.py"},
        {"measure_cell.py", "write_overall_tables.py", "calibrate_posthoc.py", "draw_heatmap.py"},
    ),
    (
        "calgrid/figures/theme.py",
        'INK = "#222222"',
        'INK = "#232323"',
        {"draw_heatmap.py", "draw_arrows.py", "draw_reliability.py"},
        {"measure_cell.py", "write_overall_tables.py", "select_lr.py"},
    ),
    (
        "calgrid/figures/heatmap.py",
        "THREE_DIGITS = ",
        "THREE_DIGITS = 1 + ",
        {"draw_heatmap.py"},
        {"draw_arrows.py", "draw_lr_sensitivity.py", "write_report.py"},
    ),
    (
        "calgrid/store/selection.py",
        "float(lr)))",
        "-float(lr)))",
        {"select_lr.py"},
        {"write_overall_tables.py", "draw_heatmap.py"},
    ),
]


def test_a_constant_or_formula_changes_the_programs_that_use_it_and_no_others(copy, before):
    for file, old, new, users, others in CHANGES:
        found = changed_by(copy, before, file, old, new)
        assert users <= found, f"{file}: {old}"
        assert not others & found, f"{file}: {old}"


def test_a_change_of_the_program_itself_counts(copy, before):
    found = changed_by(copy, before, "draw_heatmap.py", "arguments = parser.parse_args(argv)", "arguments = parser")
    assert found == {"draw_heatmap.py"}


def test_it_is_the_same_under_every_python():
    """`ast.dump` is not: later versions leave out empty fields, and know fields that earlier ones do not."""
    (statement,) = ast.parse("def f(x, *, y=1): return x[0] + y\n").body
    statement.type_params = []  # as of Python 3.12 on
    assert written(statement) == (
        "FunctionDef(name='f', args=arguments(args=[arg(arg='x')], kwonlyargs=[arg(arg='y')], "
        "kw_defaults=[Constant(value=1)]), body=[Return(value=BinOp(left=Subscript(value=Name(id='x', ctx=Load()), "
        "slice=Constant(value=0), ctx=Load()), op=Add(), right=Name(id='y', ctx=Load())))])"
    )


def test_what_a_program_no_longer_reaches_does_not_count(copy, before):
    text = (copy / "calgrid/calibration.py").read_text(encoding="utf-8")
    (copy / "calgrid/calibration.py").write_text(text + "\n\ndef unused() -> int:\n    return 1\n", encoding="utf-8")
    try:
        assert hashes(copy) == before
    finally:
        (copy / "calgrid/calibration.py").write_text(text, encoding="utf-8")
