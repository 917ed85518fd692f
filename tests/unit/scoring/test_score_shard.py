"""The scoring program: resumed by language, bit for bit; what it says in its log."""

import json
import logging
from pathlib import Path

import polars as pl
import pytest
from safetensors.torch import load_file, save_file

import score_shard as program
from calgrid.errors import UserError
from calgrid.models import weights
from calgrid.models.loading import load_model
from calgrid.store import files
from support.shard import FLAGS, LANGUAGES, OUTPUT, tokenised_shard


@pytest.fixture
def shard(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tokenised_shard(tmp_path)


def scored_languages(monkeypatch, *flags: str) -> list[str]:
    """The languages that a run of the program scores."""
    found = []

    def counted(model, tokens, *arguments):
        found.append(tokens["language"][0])
        return real(model, tokens, *arguments)

    real = program.score_language
    monkeypatch.setattr(program, "score_language", counted)
    program.main([*FLAGS, *flags])
    monkeypatch.setattr(program, "score_language", real)
    return found


def test_a_shard_holds_every_question_sorted_and_says_what_made_it(shard, caplog):
    with caplog.at_level(logging.INFO):
        program.main([*FLAGS])
    scores = pl.read_parquet(OUTPUT, hive_partitioning=False)
    assert scores["language"].unique().sort().to_list() == list(LANGUAGES)
    assert scores.equals(scores.sort("language", "question_id"))
    assert len(scores) == 3 * 41
    made_by = files.read_provenance(OUTPUT)
    assert made_by["cell"]["model"] == "m"
    assert made_by["attention"] == "sdpa"
    assert made_by["device"] == "cpu"
    assert made_by["audit"]["yo"]["questions"] == 41
    assert made_by["data"]["yo"]["source"] == "s"
    assert not Path("finished").exists()
    assert "yo: 41 questions; mean probability of all letters together: 0." in caplog.text
    assert "all: 123 of 123 questions, " in caplog.text


def test_finished_languages_are_not_scored_again(shard, monkeypatch):
    program.main([*FLAGS])
    whole = Path(OUTPUT).read_bytes()

    def out_of_time(*_):
        if len(list(Path("finished").glob("*.parquet"))) == 2:
            raise KeyboardInterrupt
        return real(*_)

    real = program.score_language
    monkeypatch.setattr(program, "score_language", out_of_time)
    with pytest.raises(KeyboardInterrupt):
        program.main([*FLAGS])
    monkeypatch.setattr(program, "score_language", real)
    assert scored_languages(monkeypatch) == ["yo"]
    assert Path(OUTPUT).read_bytes() == whole
    assert scored_languages(monkeypatch) == list(LANGUAGES)  # nothing is left of it


def test_what_another_model_has_finished_is_scored_again(shard, monkeypatch):
    program.main([*FLAGS])
    for language in LANGUAGES:
        files.write_parquet(pl.DataFrame(), f"finished/{language}.parquet", files.read_provenance(OUTPUT))
    record = json.loads(Path("base.json").read_text())
    Path("base.json").write_text(
        json.dumps({"weights": record["weights"], "base": record, "lr": 1e-5})
    )  # as train.json
    assert scored_languages(monkeypatch) == list(LANGUAGES)


def test_tokens_of_another_model_and_other_files_are_refused(shard):
    record = json.loads(Path("base.json").read_text())
    Path("base.json").write_text(json.dumps({**record, "content_hash": "other"}))
    with pytest.raises(UserError, match=r"--tokens tokens.parquet: made for another model than base.json"):
        program.main([*FLAGS])
    with pytest.raises(UserError, match=r"--tokens yo.parquet: not written by tokenize_benchmark.py"):
        program.main([*FLAGS, "--tokens", "yo.parquet"])


# What is damaged


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 16
    path.write_bytes(data)


@pytest.mark.parametrize("damage", ["cut", "changed", "nothing"])
def test_a_damaged_partial_file_is_scored_again(shard, monkeypatch, caplog, damage):
    program.main([*FLAGS])
    whole, made_by = Path(OUTPUT).read_bytes(), files.read_provenance(OUTPUT)
    scores = pl.read_parquet(OUTPUT, hive_partitioning=False)
    for language in LANGUAGES:
        files.write_parquet(scores.filter(language=language), f"finished/{language}.parquet", made_by)
    partial = Path("finished/en.parquet")
    if damage == "cut":
        partial.write_bytes(partial.read_bytes()[:-100])
    elif damage == "changed":
        flip(partial, 200)
    else:
        partial.write_bytes(b"")
    assert scored_languages(monkeypatch) == ["en"]
    assert "finished/en.parquet: " in caplog.text
    assert "it is scored again" in caplog.text
    assert Path(OUTPUT).read_bytes() == whole


def tuned(shard: Path) -> Path:
    """The record of a tuned model, as train.py writes it, of the model that is there."""
    base = files.read_json("base.json")
    record = {"weights": {"path": "model"}, "base": base, "lr": 1e-3, "files": weights.sums("model"), "curve": []}
    files.write_json("train.json", record)
    return Path("model/model.safetensors")


TUNED = ("--model", "train.json")


def test_whole_weights_are_scored(shard):
    tuned(shard)
    program.main([*FLAGS, *TUNED])
    assert "sha256" in files.read_provenance(OUTPUT)["model"]["files"]["model.safetensors"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-8]), r"it has \d+ bytes instead of \d+"),
        (lambda path: path.write_bytes(path.read_bytes()[:5]), r"it has 5 bytes instead of \d+"),
        (lambda path: flip(path, 3), "its bytes are not those that were written"),
        (lambda path: flip(path, 40), "its bytes are not those that were written"),
        (lambda path: flip(path, -9), "its bytes are not those that were written"),
        (lambda path: path.unlink(), "no such file"),
    ],
)
def test_damaged_weights_are_refused_with_the_record_to_delete(shard, damage, message):
    damage(tuned(shard))
    expected = rf"model/model.safetensors: .*{message}; delete train.json, and the next run makes the weights again"
    with pytest.raises(UserError, match=expected):
        program.main([*FLAGS, *TUNED])
    assert not Path(OUTPUT).exists()


def test_a_changed_configuration_of_a_tuned_model_is_refused(shard):
    tuned(shard)
    config = Path("model/config.json")
    config.write_text(config.read_text().replace('"rms_norm_eps": 1e-06', '"rms_norm_eps": 1e-05'))
    with pytest.raises(UserError, match=r"model/config.json: damaged: its bytes are not those that were written"):
        program.main([*FLAGS, *TUNED])


def test_damaged_weights_of_a_base_model_are_refused(shard):
    record = {**files.read_json("base.json"), "content_hash": weights.folder_hash("model")}
    files.write_json("base.json", record)
    tokens = {**files.read_provenance("tokens.parquet"), "model": record}
    files.write_parquet(pl.read_parquet("tokens.parquet"), "tokens.parquet", tokens)
    program.main([*FLAGS])
    flip(Path("model/model.safetensors"), -9)
    with pytest.raises(UserError, match=r"model: its files are not those that base.json was made from; make the model"):
        program.main([*FLAGS])


def test_weights_that_lack_a_tensor_are_refused_and_not_drawn_at_random(shard):
    path = Path("model/model.safetensors")
    tensors = load_file(path)
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, path, {"format": "pt"})
    with pytest.raises(UserError, match=r"no tensor 'model.layers.1.mlp.up_proj.weight' in its safetensors"):
        program.main([*FLAGS])
    with pytest.raises(UserError, match=r"its weights lack what its config.json asks for \(.*up_proj.weight\)"):
        load_model({"pretrained_model_name_or_path": "model"}, "auto")


def test_the_record_of_another_cell_is_refused(shard):
    tuned(shard)
    files.write_json("train.json", {**files.read_json("train.json"), "cell": {"model": "other"}})
    with pytest.raises(UserError, match=r"--model train.json: the record of cell .*other.*, not of results/scores"):
        program.main([*FLAGS, *TUNED])


@pytest.mark.parametrize(
    "text", ["[]", "{}", '{"weights": 3}', '{"weights": {}}', '{"weights": {"path": "model"}', "\0"]
)
def test_a_damaged_record_is_refused(shard, text):
    Path("base.json").write_text(text)
    with pytest.raises(UserError, match=r"base.json"):
        program.main([*FLAGS])


def test_damaged_tokens_are_refused(shard):
    flip(Path("tokens.parquet"), 300)
    with pytest.raises(UserError, match=r"tokens.parquet: damaged \(its bytes .*delete it and run again"):
        program.main([*FLAGS])
