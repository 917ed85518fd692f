"""The prepare programs: sources, refusals, samples, determinism; on made-up rows, real rows and a Hub of our own."""

import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import polars as pl
import pytest

import prepare_benchmark
import prepare_sft
from calgrid.data.sources import values_hash
from calgrid.errors import UserError
from calgrid.store import files
from support.data import folder
from support.workflow import ROOT

SCRIPTS = ROOT / "workflow/scripts"
ALPACA = [{"instruction": f"Add {i} and 1.", "input": "", "output": str(i + 1)} for i in range(100)]
MMLU = [
    {"question": f"Which is {i}?", "subject": f"subject{i % 2}", "choices": [str(i), "no"], "answer": 0}
    for i in range(100)
]


def outputs(path: Path) -> list[str]:
    return ["--output", str(path / "out.parquet"), "--manifest", str(path / "out.json")]


def sft(tmp_path: Path, source: Path, *flags: str, layout: str = "alpaca") -> tuple[pl.DataFrame, dict[str, Any]]:
    prepare_sft.main(["--path", str(source), "--layout", layout, *outputs(tmp_path), *flags])
    return pl.read_parquet(tmp_path / "out.parquet"), files.read_json(tmp_path / "out.json")


def benchmark(
    tmp_path: Path, source: Path, *flags: str, layout: str = "mmlu", language: str = "en"
) -> tuple[pl.DataFrame, dict[str, Any]]:
    origin = ["--path", str(source), "--layout", layout, "--language", language]
    prepare_benchmark.main([*origin, *outputs(tmp_path), *flags])
    return pl.read_parquet(tmp_path / "out.parquet"), files.read_json(tmp_path / "out.json")


# --- What is written


def test_sft_output(tmp_path: Path) -> None:
    source = folder(tmp_path / "in", ALPACA)
    frame, manifest = sft(tmp_path, source)
    message = pl.Struct({"role": pl.String, "content": pl.String})
    assert frame.schema == {"id": pl.String, "split": pl.String, "messages": pl.List(message)}
    assert frame["id"].to_list() == [str(i) for i in range(100)]
    assert [row[1]["content"] for row in frame["messages"]] == [row["output"] for row in ALPACA]
    assert manifest == {
        "source": str(source),
        "revision": None,
        "config": None,
        "split": "train",
        "layout": "alpaca",
        "train": 98,
        "validation": 2,
        "rows": 100,
        "rejected": {},
        "sha256": values_hash(frame),
    }
    assert files.read_provenance(tmp_path / "out.parquet")["sha256"] == manifest["sha256"]


def test_benchmark_output(tmp_path: Path) -> None:
    frame, manifest = benchmark(tmp_path, folder(tmp_path / "in", MMLU, "test.jsonl"))
    texts = ("question_id", "subject", "category", "cultural_sensitivity", "question")
    assert frame.schema == {**dict.fromkeys(texts, pl.String), "options": pl.List(pl.String), "answer": pl.UInt8}
    assert frame["question_id"].to_list()[:3] == ["subject0/test/0", "subject1/test/0", "subject0/test/1"]
    assert (manifest["language"], manifest["rows"], manifest["sha256"]) == ("en", 100, values_hash(frame))


def test_the_manifest_depends_on_the_content_alone(tmp_path: Path) -> None:
    source = folder(tmp_path / "in", ALPACA)
    sft(tmp_path, source)
    first = (tmp_path / "out.json").read_bytes()
    sft(tmp_path, source, "--max-rejected-share", "0.5", "--max-rows", "1000")
    assert (tmp_path / "out.json").read_bytes() == first
    _, changed = sft(tmp_path, folder(source, [*ALPACA[:-1], {**ALPACA[-1], "output": "?"}]))
    assert changed["sha256"] != json.loads(first)["sha256"]


def test_ids_are_the_sources_where_they_are_unique(tmp_path: Path) -> None:
    numbered = [{**row, "id": i + 7} for i, row in enumerate(ALPACA)]
    frame, _ = sft(tmp_path, folder(tmp_path / "in", numbered))
    assert frame["id"].to_list()[0] == "7"
    frame, _ = sft(tmp_path, folder(tmp_path / "in", [{**numbered[1], "id": 7}, *numbered[:10]]))
    assert frame["id"].to_list()[:2] == ["0", "1"]
    frame, _ = sft(tmp_path, folder(tmp_path / "in", [{**numbered[1], "id": None}, *numbered[1:10]]))
    assert frame["id"].to_list()[:2] == ["0", "1"]


# --- Samples and the validation part


def test_the_sample_of_rows_is_fixed(tmp_path: Path) -> None:
    source = folder(tmp_path / "in", ALPACA)
    ids = sft(tmp_path, source, "--max-rows", "40")[0]["id"].to_list()
    assert len(ids) == 40
    assert ids == sorted(ids, key=int)
    assert ids != [str(i) for i in range(40)]
    assert ids == sft(tmp_path, source, "--max-rows", "40")[0]["id"].to_list()
    assert set(ids) > set(sft(tmp_path, source, "--max-rows", "20")[0]["id"].to_list())


def test_copies_of_a_conversation_lie_on_one_side_whatever_the_order(tmp_path: Path) -> None:
    rows = ALPACA + ALPACA[:50]
    shuffled = random.Random(0).sample(rows, len(rows))
    held_out = []
    for order in (rows, shuffled):
        frame, manifest = sft(tmp_path, folder(tmp_path / "in", order), "--validation-share", "0.3")
        sides = {
            side: {part[0]["content"] for part in frame.filter(split=side)["messages"]}
            for side in ("train", "validation")
        }
        assert not sides["train"] & sides["validation"]
        assert len(sides["validation"]) == 30
        assert manifest["train"] + manifest["validation"] == len(rows)
        held_out.append(sides["validation"])
    assert held_out[0] == held_out[1]


def test_a_small_set_holds_out_at_least_one(tmp_path: Path) -> None:
    assert sft(tmp_path, folder(tmp_path / "in", ALPACA[:5]))[1]["validation"] == 1
    with pytest.raises(UserError, match=r"too few distinct conversations \(1\).*max_rows"):
        sft(tmp_path, folder(tmp_path / "in", ALPACA[:1] * 5))


def test_the_sampled_questions_do_not_depend_on_the_order(tmp_path: Path) -> None:
    rows = [{**row, "question_id": i, "answer_index": 0} for i, row in enumerate(MMLU)]
    rows = [{**row, "option_0": "a", "option_1": "b", "answer": "A"} for row in rows]
    chosen = []
    for order in (rows, rows[::-1]):
        source = folder(tmp_path / "in", order, "test.jsonl")
        frame, _ = benchmark(tmp_path, source, "--max-questions", "25", layout="mmlu_prox")
        chosen.append(set(frame["question_id"]))
    assert len(chosen[0]) == 25
    assert chosen[0] == chosen[1]


# --- Refusals


def test_too_many_rejected_rows_are_refused_with_their_reasons(tmp_path: Path) -> None:
    bad = [{**ALPACA[0], "output": ""}, {**ALPACA[0], "output": None}, {**ALPACA[0], "instruction": ""}]
    source = folder(tmp_path / "in", ALPACA[:97] + bad)
    with pytest.raises(UserError) as refused:
        sft(tmp_path, source, "--max-rejected-share", "0.02")
    for part in (str(source), "3 of 100 rows", "3.0%", "empty assistant answer: 2, such as row '97'",
                 "empty user message: 1, such as row '99'", "max_rejected_share"):  # fmt: skip
        assert part in str(refused.value)
    assert not (tmp_path / "out.parquet").exists()

    _, manifest = sft(tmp_path, source, "--max-rejected-share", "0.03")
    assert manifest["rejected"] == {"empty assistant answer": 2, "empty user message": 1}
    assert manifest["rows"] == 97


def test_what_is_rejected_below_the_share_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [*MMLU, {**MMLU[0], "answer": 7}]
    with caplog.at_level("INFO"):
        _, manifest = benchmark(tmp_path, folder(tmp_path / "in", rows, "test.jsonl"))
    assert manifest["rejected"] == {"answer is none of the options": 1}
    assert "rejected: answer is none of the options: 1, such as row 'subject0/test/50'" in caplog.messages


def test_tool_calls_of_different_shapes_are_read(tmp_path: Path) -> None:
    calls: list[Any] = [[{"id": 1, "arguments": {"x": 1}}], [{"id": "b", "arguments": [2]}], None, None]
    rows = [
        {"messages": [{"role": "user", "content": f"{i}?"}, {"role": "assistant", "content": "b", "tool_calls": call}]}
        for i, call in enumerate(calls)
    ]
    _, manifest = sft(tmp_path, folder(tmp_path / "in", rows), "--max-rejected-share", "0.5", layout="messages")
    assert manifest["rejected"] == {"tool turns": 2}


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ("sharegpt", r"needs conversations\[\].from, .* found instruction, input, output; set `layout` to alpaca"),
        ("messages", r"needs messages\[\].role, messages\[\].content: .* missing"),
    ],
)
def test_another_layout(tmp_path: Path, layout: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        sft(tmp_path, folder(tmp_path / "in", ALPACA), layout=layout)


def test_no_layout_fits(tmp_path: Path) -> None:
    source = folder(tmp_path / "in", [{"conversations": [{"role": "user", "content": "a"}]}])
    with pytest.raises(UserError, match=r"found conversations\[\].role, .*; none of alpaca, sharegpt, messages fits"):
        sft(tmp_path, source, layout="sharegpt")
    source = folder(tmp_path / "in2", MMLU, "test.jsonl")
    with pytest.raises(UserError, match=r"sample_id.* missing; found question, subject, choices, answer; .* to mmlu$"):
        benchmark(tmp_path, source, layout="global_mmlu")


def test_unknown_split(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no split 'test' \(`split`, or `example_split` .*\); there are: train"):
        sft(tmp_path, folder(tmp_path / "in", ALPACA), "--split", "test")


def test_unknown_or_missing_configuration(tmp_path: Path) -> None:
    source = folder(tmp_path / "in", ALPACA, "a.jsonl")
    folder(source, ALPACA, "b.jsonl")
    configs = "".join(f"- config_name: {name}\n  data_files: {name}.jsonl\n" for name in ("a", "b"))
    (source / "README.md").write_text(f"---\nconfigs:\n{configs}---\n")
    assert sft(tmp_path, source, "--config", "b")[1]["config"] == "b"
    for flags in (["--config", "c"], []):
        with pytest.raises(UserError, match=r"(?s)\['a', 'b'\].*--config"):
            sft(tmp_path, source, *flags)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("train.json", "[]", "split 'train' has no rows"),
        ("train.jsonl", "", "a file is empty"),
        ("train.json", '[{"instruction"', r"(?s)can't be read: .*the files in the folder"),
        ("train.parquet", "version https://git-lfs.github.com/spec/v1", r"can't be read: .*not a parquet file"),
        ("README.md", "---\nconfigs: [a: b: c\n---\n", r"can't be read: while parsing"),
        ("notes.xyz", "", "can't be read: No .supported. data files"),
    ],
)
def test_files_without_rows(tmp_path: Path, name: str, content: str, message: str) -> None:
    source = folder(tmp_path / "in", [], name)
    (source / name).write_text(content)
    with pytest.raises(UserError, match=message):
        sft(tmp_path, source)


@pytest.mark.parametrize("name", ["[a]", "a*", "a?"])
def test_a_folder_that_datasets_takes_for_a_pattern(tmp_path: Path, name: str) -> None:
    """Beside the folder `ab`, which the pattern would match."""
    (tmp_path / "ab").mkdir()
    (tmp_path / name).mkdir()
    with pytest.raises(UserError, match=r"`datasets` takes \*, \? and \[ in a path for a pattern; move this folder"):
        sft(tmp_path, tmp_path / name)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"path: no such folder '.*nowhere'; correct it, or give a Hub id"):
        sft(tmp_path, tmp_path / "nowhere")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UserError, match=r"(?s)doesn't contain any data files.*Check"):
        sft(tmp_path, empty)


def test_a_folder_has_no_revision(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--revision main: a local folder has no revisions"):
        sft(tmp_path, folder(tmp_path / "in", ALPACA), "--revision", "main")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "one of the arguments --hub --path is required"),
        (["--hub", "a/b", "--path", "c"], "not allowed with argument"),
        (["--path", "c", "--max-rows", "0"], "--max-rows: 0 is not a number of rows"),
        (["--path", "c", "--validation-share", "1"], r"--validation-share: 1 is not a share in \[0, 1\)"),
        (["--path", "c", "--max-rejected-share", "1%"], "--max-rejected-share: invalid share value: '1%'"),
    ],
)
def test_flags(tmp_path: Path, flags: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        prepare_sft.main([*flags, "--layout", "alpaca", *outputs(tmp_path)])
    assert re.search(message, capsys.readouterr().err)


# --- Folders and the Hub


def test_a_changed_file_is_read_again_even_with_its_old_time(tmp_path: Path) -> None:
    source = folder(tmp_path / "in", ALPACA)
    time = (source / "train.jsonl").stat().st_mtime_ns
    sft(tmp_path, source)
    folder(source, ALPACA[::-1])
    os.utime(source / "train.jsonl", ns=(time, time))
    assert sft(tmp_path, source)[0]["messages"][0][1]["content"] == ALPACA[-1]["output"]


def program(*arguments: str, **environment: str) -> "subprocess.Popen[str]":
    command = [sys.executable, *arguments]
    return subprocess.Popen(command, env={**os.environ, **environment}, text=True, stderr=subprocess.PIPE)


def test_a_refusal_is_a_message_without_a_traceback(tmp_path: Path) -> None:
    origin = ["--path", str(tmp_path / "nowhere"), "--layout", "alpaca"]
    process = program(str(SCRIPTS / "prepare_sft.py"), *origin, *outputs(tmp_path))
    _, stderr = process.communicate()
    assert process.returncode == 1
    command, message = stderr.splitlines()  # the log begins with the command, to run it again by hand
    assert f"python {SCRIPTS}/prepare_sft.py --path {tmp_path}/nowhere" in command
    assert message.startswith("error: path: no such folder")


def test_the_modules_are_light_to_import() -> None:
    heavy = "{'datasets', 'polars', 'pyarrow', 'pandas', 'torch'}"
    check = f"import sys, prepare_sft, prepare_benchmark; assert not {heavy} & set(sys.modules)"
    assert program("-c", check, PYTHONPATH=str(SCRIPTS)).wait() == 0


@pytest.mark.parametrize("hub", ["alpaca", "a/b/c", "../alpaca", "json"])
def test_not_a_hub_id(tmp_path: Path, hub: str) -> None:
    with pytest.raises(UserError, match=f"hub: '{hub}' is not a Hub id; write owner/name"):
        prepare_sft.main(["--hub", hub, "--layout", "alpaca", *outputs(tmp_path)])


def test_without_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    # A folder of that name in the working directory is not the data set on the Hub.
    folder(tmp_path / "acme", [])
    folder(tmp_path / "acme" / "mini", ALPACA)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as refused:
        prepare_sft.main(["--hub", "acme/mini", "--layout", "alpaca", *outputs(tmp_path)])
    for part in ("acme/mini: can't be read: Couldn't reach 'acme/mini'", "Check the id", "hf auth login",
                 "hf download acme/mini --repo-type dataset", "--path"):  # fmt: skip
        assert part in str(refused.value)


COMMIT = "a" * 40


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A Hub on this machine with the data set acme/mini at one commit; yields the environment that leads there."""
    root = folder(tmp_path / "repository", ALPACA)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            kind, _, path = self.path.partition("/acme/mini/")
            action, _, rest = path.partition("/")
            revision, _, name = rest.partition("?")[0].partition("/")
            if kind == "/api/datasets" and action == "tree":
                listing = [
                    {"type": "file", "path": p.name, "oid": "0", "size": p.stat().st_size} for p in root.iterdir()
                ]
                self.answer(200, json.dumps(listing).encode())
            elif kind == "/api/datasets" and action == "revision":
                self.answer(200, json.dumps({"id": "acme/mini", "sha": COMMIT, "siblings": []}).encode())
            elif kind == "/datasets" and action == "resolve" and revision not in (COMMIT, "main"):
                self.answer(404, error="RevisionNotFound")
            elif kind == "/datasets" and action == "resolve" and (root / name).is_file():
                self.answer(200, (root / name).read_bytes())
            elif kind == "/datasets" and action == "resolve":
                self.answer(404, error="EntryNotFound")
            else:
                self.answer(401, error="RepoNotFound")

        do_HEAD = do_GET

        def answer(self, status: int, body: bytes = b"", error: str = "") -> None:
            self.send_response(status)
            headers = {"ETag": f'"{len(body)}"', "X-Repo-Commit": COMMIT, "X-Error-Code": error}
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    yield {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "hf"), "NO_PROXY": "127.0.0.1"}
    server.shutdown()
    server.server_close()


def test_a_data_set_of_the_hub(tmp_path: Path, hub: dict[str, str]) -> None:
    def prepare(name: str, *flags: str, **environment: str) -> "subprocess.Popen[str]":
        origin = ["--hub", "acme/mini", "--layout", "alpaca", *flags]
        return program(str(SCRIPTS / "prepare_sft.py"), *origin, *outputs(tmp_path / name), **hub, **environment)

    _, local = sft(tmp_path, tmp_path / "repository")
    together = [prepare("a", "--revision", COMMIT), prepare("b", "--revision", COMMIT)]  # one cache, two writers
    for process, name in zip(together, "ab", strict=True):
        _, stderr = process.communicate()
        assert process.returncode == 0, stderr
        assert "HTTP Request" not in stderr
        manifest = files.read_json(tmp_path / name / "out.json")
        assert manifest == {**local, "source": "acme/mini", "revision": COMMIT}
        assert files.read_provenance(tmp_path / name / "out.parquet")["source_commit"] == COMMIT

    # Without network the cache serves the commit that it holds, and is not taken for another one.
    unknown = prepare("c", "--revision", "v9")
    cached = prepare("d", "--revision", COMMIT, HF_HUB_OFFLINE="1")
    other = prepare("e", "--revision", "b" * 40, HF_HUB_OFFLINE="1")
    assert "error: acme/mini@v9: can't be read: Revision 'v9' doesn't exist" in unknown.communicate()[1]
    assert cached.wait() == 0
    message = f"the local cache holds commit {COMMIT}, which need not be revision '{'b' * 40}'"
    assert message in other.communicate()[1]


# --- Real rows


@pytest.mark.parametrize(
    ("name", "layout", "rows", "rejected"),
    [
        ("tatsu-lab/alpaca", "alpaca", 4998, {"empty assistant answer": 2}),
        ("sharegpt-sample-plain", "sharegpt", 500, {}),
        ("messages-sample", "messages", 200, {}),
    ],
)
def test_real_instructions(
    tmp_path: Path, shared_data: Path, name: str, layout: str, rows: int, rejected: dict[str, int]
) -> None:
    frame, manifest = sft(tmp_path, shared_data / "hub" / name, layout=layout)
    assert len(frame) == rows
    assert frame["id"].is_unique().all()
    assert manifest["rejected"] == rejected
    assert manifest["validation"] == pytest.approx(0.02 * rows, abs=1)


def test_real_tool_turns_are_refused(tmp_path: Path, shared_data: Path) -> None:
    with pytest.raises(UserError, match=r"(?s)153 of 300 rows \(51.0%\).*tool turns: 153, such as row '0'"):
        sft(tmp_path, shared_data / "hub" / "sharegpt-sample", layout="sharegpt")


def test_real_benchmarks(tmp_path: Path, shared_data: Path) -> None:
    hub = shared_data / "hub"
    frame, _ = benchmark(tmp_path, hub / "li-lab" / "MMLU-ProX-Lite", "--config", "en", layout="mmlu_prox")
    options = frame["options"].list.len()
    assert (len(frame), options.min(), options.max()) == (300, 4, 10)
    frame, _ = benchmark(tmp_path, hub / "cais" / "mmlu", "--config", "all")
    assert len(frame) == frame["question_id"].n_unique() == 14_042


def test_real_questions_are_the_same_in_each_language(tmp_path: Path, shared_data: Path) -> None:
    hub = shared_data / "hub"
    chosen = {}
    for language in ("en", "de", "sw", "yo"):
        flags = ("--config", language, "--split", "dev", "--max-questions", "30")
        source = hub / "CohereLabs" / "Global-MMLU"
        frame, _ = benchmark(tmp_path, source, *flags, layout="global_mmlu", language=language)
        chosen[language] = frame.select("question_id", "answer").rows()
    assert len(chosen["en"]) == 30
    assert all(questions == chosen["en"] for questions in chosen.values())
    # MMLU itself has no ids; those made for it are Global-MMLU's, so that the sample is the same there, too.
    frame, _ = benchmark(tmp_path, hub / "cais" / "mmlu", "--config", "all", "--split", "dev", "--max-questions", "30")
    assert frame.select("question_id", "answer").rows() == chosen["en"]
