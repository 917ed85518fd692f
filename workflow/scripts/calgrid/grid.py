"""The grid: its cells, its shards of languages, and where every artifact lies.

A cell is one point of the grid. Its path is a Hive partitioning, so that polars reads the whole store at once:

    model=gemma2-2b/sft=tulu3/smoothing=0.1/lr=1e-5/seed=0

Imported whenever the Snakefile is parsed: nothing heavy here.
"""

import re
from collections.abc import Container, Iterable
from dataclasses import asdict, dataclass, fields
from itertools import product
from pathlib import Path
from typing import Self

from calgrid.cli import settings_flags
from calgrid.config import Config
from calgrid.errors import UserError
from calgrid.files import content_hash
from calgrid.sections import ALL, BASE, CLDR_CORPUS, CONTENT_FREE, NONE, Prompting

CELL = "model={model}/sft={sft}/smoothing={smoothing}/lr={lr}/seed={seed}"  # as a wildcard pattern of Snakemake
BASE_CELL = f"model={{model}}/sft={BASE}/smoothing={NONE}/lr={NONE}/seed={NONE}"


@dataclass(frozen=True, order=True)
class Cell:
    """One point of the grid; all values are strings, spelt as in its path."""

    model: str
    sft: str = BASE
    smoothing: str = NONE
    lr: str = NONE
    seed: str = NONE

    @property
    def is_base(self) -> bool:
        return self.sft == BASE

    @property
    def path(self) -> str:
        return CELL.format(**asdict(self))

    @classmethod
    def parse(cls, path: str | Path) -> Self:
        """The cell that `path` names, anywhere in it. Raises UserError if it names none."""
        found = dict(part.split("=", 1) for part in Path(path).parts if "=" in part)
        names = [field.name for field in fields(cls)]
        if missing := [name for name in names if name not in found]:
            raise UserError(f"{path}: not the path of a cell; no {missing[0]}=... in it (expected {CELL})")
        return cls(**{name: found[name] for name in names})


CELL_FIELDS = tuple(field.name for field in fields(Cell))


def tuned_cells(config: Config) -> list[Cell]:
    """Every fine-tuning of the grid."""
    grid = config.grid
    combinations = product(grid.models, grid.sft_datasets, grid.smoothing, grid.lr, map(str, grid.seeds))
    return [Cell(*values) for values in combinations]


def base_cells(config: Config) -> list[Cell]:
    return [Cell(model) for model in config.grid.models]


def cells(config: Config) -> list[Cell]:
    """Every cell: the base models, then the tuned ones."""
    return base_cells(config) + tuned_cells(config)


def with_base(config: Config, selected: Container[Cell]) -> list[Cell]:
    """The base models, and those of the grid's cells that are selected."""
    return [cell for cell in cells(config) if cell.is_base or cell in selected]


def of_smoothings(among: Iterable[Cell], smoothings: Container[str]) -> list[Cell]:
    """Those of some cells that are base models, or tuned with one of these smoothings."""
    return [cell for cell in among if cell.is_base or cell.smoothing in smoothings]


def content_free(benchmark: str) -> str:
    """The name under which a benchmark's content-free prompts are prepared, tokenised and scored like a benchmark."""
    return f"{benchmark}{CONTENT_FREE}"


def configured(benchmark: str) -> str:
    """The benchmark in the configuration: itself, or the one that content-free prompts go with."""
    return benchmark.removesuffix(CONTENT_FREE)


def shards(config: Config, benchmark: str) -> dict[str, list[str]]:
    """The languages of each shard of a benchmark, by the shard's name.

    Without shards of its own a benchmark is cut by the resource tiers; languages in no tier form `other`.
    A shard is scored whole, whichever of its languages the grid reports: a smaller selection must not
    overwrite a larger one's scores.
    """
    entry = config.benchmarks[configured(benchmark)]
    if entry.shards is not None:
        return {name: list(languages) for name, languages in entry.shards.items()}
    tiers = {language: tier for tier, languages in config.tiers.items() for language in languages}
    found: dict[str, list[str]] = {}
    for name in [*config.tiers, "other"]:
        if members := [lang for lang in entry.languages if tiers.get(lang, "other") == name]:
            found[name] = members
    return found


def languages(config: Config, benchmark: str) -> list[str]:
    """The languages of a benchmark that the grid reports, in the benchmark's order."""
    known = config.benchmarks[configured(benchmark)].languages
    chosen = config.grid.languages
    return [language for language in known if chosen == (ALL,) or language in chosen]


def shards_in_grid(config: Config, benchmark: str) -> list[str]:
    """The shards that hold a reported language of the benchmark."""
    wanted = set(languages(config, benchmark))
    return [name for name, members in shards(config, benchmark).items() if wanted.intersection(members)]


def shard_of(config: Config, benchmark: str, language: str) -> str:
    """The shard that scores a language. Raises UserError with the languages that there are."""
    if benchmark not in config.grid.benchmarks:
        raise UserError(f"benchmark {benchmark!r} is not in the grid; there are: {', '.join(config.grid.benchmarks)}")
    reported = languages(config, benchmark)
    if language not in reported:
        raise UserError(
            f"language {language!r} is not in benchmark {benchmark!r} of the grid; there are: {', '.join(reported)}"
        )
    return next(name for name, members in shards(config, benchmark).items() if language in members)


def prompt_name(config: Config, languages: Iterable[str]) -> str:
    """A short name of how a shard's prompts are made, so that one that was tried leaves another's tokens alone."""
    prompting = Prompting(**config.scoring.model_dump(include=set(Prompting.model_fields)))
    words = languages if prompting.language == "native" else ()
    return content_hash(*settings_flags(prompting), *(f"{lang}={config.answer_words[lang]}" for lang in words))[:8]


# Where artifacts lie. Each takes a cell's path, or the wildcard pattern of one.


def base_record(model: str) -> str:
    return f"results/models/{Cell(model).path}/base.json"


def train_record(cell: str) -> str:
    return f"results/models/{cell}/train.json"


def weights(cell: str) -> str:
    return f"results/models/{cell}/model"


def examples(benchmark: str, language: str) -> str:
    return f"results/data/examples/{benchmark}/{language}.parquet"


def tokens(prompt: str, benchmark: str, model: str, shard: str) -> str:
    return f"results/tokens/prompt={prompt}/benchmark={benchmark}/model={model}/{shard}.parquet"


def audit(model: str) -> str:
    return f"results/audits/{model}.json"


def scores(benchmark: str, cell: str, shard: str) -> str:
    return f"results/scores/benchmark={benchmark}/{cell}/{shard}.parquet"


def metrics(benchmark: str, cell: str) -> str:
    return f"results/metrics/benchmark={benchmark}/{cell}/metrics.parquet"


def posthoc(benchmark: str, cell: str) -> str:
    return f"results/posthoc/benchmark={benchmark}/{cell}/posthoc.parquet"


def packed(model: str, sft: str) -> str:
    return f"results/packed/model={model}/{sft}.parquet"


def sft_data(sft: str) -> str:
    return f"results/data/sft/{sft}.parquet"


def benchmark_data(benchmark: str, language: str) -> str:
    return f"results/data/benchmarks/{benchmark}/{language}.parquet"


def manifest(data: str) -> str:
    """The small record beside a prepared data file: what it holds, and a hash of that."""
    return re.sub(r"\.parquet$", ".json", data)


def corpus(names: Iterable[str]) -> list[str]:
    """The files that a tiny model is pretrained on."""
    return ["results/demo/corpus.parquet" if name == CLDR_CORPUS else sft_data(name) for name in names]
