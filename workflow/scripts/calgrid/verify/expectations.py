"""What the configuration asks of the results store, and how each artifact there is checked against its provenance.

A check yields reasons why an artifact is stale, and raises UserError where it is damaged. What can't be read among the
things that an artifact was made of is no fault of its own: it has a check of its own.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from calgrid.cell import CELL_FIELDS, Cell
from calgrid.config import grid
from calgrid.config.check import Config
from calgrid.config.sections import Benchmark
from calgrid.data.sources import values_hash
from calgrid.errors import UserError
from calgrid.models import weights
from calgrid.scoring.confidence import CONFIDENCE_METHODS, columns_of
from calgrid.scoring.settings import Prompting
from calgrid.scoring.stored import QUESTION_COLUMNS, read_scores
from calgrid.store import files, paths, versions
from calgrid.store.reading import read_table
from calgrid.store.selection import read_selected
from calgrid.training.settings import Packing
from calgrid.verify import compare
from calgrid.verify.compare import Reasons
from calgrid.vocabulary import CLDR_CORPUS, LANGUAGE, POOLED

SELECTION = "results/selection.parquet"
TRAINED = (
    *("weights", "smoothing", "lr", "seed", "validation_loss", "validation", "steps", "base", "data", "settings"),
    *("train_version", "curve"),
)


@dataclass(frozen=True)
class Artifact:
    """What one job writes: `path` is what Snakemake is asked for, `beside` lies with it."""

    path: str
    reasons: Callable[[], Reasons]
    beside: tuple[str, ...] = ()

    @property
    def paths(self) -> tuple[str, ...]:
        return (self.path, *self.beside)


class Expectations:
    """The artifacts that a configuration asks for; `deep` reads every row, and hashes the weights."""

    def __init__(self, config: Config, deep: bool = False) -> None:
        self.config, self.deep = config, deep

    def artifacts(self) -> Iterator[Artifact]:
        """In the order in which they are made. Paths are relative to the working directory, as in all rules."""
        yield from self._data()
        for model in self.config.grid.models:
            yield from self._of_model(model)
        for cell in grid.tuned_cells(self.config):
            yield Artifact(paths.train_record(cell.path), partial(self._train, cell), (paths.weights(cell.path),))
        yield Artifact(SELECTION, self._selection)
        for benchmark in self._scored():
            cells = self.scored_cells if benchmark in self.config.grid.benchmarks else self.compared_cells
            for cell in cells:
                for shard in grid.shards_in_grid(self.config, benchmark):
                    path = paths.scores(benchmark, cell.path, shard)
                    yield Artifact(path, partial(self._scores, path, benchmark, cell, shard))
        for benchmark in self.config.grid.benchmarks:
            for cell in self.scored_cells:
                path = paths.metrics(benchmark, cell.path)
                yield Artifact(path, partial(self._metrics, path, benchmark, cell))
            for cell in self.compared_cells:
                path = paths.posthoc(benchmark, cell.path)
                yield Artifact(path, partial(self._posthoc, path, benchmark, cell))
            for path in (f"results/{stage}/{benchmark}.parquet" for stage in ("significance", "intervals")):
                yield Artifact(path, partial(self._statistics, path))

    def _data(self) -> Iterator[Artifact]:
        corpora = (
            pretrain.corpus for model in self.config.grid.models if (pretrain := self.config.models[model].pretrain)
        )
        names = {*self.config.grid.sft_datasets, *(name for corpus in corpora for name in corpus)} - {CLDR_CORPUS}
        for name in sorted(names):
            yield _with_manifest(paths.sft_data(name), partial(self._sft, paths.sft_data(name), name))
        for benchmark in self.config.grid.benchmarks:
            entry = self.config.benchmarks[benchmark]
            for language in self._languages(benchmark):
                path = paths.benchmark_data(benchmark, language)
                yield _with_manifest(path, partial(self._questions, path, entry, language, entry.split))
                if self.config.scoring.shots and entry.example_split:
                    path = paths.examples(benchmark, language)
                    yield _with_manifest(path, partial(self._questions, path, entry, language, entry.example_split))
                if self.config.scoring.content_free:
                    path = paths.benchmark_data(paths.content_free(benchmark), language)
                    yield _with_manifest(path, partial(self._content_free, path))

    def _of_model(self, model: str) -> Iterator[Artifact]:
        if self.config.models[model].pretrain:
            yield Artifact(f"results/pretrained/{model}", partial(self._pretrained, model))
        yield Artifact(paths.base_record(model), partial(self._base, model))
        for benchmark in self._scored():
            for shard in grid.shards_in_grid(self.config, benchmark):
                path = self.tokens(benchmark, model, shard)
                yield _with_manifest(path, partial(self._tokens, path, benchmark, model, shard))
        yield Artifact(paths.audit(model), partial(self._audit, model))
        for name in self.config.grid.sft_datasets:
            path = paths.packed(model, name)
            yield _with_manifest(path, partial(self._packed, path, model, name))

    def _scored(self) -> list[str]:
        """Benchmarks that are scored, content-free prompts among them."""
        benchmarks = self.config.grid.benchmarks
        return [*benchmarks, *(map(paths.content_free, benchmarks) if self.config.scoring.content_free else ())]

    def _languages(self, benchmark: str) -> list[str]:
        """Of the shards that the grid scores, reported or not."""
        shards = grid.shards(self.config, benchmark)
        return [language for shard in grid.shards_in_grid(self.config, benchmark) for language in shards[shard]]

    def tokens(self, benchmark: str, model: str, shard: str) -> str:
        languages = grid.shards(self.config, benchmark)[shard]
        return paths.tokens(grid.prompt_name(self.config, languages), benchmark, model, shard)

    @cached_property
    def selected_cells(self) -> list[Cell]:
        chosen = compare.if_readable(lambda: read_selected(SELECTION)) or set()
        return grid.with_base(self.config, chosen)

    @cached_property
    def scored_cells(self) -> list[Cell]:
        return grid.cells(self.config) if self.config.scoring.cells == "all" else self.selected_cells

    @cached_property
    def compared_cells(self) -> list[Cell]:
        return grid.of_smoothings(self.selected_cells, self.config.evaluation.smoothing)

    # Data, models and tokens

    def _prepared(self, path: str) -> dict[str, Any]:
        """The provenance of a prepared file, which its manifest and its rows agree with."""
        record = compare.agreed(path)
        compare.count_rows(path, record["rows"])
        if self.deep and values_hash(read_table(path)) != record["sha256"]:
            raise UserError(f"{path}: its values are not those of its sha256")
        return record

    def _sft(self, path: str, name: str) -> Reasons:
        entry, record = self.config.sft_datasets[name], self._prepared(path)
        yield from compare.source(record, entry, split=entry.split, config=entry.config, layout=entry.layout)
        yield from compare.differ("max_rows", record["max_rows"], entry.max_rows)
        yield from compare.differ(
            "data.validation_share", record["validation_share"], self.config.data.validation_share
        )
        yield from compare.differ("PREPARE_VERSION", record.get("prepare_version", 1), versions.PREPARE_VERSION)

    def _questions(self, path: str, entry: Benchmark, language: str, split: str) -> Reasons:
        record, config = self._prepared(path), entry.config.format(language=language)
        yield from compare.source(record, entry, split=split, config=config, layout=entry.layout, language=language)
        wanted = entry.max_questions if split == entry.split else None
        yield from compare.differ("max_questions", record["max_questions"], wanted)
        yield from compare.differ("PREPARE_VERSION", record.get("prepare_version", 1), versions.PREPARE_VERSION)

    def _content_free(self, path: str) -> Reasons:
        record = self._prepared(path)
        yield from compare.differ("scoring.content_free", record["content_free"], [*self.config.scoring.content_free])
        yield from compare.differ("CONTENT_FREE_VERSION", record["content_free_version"], versions.CONTENT_FREE_VERSION)

    def _pretrained(self, model: str) -> Reasons:
        folder, settings = f"results/pretrained/{model}", self.config.models[model].pretrain
        record = files.read_record(f"{folder}/pretrain.json", "settings", "pretrain_version")
        weights.check_tensors(folder)
        if settings:
            yield from compare.differ("pretrain", record["settings"], settings.model_dump(exclude={"corpus"}))
        yield from compare.differ("PRETRAIN_VERSION", record["pretrain_version"], versions.PRETRAIN_VERSION)

    def _base(self, model: str) -> Reasons:
        path, entry = paths.base_record(model), self.config.models[model]
        record = files.read_record(path, "weights", "model_type", "vocab_size", "max_position_embeddings")
        weights.check(record, path, bytes_too=self.deep)
        folder = f"results/pretrained/{model}" if entry.pretrain else entry.path
        wanted = {"path": folder} if folder else {"hub": entry.hub, "revision": entry.revision}
        yield from compare.differ(f"models.{model}", record["weights"], wanted)

    def _tokens(self, path: str, benchmark: str, model: str, shard: str) -> Reasons:
        record = compare.agreed(path)
        compare.count_rows(
            path, record["rows"], sum(found["questions"] - found["left_out"] for found in record["audit"].values())
        )
        if self.deep and len(twice := compare.twice(read_table(path, ["language", "question_id"]))):
            raise UserError(f"{path}: question {twice['question_id'][0]!r} occurs more than once")
        languages, settings = grid.shards(self.config, benchmark)[shard], self.config.scoring
        yield from compare.differ("languages", sorted(record["audit"]), sorted(languages))
        prompting = settings.model_dump(include=set(Prompting.model_fields))
        yield from compare.differ("scoring", record["prompting"], prompting)
        for language in languages:
            yield from compare.made_of_data(record["data"], paths.benchmark_data(benchmark, language))
            if settings.shots:
                yield from compare.made_of_data(
                    record["examples"], paths.examples(paths.configured(benchmark), language)
                )
        yield from self._made_of_record(record["model"], paths.base_record(model))
        yield from compare.differ("TOKENIZE_VERSION", record.get("tokenize_version", 1), versions.TOKENIZE_VERSION)

    def _audit(self, model: str) -> Reasons:
        record = files.read_record(paths.audit(model))
        for benchmark in self.config.grid.benchmarks:
            if absent := sorted({*self._languages(benchmark)} - {*record.get(benchmark, {})}):
                yield f"no audit of {benchmark} in {', '.join(absent)}"

    def _packed(self, path: str, model: str, name: str) -> Reasons:
        record = compare.agreed(path)
        compare.count_rows(path, sum(part["conversations"] for part in record["counts"].values()))
        settings = self.config.training.model_dump(include=set(Packing.model_fields))
        yield from compare.differ("training", record["settings"], settings)
        yield from self._made_of_record(record["base"], paths.base_record(model))
        yield from compare.made_of_data({name: record["data"]}, paths.sft_data(name))
        yield from compare.differ("PACK_VERSION", record["pack_version"], versions.PACK_VERSION)

    def _train(self, cell: Cell) -> Reasons:
        path = paths.train_record(cell.path)
        record = files.read_record(path, *TRAINED)
        weights.check(record, path, bytes_too=self.deep)
        if record["weights"] != {"path": paths.weights(cell.path)}:
            raise UserError(f"{path}: the record of other weights, {record['weights']}")
        for name in ("smoothing", "lr", "seed"):
            if float(record[name]) != float(getattr(cell, name)):
                raise UserError(f"{path}: {name} is {record[name]}: the record of another cell")
        if len(record["curve"]) != record["steps"] or record["validation"][-1]["loss"] != record["validation_loss"]:
            raise UserError(f"{path}: its curve has not the length of its steps, or not its validation loss at the end")
        yield from compare.differ("training", record["settings"], self.config.training.model_dump())
        yield from self._made_of_record(record["base"], paths.base_record(cell.model))
        yield from compare.made_of_data({cell.sft: record["data"]}, paths.sft_data(cell.sft))
        yield from compare.differ("TRAIN_VERSION", record["train_version"], versions.TRAIN_VERSION)

    # What is made of scores

    def _selection(self) -> Reasons:
        record, frame = files.read_provenance(SELECTION), read_table(SELECTION)
        every = grid.tuned_cells(self.config)
        yield from compare.differ("selection.lr", record["rule"], self.config.selection.lr)
        if {Cell(*row) for row in frame.select(CELL_FIELDS).iter_rows()} != {*every}:
            yield "of other cells than the grid's"
        yield from compare.made_of(record, [paths.train_record(cell.path) for cell in every])

    def _scores(self, path: str, benchmark: str, cell: Cell, shard: str) -> Reasons:
        record = compare.in_its_place(path, benchmark, cell)
        columns = {*QUESTION_COLUMNS, *columns_of(CONFIDENCE_METHODS)}
        if absent := sorted(columns - {*compare.schema(path)}):
            raise UserError(f"{path}: no column {absent[0]!r}")
        audit, tokens_path = record["audit"], self.tokens(benchmark, cell.model, shard)
        compare.count_rows(path, sum(found["questions"] - found["left_out"] for found in audit.values()))
        tokens = compare.if_readable(lambda: files.read_provenance(tokens_path))
        if self.deep:
            scored = sorted(name for name, found in audit.items() if found["left_out"] < found["questions"])
            rows = read_scores([path], scored)
            if tokens and tokens["sha256"] == record["tokens_sha256"]:
                asked = read_table(tokens_path, ["language", "question_id"])
                if len(lost := asked.join(rows, on=asked.columns, how="anti")):
                    raise UserError(f"{path}: no row for {' '.join(lost.row(0))}, a question of {tokens_path}")
        yield from compare.differ("languages", sorted(audit), sorted(grid.shards(self.config, benchmark)[shard]))
        prompting = self.config.scoring.model_dump(include=set(Prompting.model_fields))
        yield from compare.differ("scoring", record["prompting"], prompting)
        if tokens and tokens["sha256"] != record["tokens_sha256"]:
            yield f"made of other tokens than {tokens_path}"
        yield from self._made_of_record(
            record["model"], paths.base_record(cell.model) if cell.is_base else paths.train_record(cell.path)
        )
        yield from compare.differ("SCORE_VERSION", record["score_version"], versions.SCORE_VERSION)

    def _metrics(self, path: str, benchmark: str, cell: Cell) -> Reasons:
        record, frame = compare.in_its_place(path, benchmark, cell), read_table(path)
        evaluation, bins = self.config.evaluation, sorted(record["measured_bins"])
        groups = frame.group_by("grouping", "language", "member").len()
        if groups.is_empty() or not (groups["len"] == len(bins) * len(CONFIDENCE_METHODS)).all():
            raise UserError(f"{path}: a group has not each confidence method with each number of bins once")
        languages = sorted(frame.filter(grouping=LANGUAGE)["language"].unique())
        if languages != sorted(record["languages"]):
            raise UserError(f"{path}: it has the languages {', '.join(languages)}, not those that it was made of")
        pooled = frame.filter(grouping=POOLED)
        if pooled.is_empty() or not (pooled["accuracy"].is_between(0, 1) & pooled["ece"].is_finite()).all():
            raise UserError(f"{path}: pooled values are missing or not finite")
        yield from compare.differ("numbers of bins", bins, sorted({evaluation.n_bins, *evaluation.other_bins}))
        yield from self._same_languages(benchmark, record)
        yield from compare.made_of(record, self._cell_scores(benchmark, cell))

    def _posthoc(self, path: str, benchmark: str, cell: Cell) -> Reasons:
        record, evaluation = compare.in_its_place(path, benchmark, cell), self.config.evaluation
        compare.count_rows(path, at_least=1)
        yield from self._same_languages(benchmark, record)
        methods = sorted({evaluation.confidence_method, *evaluation.posthoc_methods})
        yield from compare.differ("confidence methods", sorted(record["confidence_methods"]), methods)
        yield from compare.differ("evaluation.n_bins", record["n_bins"], evaluation.n_bins)
        yield from compare.differ("evaluation.posthoc_share", record["posthoc_share"], evaluation.posthoc_share)
        yield from compare.differ("transfer_language", record["transfer_language"], evaluation.transfer_language)
        free = [paths.content_free(benchmark)] if self.config.scoring.content_free else []
        yield from compare.made_of(record, [p for name in (benchmark, *free) for p in self._cell_scores(name, cell)])

    def _statistics(self, path: str) -> Reasons:
        record, benchmark = files.read_provenance(path), Path(path).stem
        compare.count_rows(path, at_least=1)
        for name in ("confidence_method", "t_test", "n_bins", "resamples"):
            if name in record:  # files of the first version lack the confidence method
                yield from compare.differ(f"evaluation.{name}", record[name], getattr(self.config.evaluation, name))
        made_of = [p for cell in self.scored_cells for p in self._cell_scores(benchmark, cell)]
        made_of += [paths.metrics(benchmark, cell.path) for cell in self.scored_cells]
        yield from compare.made_of(record, [SELECTION, *made_of])

    def _same_languages(self, benchmark: str, record: Mapping[str, Any]) -> Reasons:
        wanted = sorted(grid.languages(self.config, benchmark))
        yield from compare.differ("grid.languages", sorted(record["languages"]), wanted)
        tiers = {name: list(languages) for name, languages in self.config.tiers.items() if languages}
        yield from compare.differ("tiers", record["tiers"], tiers)

    def _cell_scores(self, benchmark: str, cell: Cell) -> list[str]:
        return [paths.scores(benchmark, cell.path, shard) for shard in grid.shards_in_grid(self.config, benchmark)]

    def _made_of_record(self, used: Any, path: str) -> Reasons:
        """Whether the record of a model is the one that something was made with; training curves aside."""
        now = compare.if_readable(lambda: files.read_record(path))
        if now is not None and used != {name: value for name, value in now.items() if name != "curve"}:
            yield f"made with another model than {path} says"


def _with_manifest(path: str, reasons: Callable[[], Reasons]) -> Artifact:
    return Artifact(path, reasons, (paths.manifest(path),))
