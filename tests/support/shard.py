"""A small shard for the scoring program."""

import json
from pathlib import Path

import tokenize_benchmark
from calgrid.store import files
from support.models import save_tiny
from support.questions import WHY, frame

LANGUAGES = ("am", "en", "yo")


OUTPUT = "results/scores/benchmark=b/model=m/sft=base/smoothing=none/lr=none/seed=none/low.parquet"


def tokenised_shard(folder: Path) -> Path:
    """The working directory, `folder`, gets a model and a tokenised shard of three languages."""
    save_tiny(Path("model"), "llama")
    Path("base.json").write_text(
        json.dumps({"weights": {"path": "model"}, "max_position_embeddings": 512, "model_type": "llama"})
    )
    facts = {"source": "s", "revision": None, "source_commit": None, "rows": 2, "sha256": "0"}
    for language in LANGUAGES:
        questions = [WHY, *((f"What is {n} in {language}?", ["x", f"{n}", "a number"], 1) for n in range(40))]
        files.write_parquet(frame(*questions), f"{language}.parquet", facts)
    tokenize_benchmark.main(
        [
            *(
                "--model",
                "base.json",
                "--benchmark",
                "b",
                "--questions",
                *(f"{lang}={lang}.parquet" for lang in LANGUAGES),
            ),
            *("--output", "tokens.parquet", "--manifest", "tokens.json"),
        ]
    )
    return folder


FLAGS = ("--model", "base.json", "--tokens", "tokens.parquet", "--finished", "finished", "--output", OUTPUT)
