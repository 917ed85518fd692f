"""The whole configuration: the sections together, checked against each other, and one message a mistake.

The catalogue (`models`, `sft_datasets`, `benchmarks`) says what exists; the selection (`grid`) says what runs.
The selection consists of lists only, so that a second configuration file, which Snakemake merges over the first
one key by key, replaces it wholly. Every mistake becomes a line that names the field, the value and the remedy.

Imported whenever the Snakefile is parsed: nothing heavier than pydantic here (Snakemake itself has yaml).
"""

import difflib
import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Self, get_args

import yaml
from pydantic import AfterValidator, Field, ValidationError, model_validator

from calgrid.config.sections import Benchmark, Data, Device, Evaluation, Grid, Model, Plan, Selection, SftDataset
from calgrid.errors import UserError
from calgrid.scoring.settings import Audit, Scoring
from calgrid.settings import Name, Section
from calgrid.training.settings import Pretraining, Training
from calgrid.vocabulary import ALL, CLDR_CORPUS, NO_SMOOTHING, VALIDATION_LOSS

HEAD = "the configuration can't be used:\n"
DEEPEST = 20  # sections in sections
LONGEST_TEXT = 20_000  # characters
LARGEST = 10**13  # above any count, a model's parameters included
UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")  # tabs and line breaks may be in a prompt
SHOWN = 200  # characters of a value in a message


def _image(value: str) -> str:
    # Snakemake puts it into a shell command as it stands.
    if not re.fullmatch(r"[\w./][\w.:/@+=-]*", value, re.ASCII):
        raise ValueError("write a path or an address of letters, digits and ._-:/@+= only")
    if "://" not in value and not Path(value).exists():
        raise ValueError("no such file; build it (docs/environments.md), or write an address, such as docker://...")
    return value


class Config(Section):
    """The whole configuration, checked."""

    models: dict[Name, Model] = Field(min_length=1)
    sft_datasets: dict[Name, SftDataset] = Field(min_length=1)
    benchmarks: dict[Name, Benchmark] = Field(min_length=1)
    tiers: dict[Name, tuple[Name, ...]] = Field(description="resource tiers of languages: the default shards")
    answer_words: dict[Name, Annotated[str, Field(pattern=r"\S")]] = Field(
        {}, description='the word for "Answer" in each language, for scoring.language: native'
    )
    grid: Grid
    data: Data = Data()
    training: Training = Training()
    scoring: Scoring = Scoring()
    audit: Audit = Audit()
    device: Device = Device()
    selection: Selection = Selection()
    evaluation: Evaluation
    plan: Plan = Plan()
    container: Annotated[str, AfterValidator(_image)] | None = Field(
        None,
        description="image that jobs run in with `--sdm apptainer`: a file or docker://... (docs/environments.md)",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = [
            *self._unknown_names(),
            *self._duplicates(),
            *self._bad_shards(),
            *self._bad_selection(),
            *self._bad_prompts(),
        ]
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _unknown_names(self) -> Iterable[str]:
        grid, evaluation = self.grid, self.evaluation
        in_grid = "the grid"
        references: list[tuple[str, Iterable[str], Collection[str], str]] = [
            ("grid.models", grid.models, self.models, "`models`"),
            ("grid.sft_datasets", grid.sft_datasets, self.sft_datasets, "`sft_datasets`"),
            ("grid.benchmarks", grid.benchmarks, self.benchmarks, "`benchmarks`"),
            ("evaluation.headline_benchmark", [evaluation.headline_benchmark], grid.benchmarks, in_grid),
            ("evaluation.smoothing", evaluation.smoothing, grid.smoothing, in_grid),
            *(
                (f"evaluation.{name}", getattr(evaluation, name), self.sft_datasets, "`sft_datasets`")
                for name in ("headline_sft_datasets", "table1_sft_datasets")
            ),
        ]
        for field, names, known, where in references:
            for name in names:
                if name not in known:
                    yield f"{field}: {name!r} is not in {where}{_suggest(name, known)}"
        anywhere = sorted({language for benchmark in self.benchmarks.values() for language in benchmark.languages})
        for field, languages in (
            ("transfer_language", [evaluation.transfer_language]),
            ("figure1_languages", evaluation.figure1_languages),  # of these, the grid need not report all
        ):
            for language in languages:
                if language not in anywhere:
                    yield f"evaluation.{field}: {language!r} is in no benchmark{_suggest(language, anywhere)}"
        if grid.languages != (ALL,):
            chosen = [self.benchmarks[name] for name in grid.benchmarks if name in self.benchmarks]
            known_languages = sorted({language for benchmark in chosen for language in benchmark.languages})
            for language in grid.languages:
                if language not in known_languages:
                    yield (
                        f"grid.languages: {language!r} is in no benchmark of the grid"
                        f"{_suggest(language, known_languages)}"
                    )
            for name in grid.benchmarks:
                if name in self.benchmarks and not set(grid.languages) & set(self.benchmarks[name].languages):
                    yield (
                        f"grid.languages: benchmark {name!r} has none of {', '.join(grid.languages)}; "
                        "add a language of it, or take it out of grid.benchmarks"
                    )
        for name, model in self.models.items():
            for corpus in model.pretrain.corpus if model.pretrain else ():
                if corpus != CLDR_CORPUS and corpus not in self.sft_datasets:
                    hint = _suggest(corpus, [CLDR_CORPUS, *self.sft_datasets])
                    yield f"models.{name}.pretrain.corpus: {corpus!r} is unknown{hint}"

    def _duplicates(self) -> Iterable[str]:
        for section in ("grid", "scoring", "evaluation"):
            for field, values in getattr(self, section):
                if isinstance(values, tuple):
                    for value in sorted({str(v) for v in values if values.count(v) > 1}):
                        yield (
                            f"{section}.{field}: {value} stands twice (two spellings of one number count as one); "
                            "keep one"
                        )

    def _bad_shards(self) -> Iterable[str]:
        yield from _overlaps("tiers", self.tiers)
        for name, benchmark in self.benchmarks.items():
            for language in sorted({lang for lang in benchmark.languages if benchmark.languages.count(lang) > 1}):
                yield f"benchmarks.{name}.languages: {language!r} stands twice; keep one"
            if benchmark.shards is None:
                continue
            field = f"benchmarks.{name}.shards"
            yield from _overlaps(field, benchmark.shards)
            for shard, languages in benchmark.shards.items():
                for language in languages:
                    if language not in benchmark.languages:
                        hint = _suggest(language, benchmark.languages)
                        yield f"{field}.{shard}: {language!r} is not in benchmarks.{name}.languages{hint}"
            sharded = {language for languages in benchmark.shards.values() for language in languages}
            if forgotten := [language for language in benchmark.languages if language not in sharded]:
                yield f"{field}: no shard has {', '.join(forgotten)} of benchmarks.{name}.languages; add them to one"

    def _bad_selection(self) -> Iterable[str]:
        if NO_SMOOTHING not in self.evaluation.smoothing:
            yield "evaluation.smoothing: has no 0.0, which tables and tests compare with; add it, and to grid.smoothing"
        if self.selection.lr != VALIDATION_LOSS and self.selection.lr not in self.grid.lr:
            yield f"selection.lr: {self.selection.lr} is not in grid.lr ({', '.join(self.grid.lr)}); take one of these"

    def _bad_prompts(self) -> Iterable[str]:
        for name in self.grid.benchmarks:
            benchmark = self.benchmarks.get(name)
            if benchmark is None:
                continue
            if self.scoring.shots and benchmark.example_split is None:
                yield f"benchmarks.{name}: has no example_split, which scoring.shots {self.scoring.shots} takes; add it"
            wordless = [language for language in benchmark.languages if language not in self.answer_words]
            if self.scoring.language == "native" and wordless:
                yield f"answer_words: none for {', '.join(wordless)}, which scoring.language native needs; add them"


def read(paths: Iterable[str | Path]) -> Config:
    """The configuration in files that are merged in order, as Snakemake reads and merges them.

    Raises UserError as `load` does, and for a file that can't be read.
    """
    from snakemake.common.configfile import load_configfile
    from snakemake.utils import update_config

    merged: dict[str, Any] = {}
    paths = list(paths)
    for path in paths:
        try:
            update_config(merged, load_configfile(Path(path)))
        except Exception as error:  # of the readers of YAML, JSON and templates, each with kinds of its own
            raise UserError(f"{path}: not readable as a configuration ({_shown(str(error), plain=True)})") from None
    return load(merged, paths)


def load(raw: Mapping[str, Any], paths: Iterable[str | Path] = ()) -> Config:
    """Check a configuration as Snakemake read it from files and merged it.

    Raises UserError with a line for each mistake: field, value, remedy; and the files.
    """
    paths = list(paths)
    if unfit := [*_unfit(raw), *(line for path in paths for line in _repeated_keys(path))]:
        raise _unusable(unfit, paths)
    try:
        return Config.model_validate(raw)
    except ValidationError as error:
        # pydantic counts the usable items only, and so calls a list of unusable ones too short as well
        errors = [e for e in error.errors() if e["type"] != "too_short" or not e["input"]]
        raise _unusable(sorted({line for e in errors for line in _explain(e)}), paths) from None


def _unusable(lines: Iterable[str], paths: Sequence[str | Path]) -> UserError:
    files = f"\nIt is made of: {', '.join(map(str, paths))}" if paths else ""
    return UserError(HEAD + "\n".join(f"  {line}" for line in lines) + files)


def _repeated_keys(path: str | Path) -> Iterable[str]:
    """Lines for keys that stand twice in a section of a file, of which readers of YAML drop all but the last."""
    try:
        pending = [("", yaml.compose(Path(path).read_bytes(), yaml.CSafeLoader))]
    except yaml.YAMLError:  # JSON that is no YAML
        return
    seen = set()  # an anchor can stand in several places, even in itself
    while pending:
        field, node = pending.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            pending += [(f"{field}.{place}", item) for place, item in enumerate(node.value)]
        elif isinstance(node, yaml.MappingNode):
            names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
            for name in sorted({name for name in names if names.count(name) > 1}):
                yield f"{path}: {f'{field}.{name}'.lstrip('.')}: stands twice; put both together"
            pending += [(f"{field}.{key.value}", value) for key, value in node.value]


def _unfit(value: Any, field: str = "", above: tuple[int, ...] = ()) -> Iterable[str]:
    """Lines for what no field can take: text that no file or flag can hold, excessive numbers, endless nests."""
    if isinstance(value, Mapping | list | tuple):
        if id(value) in above:
            yield f"{field}: holds itself, by an anchor of YAML; write it out"
        elif len(above) > DEEPEST:
            yield f"{field}: nested deeper than any section is"
        else:
            items = value.items() if isinstance(value, Mapping) else enumerate(value)
            for name, item in items:
                inside = f"{field}.{name if isinstance(name, int) else _shown(name, plain=True)}".lstrip(".")
                yield from _unfit(name, inside)
                yield from _unfit(item, inside, (*above, id(value)))
    elif isinstance(value, str):
        if len(value) > LONGEST_TEXT:
            yield f"{field}: {_shown(value)}: a text of {len(value)} characters; write at most {LONGEST_TEXT}"
        if found := UNPRINTABLE.search(value):
            yield f"{field}: {_shown(value)}: holds the character {found[0]!a}, which no file or flag can; take it out"
    elif isinstance(value, float) and math.isnan(value):
        yield f"{field}: nan: write a number"
    elif isinstance(value, int) and abs(value) > LARGEST:
        yield f"{field}: {_shown(value)}: larger than any number here can be ({LARGEST})"


def _shown(value: Any, *, plain: bool = False) -> str:
    """A value for a message, cut where it is long."""
    try:
        text = value if plain and isinstance(value, str) else repr(value)
    except ValueError:  # Python writes no number of thousands of digits
        return "a number of very many digits"
    text = UNPRINTABLE.sub("?", text)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def _explain(error: Any) -> list[str]:
    """Lines for one pydantic error."""
    location = [str(part) for part in error["loc"]]
    field = ".".join(part for part in location if part not in ("function-after", "[key]"))
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "value_error" and not field:
        return message.split("\n")  # the checks across sections name their fields themselves
    if error["type"] == "extra_forbidden":
        return [f"{field}: unknown key{_suggest(location[-1], _known_keys(location[:-1]))}"]
    if error["type"] == "missing":
        return [f"{field}: missing; {message.lower()}"]
    if error["type"] == "too_short":
        return [f"{field}: empty; give at least one"]
    if error["type"] == "tuple_type":
        return [f"{field}: {_shown(error['input'])}: write a list, such as [{_shown(error['input'], plain=True)}]"]
    if error["type"] in ("dict_type", "model_type", "model_attributes_type"):
        return [f"{field}: {_shown(error['input'])}: write a section, with keys below it"]
    if error["type"] == "string_type" and isinstance(error["input"], bool):
        return [f"{field}: {error['input']}: YAML reads yes, no, on and off as true and false; put quotes around it"]
    if isinstance(error["input"], dict):
        return [f"{field}: {message}"]
    return [f"{field}: {_shown(error['input'])}: {message[0].lower() + message[1:]}"]


def _known_keys(location: Iterable[str]) -> list[str]:
    """The keys that the section at `location` has; names of the catalogue stand for their section's model."""
    model: Any = Config
    entries = {"models": Model, "sft_datasets": SftDataset, "benchmarks": Benchmark}
    for part in location:
        if part in entries:
            model = entries[part]
        elif part in model.model_fields:
            annotation = model.model_fields[part].annotation
            if isinstance(annotation, type) and issubclass(annotation, Section):
                model = annotation
            elif Pretraining in get_args(annotation):
                model = Pretraining
    return list(model.model_fields)


def _suggest(name: str, known: Iterable[str]) -> str:
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    return (f"; did you mean {near[0]!r}?" if near else ";") + f" known: {', '.join(known)}"


def _overlaps(field: str, groups: Mapping[str, Iterable[str]]) -> Iterable[str]:
    seen: dict[str, str] = {}
    for group, languages in groups.items():
        for language in languages:
            if language in seen:
                yield f"{field}: {language!r} is in both {seen[language]!r} and {group!r}; keep it in one"
            seen.setdefault(language, group)
