"""Nothing from outside is run, nothing that data say leaves the result folder, and no secret is written down."""

import ast
import copy
import json
import os
import pickle
import re
import subprocess
import sys
from functools import cache
from itertools import product
from pathlib import Path

import polars as pl
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import compare_arms
import prepare_benchmark
import select_lr
import write_change_rates as change_rates_program
from calgrid.config import check
from calgrid.errors import Interrupted, UserError
from calgrid.models import loading
from calgrid.pages import frame
from calgrid.store import files, paths
from calgrid.tables import latex
from calgrid.training.checkpoints import Checkpoints
from support.data import folder
from support.fuzz.configurations import HOSTILE_NAMES
from support.models import save_tiny
from support.synthetic_store import Store
from support.training import after, run, trained_model
from support.workflow import ROOT

PROGRAMS = sorted([*(ROOT / "workflow/scripts").rglob("*.py"), *(ROOT / "benchmarks").glob("*.py")])
RULES = sorted((ROOT / "workflow/rules").glob("*.smk"))
HOSTILE = ("<script>alert(1)</script>", r"\input{/etc/passwd}", "$x$ % & # _ ^ ~ {", "../../../x", "'; touch x; '")


# No code from outside


def calls(path: Path) -> list[ast.Call]:
    return [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]


@pytest.mark.parametrize("path", PROGRAMS, ids=[path.name for path in PROGRAMS])
def test_no_code_that_comes_with_data_or_models_is_run(path):
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"^\s*(import|from) (pickle|dill|cloudpickle|joblib|marshal)\b", text, re.MULTILINE)
    for call in calls(path):
        name = ast.unparse(call.func)
        given_ = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        assert given_.get("trust_remote_code", "False") == "False", name
        assert given_.get("shell", "False") == "False", name
        assert given_.get("allow_pickle", "False") == "False", name
        assert name not in ("eval", "exec", "os.system", "os.popen", "torch.load", "yaml.load"), name
        if re.fullmatch(r"Auto\w+\.from_pretrained", name) and "calgrid" in path.parts:
            assert given_["trust_remote_code"] == "False", f"{path.name}: {name}"
        if name == "AutoModelForCausalLM.from_pretrained" and "calgrid" in path.parts:
            assert given_["use_safetensors"] == "True"


def test_pickled_weights_are_refused_whatever_they_are_called(tmp_path):
    model = save_tiny(tmp_path / "model", "llama")
    (model / "model.safetensors").rename(model / "pytorch_model.bin")
    where = {"pretrained_model_name_or_path": str(model)}
    with pytest.raises(UserError, match=r"weights can't be loaded .*safetensors"):
        loading.load_model(where, "auto")
    (model / "pytorch_model.bin").rename(model / "model.safetensors")
    (model / "model.safetensors").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(UserError, match="weights can't be loaded"):
        loading.load_model(where, "auto")


class Touches:
    """Pickled, it touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_an_exchanged_index_of_a_checkpoint_is_not_unpickled(tmp_path):
    checkpoints = Checkpoints(tmp_path / "checkpoints", "tag")
    with pytest.raises(Interrupted):
        run(trained_model("llama"), checkpoints=checkpoints, stopping=after(3))
    (index,) = (tmp_path / "checkpoints").rglob(".metadata")
    payload = pickle.dumps(Touches(tmp_path / "ran"))
    index.write_bytes(payload.ljust(index.stat().st_size, b"\0"))
    with pytest.raises(UserError, match=r"can't be read \(.*its bytes are not those that were written\)"):
        run(trained_model("llama"), checkpoints=checkpoints)
    assert not (tmp_path / "ran").exists()


# Revisions and names


def paper() -> dict:
    return copy.deepcopy(as_read())


@cache
def as_read() -> dict:
    return yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))


def test_the_papers_sources_are_pinned_by_commit():
    raw = paper()
    for entry in [*raw["models"].values(), *raw["sft_datasets"].values(), *raw["benchmarks"].values()]:
        assert re.fullmatch(r"[0-9a-f]{40}", entry["revision"])


def test_a_hub_source_without_a_commit_is_refused():
    revisions = (None, "", "main", "v1.0", "c5ebcd4", "C" * 40, "a" * 41, "a" * 40 + "\n")
    for catalogue, revision in product(("models", "sft_datasets", "benchmarks"), revisions):
        raw = paper()
        name, entry = next(iter(raw[catalogue].items()))
        entry["revision"] = revision
        with pytest.raises(UserError) as refused:
            check.load(raw)
        assert f"{catalogue}.{name}" in str(refused.value), ascii(revision)
        assert "revision" in str(refused.value), ascii(revision)


def named(where: str, name: str) -> dict:
    """The paper's configuration with a name of one's own at one place, and wherever the place is referred to."""
    raw = paper()
    if where in ("models", "sft_datasets", "benchmarks"):
        raw[where][name] = copy.deepcopy(next(iter(raw[where].values())))
        raw["grid"][where] = [name]
        if where == "benchmarks":
            raw["evaluation"]["headline_benchmark"] = name
        if where == "sft_datasets":
            raw["evaluation"] |= {"headline_sft_datasets": [name], "table1_sft_datasets": [name]}
    elif where == "tier":
        raw["tiers"] = {name: ["en"]}
    elif where == "shard":
        benchmark = raw["benchmarks"]["mmlu_prox"]
        benchmark["shards"] = {name: benchmark["languages"]}
    else:
        raw["benchmarks"]["mmlu_prox"]["languages"].append(name)
    return raw


PLACES = ("models", "sft_datasets", "benchmarks", "tier", "shard", "language")


@pytest.mark.parametrize("where", PLACES)
def test_an_ordinary_name_is_taken_everywhere(where):
    check.load(named(where, "my-name_2.5"))


def taken(raw: dict) -> bool:
    try:
        check.load(raw)
    except UserError:
        return False
    return True


def test_names_cannot_leave_their_folder_or_reach_a_shell():
    cases = [(where, name) for where, name in product(PLACES, HOSTILE_NAMES) if taken(named(where, name))]
    assert cases == []


def test_a_folder_of_the_workflow_is_inside_its_results():
    raw = paper()
    raw["models"]["gemma2-2b"] = {"path": "results/../../elsewhere"}
    with pytest.raises(UserError, match=r"path: 'results/../../elsewhere' leaves the folder of results"):
        check.load(raw)


# Shell commands

# What stands in a shell command without `:q`: numbers, words of a fixed list, and paths without a name of the user's in
# them. The three of a cell are numbers in their one spelling: `training_data` refuses anything else.
PLAIN = {
    *(
        "threads",
        "log",
        "output",
        "output.csv",
        "output.tex",
        "output.claims",
        "output.html",
        "output.figure",
        "output.png",
    ),
    *(
        "input.selection",
        "params.validation_share",
        "params.figure_bins",
        "params.measured_bins",
        "params.n_bins",
        "params.method",
        "params.methods",
        "params.posthoc_share",
    ),
    *("params.t_test", "params.resamples", "wildcards.smoothing", "wildcards.lr", "wildcards.seed"),
    *("resources.max_rejected_share", "resources.limits", "resources.score_attention", "resources.score_tokens"),
    *("resources.gpu", "resources.nodes", "resources.train_tokens", "resources.activation_checkpointing"),
    *("resources.checkpoint_minutes",),
}


def rules() -> list[tuple[str, str]]:
    """Each rule's text with its shell command."""
    beginning = re.compile(r"^(?=\s*(?:use )?(?:rule|checkpoint)\b)", re.MULTILINE)
    parts = [part for path in RULES for part in beginning.split(path.read_text(encoding="utf-8"))]
    return [(part, part[part.index("shell:") :]) for part in parts if "shell:" in part]


def test_shell_commands_quote_all_data():
    assert len(rules()) > 20
    for rule, shell in rules():
        for name, quoted in re.findall(r"\{([\w.]+)(:q)?\}", shell):
            assert quoted or name in PLAIN, f"{name} in {shell}"
            if name in ("output", "log") and not quoted:  # then their paths have no wildcard and no name
                declared = re.search(rf"(?m)^\s+{name}:\n\s+(.*)$", rule)
                assert declared
                assert "{" not in declared[1], rule


# Texts of data sets


def test_ids_and_subjects_of_questions_name_no_file(tmp_path):
    rows = [
        {"sample_id": f"{text}/../{number}", "subject": text, "subject_category": text, "question": text, "answer": "A"}
        | {f"option_{letter}": f"{text} {letter}" for letter in "abcd"}
        for number, text in enumerate(HOSTILE)
    ]
    source = folder(tmp_path / "in", rows, "test.jsonl")
    out = tmp_path / "out"
    out.mkdir()
    before = {*tmp_path.rglob("*")}
    written = ["--output", str(out / "x.parquet"), "--manifest", str(out / "x.json")]
    prepare_benchmark.main(["--path", str(source), "--layout", "global_mmlu", "--language", "en", *written])
    assert {*tmp_path.rglob("*")} - before == {out / "x.parquet", out / "x.json"}
    assert pl.read_parquet(out / "x.parquet")["subject"].to_list() == list(HOSTILE)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A store whose questions have hostile categories, subjects and labels."""
    store = Store(tmp_path_factory.mktemp("hostile"), n_questions=60, lr=("1e-5",), languages=("en", "yo"))
    store.build_scores()
    for benchmark, _, _ in store.benchmarks:
        for path in store.scores(benchmark):
            rows = pl.read_parquet(path, hive_partitioning=False)
            texts = pl.Series([HOSTILE[number % len(HOSTILE)] for number in range(len(rows))])
            rows = rows.with_columns(category=texts, subject=texts, cultural_sensitivity=texts)
            files.write_parquet(rows, path, {})
    return finish(store)


def finish(store: Store) -> Store:
    records = [str(store.path(paths.train_record(cell.path))) for cell in store.tuned]
    select_lr.main(["--train-json", *records, "--output", str(store.selection)])
    store.build_metrics()
    for name, _, _ in store.benchmarks:
        tables = ["--metrics", *map(str, store.metrics(name)), "--scores", *map(str, store.scores(name))]
        outputs = ["--intervals", str(store.intervals(name)), "--output", str(store.significance(name))]
        flags = ["--benchmark", name, "--selection", str(store.selection), "--resamples", "100"]
        compare_arms.main([*flags, *tables, *outputs])
    return store


def test_hostile_categories_are_escaped_in_tables_and_figures(hostile, tmp_path):
    flags = ["--models", *hostile.models, "--sft", *hostile.sft, "--smoothings", "0.0", "0.1"]
    inputs = ["--selection", str(hostile.selection), "--metrics", *map(str, hostile.metrics("four"))]
    outputs = ["--csv", str(tmp_path / "x.csv"), "--tex", str(tmp_path / "x.tex"), "--figures", str(tmp_path / "x.svg")]
    change_rates_program.main([*flags, *inputs, "--benchmark", "four", *outputs])
    tex, svg = (tmp_path / "x.tex").read_text(), (tmp_path / "x.svg").read_text()
    assert "etc/passwd" in tex
    assert r"\input" not in tex
    assert r"\textbackslash{}input\{/etc/passwd\}" in tex
    assert r"\$x\$ \% \& \# \_ \textasciicircum{} \textasciitilde{} \{" in tex
    assert not re.search(r"<script", svg)
    assert "&lt;script&gt;" in svg
    assert set(pl.read_csv(tmp_path / "x.csv")["member"].unique()) >= {*HOSTILE}


@given(st.text())
def test_any_text_is_harmless_in_latex(text):
    escaped = latex.escape(text)
    plain = re.sub(r"\\text(backslash|asciitilde|asciicircum|less|greater|bar)\{\}|\\[&%$#_{}]", "", escaped)
    assert not set(plain) & set("\\{}$%&#_^~")


@given(st.text())
def test_any_title_is_harmless_in_html(text):
    page = frame.page(frame.__file__, "frame.html", text)
    start, _, _ = frame.page(frame.__file__, "frame.html", "TITLE").partition("TITLE")
    assert page.startswith(start)
    title = page[len(start) :].partition("</title>")[0]
    assert not set(title) & set('<>"')
    assert "default-src 'none'" in page


# Secrets


def test_a_provenance_has_nothing_of_the_environment(tmp_path):
    secret = "s3cr3t-of-this-test"
    code = "import json; from calgrid.store import files; print(json.dumps(files.provenance(cell='x')))"
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "workflow/scripts"),
        **dict.fromkeys(("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "SNAKEMAKE_STORAGE_S3_SECRET_KEY", "OTHER"), secret),
    }
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert secret not in done.stdout + done.stderr
    assert set(json.loads(done.stdout)) == {"cell", "command", "commit", "versions"}
