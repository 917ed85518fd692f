"""The grid: its cells, its shards of languages, and where every artifact lies.

A cell is one point of the grid. Its path is a Hive partitioning, so that polars reads the whole store at once:

    model=gemma2-2b/sft=tulu3/smoothing=0.1/lr=1e-5/seed=0

Imported whenever the Snakefile is parsed: nothing heavy here.
"""

from collections.abc import Container, Iterable
from itertools import product

from calgrid.cell import Cell
from calgrid.cli import settings_flags
from calgrid.config.check import Config
from calgrid.errors import UserError
from calgrid.scoring.settings import Prompting
from calgrid.store.files import content_hash
from calgrid.store.paths import configured
from calgrid.vocabulary import ALL


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
