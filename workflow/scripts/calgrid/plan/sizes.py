"""How much there is to compute: from what is prepared where that is there, else from the configuration's numbers.

Reads manifests, and of Parquet files the counts in their footers: no data, no model, no network.
"""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from calgrid.config import grid
from calgrid.config.check import Config
from calgrid.config.sections import Model
from calgrid.data.benchmark_layouts import BENCHMARK_LAYOUTS
from calgrid.models.shape import Shape, Work
from calgrid.store import paths
from calgrid.store.files import read_json
from calgrid.vocabulary import CONTENT_FREE

# Shares measured on real rows with Mistral's tokenizer: docs/plan.md.
SUPERVISED = 0.6  # of a conversation's tokens
SCORED = 0.25  # positions of the LM head, of a question's tokens
SPREAD = 0.8  # pairs of tokens, over all tokens times the mean length: 0.5 would be lengths that are all alike
DIFFERENCE = 0.02  # of a model's parameters, between the configuration and its config.json


class Sizes:
    """Sizes of models, SFT sets and benchmarks. `sources` says where each came from, `unknown` what to add."""

    def __init__(self, config: Config, prompts: Mapping[tuple[str, str], str]) -> None:
        """Take the prompt's name of each benchmark and shard, to find their tokens by."""
        self.config, self.prompts = config, prompts
        self.sources: dict[str, str] = {}
        self.unknown: dict[str, str] = {}
        # Each is asked for by hundreds of jobs.
        self.shape = cache(self._shape)
        self.training = cache(self._training)
        self.questions = cache(self._questions)
        self.scoring = cache(self._scoring)

    def parameters(self, model: str) -> float:
        """Parameters of a model; 0 where nobody says."""
        field, entry, shape = f"models.{model}.parameters", self.config.models[model], self.shape(model)
        if shape is None:
            return self._said(field, entry.parameters)
        if entry.parameters is not None and abs(entry.parameters / shape.parameters - 1) > DIFFERENCE:
            self.unknown[field] = (
                f"{field}: {entry.parameters:.3g}, but its config.json makes {shape.parameters:.3g}, which counts; "
                "correct it"
            )
        return shape.parameters

    def forward(self, model: str, work: Work) -> float:
        """FLOPs of a forward pass: by the model's shape, or else two for each parameter and token."""
        shape = self.shape(model)
        return work.flops(shape) if shape else 2 * self.parameters(model) * work.tokens

    def _shape(self, model: str) -> Shape | None:
        entry = self.config.models[model]
        path = _config_json(model, entry)
        if path is not None:
            try:
                shape = Shape.of_config(json.loads(path.read_text(encoding="utf-8")))
            except (ValueError, KeyError, TypeError):
                shape = None  # `base_model` says what is wrong with it
            if shape:
                self.sources[f"models.{model}"] = f"{shape.parameters:,} parameters, of its config.json"
                return shape
        if entry.pretrain is None:
            return None
        tiny = entry.pretrain
        shape = Shape.tiny(tiny.architecture, tiny.vocabulary, tiny.hidden_size, tiny.layers)
        self.sources[f"models.{model}"] = f"{shape.parameters:,} parameters, of its settings under `pretrain`"
        return shape

    def rows(self, sft: str) -> float:
        """Conversations of an SFT set."""
        return sum(self.splits(sft).values())

    def splits(self, sft: str) -> dict[str, float]:
        """Conversations of each split of an SFT set."""
        manifest = Path(paths.manifest(paths.sft_data(sft)))
        if manifest.is_file():
            record = read_json(manifest)
            self.sources[f"sft_datasets.{sft}"] = f"{record['rows']:,} conversations, of {manifest}"
            return {split: record[split] for split in ("train", "validation")}
        entry, share = self.config.sft_datasets[sft], self.config.data.validation_share
        rows = self._said(f"sft_datasets.{sft}.conversations", entry.conversations or entry.max_rows)
        rows = min(rows, entry.max_rows or rows)
        return {"train": rows * (1 - share), "validation": rows * share}

    def _training(self, model: str, sft: str) -> dict[str, Work]:
        """One pass over each split of an SFT set as a model reads it."""
        manifest = Path(paths.manifest(paths.packed(model, sft)))
        if manifest.is_file():
            counts = read_json(manifest)["counts"]
            self.sources[f"sft_datasets.{sft}, {model}"] = f"{counts['train']['tokens']:,} tokens, of {manifest}"
            return {
                split: _conversations(n["conversations"], n["tokens"], n["supervised_tokens"])
                for split, n in counts.items()
            }
        mean = self._said(f"sft_datasets.{sft}.conversation_tokens", self.config.sft_datasets[sft].conversation_tokens)
        mean = min(mean, self.config.training.max_length)
        return {
            split: _conversations(rows, rows * mean, SUPERVISED * rows * mean)
            for split, rows in self.splits(sft).items()
        }

    def _questions(self, benchmark: str, language: str) -> float:
        """Questions of a language of a benchmark, or of its content-free prompts."""
        manifest = Path(paths.manifest(paths.benchmark_data(benchmark, language)))
        if manifest.is_file():
            rows = read_json(manifest)["rows"]
            self.sources[f"benchmarks.{benchmark}"] = f"{rows:,} questions in {language}, of {manifest}, ..."
            return rows
        if benchmark.endswith(CONTENT_FREE):
            return len(self.config.scoring.content_free)
        entry = self.config.benchmarks[benchmark]
        rows = self._said(f"benchmarks.{benchmark}.questions", entry.questions or entry.max_questions)
        return min(rows, entry.max_questions or rows)

    def options(self, benchmark: str) -> int:
        """Options of a question, at most."""
        return BENCHMARK_LAYOUTS[self.config.benchmarks[paths.configured(benchmark)].layout].most_options

    def shard_questions(self, benchmark: str, shard: str) -> float:
        return sum(self.questions(benchmark, language) for language in grid.shards(self.config, benchmark)[shard])

    def _scoring(self, benchmark: str, model: str, shard: str) -> Work:
        """Texts and letters of all questions of a shard, a question's prompt once."""
        prompt = self.prompts.get((benchmark, shard))
        path = Path(paths.tokens(prompt, benchmark, model, shard)) if prompt else None
        if path and path.is_file():
            work = _tokens(path)
            self.sources[f"benchmarks.{benchmark}, {model}"] = f"{work.tokens:,} tokens in {path}, ..."
            return work
        configured = paths.configured(benchmark)
        mean = self._said(
            f"benchmarks.{configured}.question_tokens", self.config.benchmarks[configured].question_tokens
        )
        tokens = mean * self.shard_questions(benchmark, shard)
        return Work(round(tokens), round(SPREAD * tokens * mean), round(SCORED * tokens))

    def _said(self, field: str, value: float | None) -> float:
        """A number of the configuration, or 0 with a line of what to add."""
        if value is None:
            self.unknown[field] = f"{field}: not given, so that its cost counts as none; add it, or prepare the data"
            return 0
        self.sources[field] = f"{value:,.0f}, of the configuration"
        return value


def _config_json(model: str, entry: Model) -> Path | None:
    """A model's config.json where it is on this machine."""
    if entry.hub is None:
        folder = Path(entry.path or f"results/pretrained/{model}")
        return path if (path := folder / "config.json").is_file() else None
    from huggingface_hub import try_to_load_from_cache

    found: Any = try_to_load_from_cache(entry.hub, "config.json", revision=entry.revision)
    return Path(found) if isinstance(found, str) else None


def _conversations(rows: float, tokens: float, supervised: float) -> Work:
    """Work of a pass over conversations whose mean length alone is known."""
    return Work(round(tokens), round(SPREAD * tokens * tokens / rows) if rows else 0, round(supervised))


def _tokens(path: Path) -> Work:
    """Work of scoring the tokens in a file, by the counts in its footer.

    What options share beyond the prompt is counted for each; a header before questions (scoring.shots) is not counted.
    """
    import pyarrow.parquet as pq

    footer = pq.read_metadata(path)
    counts = dict.fromkeys(("prompt", "texts", "letters", "n_bytes"), 0)
    for group in range(footer.num_row_groups):
        for column in range(footer.num_columns):
            chunk = footer.row_group(group).column(column)
            name = chunk.path_in_schema.split(".")[0]
            if name in counts:
                counts[name] += chunk.num_values
    questions, options = footer.num_rows, counts["n_bytes"]
    following = counts["texts"] + counts["letters"] - 2 * options  # a candidate's last token is not read
    tokens = counts["prompt"] + following
    return Work(tokens, round(SPREAD * tokens * tokens / questions) if questions else 0, questions + following)
