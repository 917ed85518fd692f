"""Artifacts appear whole or not at all, and say where they come from."""

import json
import os
import platform
import random
import subprocess
import sys

import polars as pl
import pyarrow.parquet
import pytest

from calgrid import cli
from calgrid.errors import UserError
from calgrid.scoring.settings import Prompting
from calgrid.store import files, seals
from calgrid.training.settings import Training


def test_a_failed_write_leaves_what_was_there(tmp_path):
    target = tmp_path / "out.txt"
    files.write_text(target, "old")
    with pytest.raises(RuntimeError), files.atomic(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_is_replaced_whole(tmp_path):
    target = tmp_path / "model"
    for name in ("a", "b"):
        with files.atomic(target) as folder:
            folder.mkdir()
            (folder / name).touch()
    assert [path.name for path in target.iterdir()] == ["b"]
    assert list(tmp_path.iterdir()) == [target]


def test_what_a_killed_process_left_is_removed_and_a_living_ones_kept(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    names = {pid: tmp_path / f".tmp-{platform.node()}-{pid}-out.txt.part" for pid in (dead.pid, os.getppid())}
    for path in names.values():
        path.touch()
    files.write_text(tmp_path / "out.txt", "x")
    assert not names[dead.pid].exists()
    assert names[os.getppid()].exists()


def test_parquet_carries_its_provenance(tmp_path):
    files.write_parquet(pl.DataFrame({"a": [1]}), tmp_path / "x.parquet", files.provenance(cell="model=a"))
    record = files.read_provenance(tmp_path / "x.parquet")
    assert record["cell"] == "model=a"
    assert set(record) == {"cell", "command", "commit", "versions"}
    assert record["versions"]["polars"] == pl.__version__


def test_files_without_provenance_are_named(tmp_path):
    path = tmp_path / "x.parquet"
    with pytest.raises(UserError, match=r"x\.parquet: no such file"):
        files.read_provenance(path)
    pl.DataFrame({"a": [1]}).write_parquet(path)
    with pytest.raises(UserError, match=r"x\.parquet: no provenance in its metadata"):
        files.read_provenance(path)
    path.write_bytes(b"PAR1 no more")
    with pytest.raises(UserError, match=r"x\.parquet: not readable as Parquet"):
        files.read_provenance(path)


def test_json_that_is_missing_or_damaged_is_named(tmp_path):
    with pytest.raises(UserError, match=r"base\.json: no such file; the stage that writes it has not run"):
        files.read_json(tmp_path / "base.json")
    (tmp_path / "base.json").write_text('{"a":')
    with pytest.raises(UserError, match=r"base\.json: not readable as JSON .* delete it and run again"):
        files.read_json(tmp_path / "base.json")


def test_a_sealed_file_is_an_ordinary_parquet_file(tmp_path):
    path, frame = tmp_path / "x.parquet", pl.DataFrame({"a": [1, 2], "b": ["x", None]})
    files.write_parquet(frame, path, {"cell": "c"})
    assert pl.read_parquet(path).equals(frame)
    assert pl.from_arrow(pyarrow.parquet.read_table(path)).equals(frame)
    assert pl.scan_parquet(path).filter(a=2).collect()["a"].to_list() == [2]
    assert seals.check_parquet(path) == files.seals_of([path])[str(path)]
    pl.read_parquet(path).write_parquet(tmp_path / "y.parquet")
    assert seals.check_parquet(tmp_path / "y.parquet") is None  # of another program


def test_every_byte_of_a_sealed_file_counts(tmp_path):
    path, frame = tmp_path / "x.parquet", pl.DataFrame({"a": range(50)})
    files.write_parquet(frame, path, {"cell": "c"})
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        damaged = tmp_path / f"{place}.parquet"
        damaged.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with pytest.raises(UserError, match=rf"{place}.parquet: .*delete it and run again"):
            files.read_provenance(damaged)
    for length in range(0, len(whole), 11):
        damaged = tmp_path / f"cut{length}.parquet"
        damaged.write_bytes(whole[:length])
        with pytest.raises(UserError, match=rf"cut{length}.parquet: "):
            files.read_provenance(damaged)


def test_every_character_of_a_sealed_record_counts(tmp_path):
    path, record = tmp_path / "x.json", {"loss": 0.1, "lr": 1e-5, "name": "é", "base": {"n": [1, 2]}}
    files.write_json(path, record)
    assert files.read_json(path) == record
    assert list(json.loads(path.read_text()))[-1] == "seal"
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        try:
            assert files.read_json(path) == record
        except UserError as error:
            assert "x.json: " in str(error)
    files.write_json(path, {})
    assert files.read_json(path) == {}
    for value in ([1], "x", None):
        files.write_json(path, value)
        assert files.read_json(path) == value
        with pytest.raises(UserError, match="holds no record"):
            files.read_record(path)


def test_other_temporary_names_are_left_alone(tmp_path):
    other = tmp_path / f".tmp-{platform.node()}-node-7-out.txt.part"
    other.touch()
    files.write_text(tmp_path / "out.txt", "x")
    assert other.exists()


def test_content_hash_tells_parts_apart(tmp_path):
    assert files.content_hash("ab", "c") != files.content_hash("a", "bc")
    (tmp_path / "f").write_text("a")
    before = files.content_hash(tmp_path / "f")
    (tmp_path / "f").write_text("b")
    assert files.content_hash(tmp_path / "f") != before


@pytest.mark.parametrize(
    "settings",
    [
        Training(epochs=3, max_grad_norm=float("inf")),
        Prompting(prompt="{question}\n'x' "),
        Prompting(candidate="-{candidate}"),
    ],
)
def test_settings_survive_their_flags(settings):
    parser = cli.parser("")
    cli.add_settings(parser, type(settings))
    assert cli.read_settings(parser.parse_args(cli.settings_flags(settings)), type(settings)) == settings


def test_a_bad_flag_is_named():
    parser = cli.parser("")
    cli.add_settings(parser, Training)
    with pytest.raises(UserError, match="--batch-size 'x': "):
        cli.read_settings(parser.parse_args(["--batch-size", "x"]), Training)
    cli.add_settings(parser := cli.parser(""), Prompting)
    with pytest.raises(UserError, match=r"prompt: 'no' must hold \{question\}"):
        cli.read_settings(parser.parse_args(["--prompt", "no"]), Prompting)


@pytest.mark.parametrize("size", [10, 2**20, 3 * 2**20 + 5])
def test_sampled_hash_sees_another_checkpoint_of_the_same_size(tmp_path, size):
    path = tmp_path / "weights"
    rng = random.Random(size)
    path.write_bytes(first := rng.randbytes(size))
    before = files.sampled_hash(path)
    path.touch()
    assert files.sampled_hash(path) == before
    first_byte, last_byte = bytes([first[0] ^ 1]), bytes([first[-1] ^ 1])
    for changed in (rng.randbytes(size), first_byte + first[1:], first[:-1] + last_byte, first + b"x"):
        path.write_bytes(changed)
        assert files.sampled_hash(path) != before
