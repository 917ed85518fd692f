"""Damaged and exchanged artifacts of the results store."""

import random
from dataclasses import asdict
from pathlib import Path

import numpy as np
import polars as pl
from safetensors.numpy import save_file

from calgrid.cell import Cell
from calgrid.models import weights
from calgrid.models.architectures import ARCHITECTURES
from calgrid.scoring import stored
from calgrid.store import files, paths, seals
from calgrid.tables.contents import read_csv
from support.fuzz.cases import EITHER, REFUSE, Case, damage_bytes
from support.synthetic_store import scores

RECORD = {"loss": 0.1, "lr": 1e-5, "names": ["é", "x"], "base": {"hub": None, "n": 3}}


class Artifacts:
    """Small whole artifacts in a folder, to damage copies of."""

    LANGUAGES = ("en", "yo")

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cells = [Cell("m"), Cell("m", "s", "0.1", "1e-5", "0"), Cell("n")]
        self.shards = [folder / paths.scores("b", cell.path, "all") for cell in self.cells]
        for cell, path in zip(self.cells, self.shards, strict=True):
            frame = scores(cell, self.LANGUAGES, 40, 3, 5)
            files.write_parquet(frame, path, files.provenance(benchmark="b", cell=asdict(cell)))
        self.rows = stored.read_scores([self.shards[0]], self.LANGUAGES)
        self.records = [folder / f"record{number}.json" for number in range(2)]
        for number, path in enumerate(self.records):
            files.write_json(path, {**RECORD, "loss": 0.1 + number})
        self.model = folder / "model"
        self.model.mkdir()
        rng = np.random.default_rng(0)
        shapes = {"model.embed_tokens": (50, 8), "model.norm": (8,), "lm_head": (50, 8)}
        shapes |= {f"model.layers.0.{part}": (8, 8) for part in ARCHITECTURES["llama"].matrices}
        tensors = {f"{name}.weight": rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
        save_file(tensors, self.model / "model.safetensors", {"format": "pt"})
        configuration = {"model_type": "llama", "vocab_size": 50, "hidden_size": 8, "num_hidden_layers": 1}
        files.write_json(self.model / "config.json", configuration)
        self.train = {"weights": {"path": str(self.model)}, "base": {}, "files": weights.sums(self.model)}
        self.foreign, self.table = folder / "foreign.parquet", folder / "table.csv"
        self.rows.write_parquet(self.foreign)
        pl.DataFrame({"model": ["m", "n"], "lr": ["1e-5", "none"], "value": [0.5, 0.25]}).write_csv(self.table)
        every = [*self.shards, *self.records, *self.model.iterdir(), self.foreign, self.table]
        self.whole = {path: path.read_bytes() for path in every}

    def case(self, rng: random.Random) -> Case:
        kinds = {self.parquet: 4, self.weights: 3, self.swap: 2, self.json: 2, self.unsealed: 2}
        return rng.choices(list(kinds), list(kinds.values()))[0](rng)

    def parquet(self, rng: random.Random) -> Case:
        data, name = damage_bytes(self.whole[self.shards[0]], rng)

        def attempt() -> str | None:
            with self.damaged(self.shards[0], data) as path:
                made_by = files.read_provenance(path)
                found = stored.read_scores([path], self.LANGUAGES)
            return "" if found.equals(self.rows) and made_by["cell"]["model"] == "m" else "other rows"

        return Case("Parquet", name, EITHER, attempt)

    def json(self, rng: random.Random) -> Case:
        data, name = damage_bytes(self.whole[self.records[0]], rng)

        def attempt() -> str | None:
            with self.damaged(self.records[0], data) as path:
                found = files.read_record(path, "loss")
            return "" if found == RECORD else f"{found}"

        return Case("JSON", name, EITHER, attempt)

    def weights(self, rng: random.Random) -> Case:
        path = self.model / rng.choice(["model.safetensors", "model.safetensors", "config.json"])
        data, name = damage_bytes(self.whole[path], rng)
        headers_alone = rng.random() < 0.3

        def attempt() -> str | None:
            with self.damaged(path, data):
                if headers_alone:  # what is noticed without a hash: no traceback, whatever it is
                    weights.check_tensors(self.model)
                    return ""
                weights.check(self.train, "train.json")
            return "" if data == self.whole[path] else "other bytes"

        return Case("safetensors", f"{path.name} {name}", EITHER, attempt)

    def unsealed(self, rng: random.Random) -> Case:
        """What carries no hash, of another program or for one: whatever it is, it ends in no traceback."""
        path = rng.choice([self.foreign, self.table])
        data, name = damage_bytes(self.whole[path], rng)

        def attempt() -> str:
            with self.damaged(path, data):
                if path is self.table:
                    read_csv(path)
                else:
                    stored.read_scores([path], self.LANGUAGES)
            return ""

        return Case("unsealed", f"{path.name} {name}", EITHER, attempt)

    def swap(self, rng: random.Random) -> Case:
        """A whole artifact in the place of another one."""
        what = rng.choice(["shard", "shard", "record", "weights", "kinds"])
        if what == "shard":
            source = rng.choice(self.shards[1:])
            return Case("swap", "shard", REFUSE, lambda: self._read_shard(self.whole[source]))
        if what == "record":
            return Case("swap", "record as shard", REFUSE, lambda: self._read_shard(self.whole[self.records[0]]))
        if what == "kinds":
            data = self.whole[rng.choice([self.shards[0], self.model / "model.safetensors"])]

            def read_record() -> str:
                with self.damaged(self.records[0], data) as path:
                    return str(files.read_record(path))

            return Case("swap", "another kind as record", REFUSE, read_record)

        def read_weights() -> str:
            with self.damaged(self.model / "model.safetensors", self.whole[self.shards[0]]):
                weights.check(self.train, "train.json")
            return "other bytes"

        return Case("swap", "shard as weights", REFUSE, read_weights)

    def _read_shard(self, data: bytes) -> str:
        with self.damaged(self.shards[0], data) as path:
            stored.read_scores([path], self.LANGUAGES)
        return "other rows"

    def damaged(self, path: Path, data: bytes) -> "_Damaged":
        return _Damaged(path, data, self.whole[path])


class _Damaged:
    """A file with other bytes, for the time of a block."""

    def __init__(self, path: Path, data: bytes, whole: bytes) -> None:
        self.path, self.data, self.whole = path, data, whole

    def __enter__(self) -> Path:
        self.path.write_bytes(self.data)
        seals._check_parquet.cache_clear()  # one state of a file a millisecond is more than its time tells apart
        return self.path

    def __exit__(self, *_: object) -> None:
        self.path.write_bytes(self.whole)
