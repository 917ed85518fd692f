"""The sections of the configuration: one checked model each, unknown keys refused everywhere.

Each stage's settings lie in its package (`training.settings`, `scoring.settings`); the rest is here.
Imported whenever the Snakefile is parsed: nothing heavier than pydantic here.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from string import Formatter
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeAlias

from pydantic import BeforeValidator, Field, model_validator

from calgrid.cell import canonical_lr
from calgrid.data.benchmark_layouts import BENCHMARK_LAYOUTS
from calgrid.data.sft_layouts import SFT_LAYOUTS
from calgrid.measure.metrics import METRICS, TABLE_METRICS
from calgrid.scoring.confidence import CONFIDENCE_METHODS
from calgrid.settings import LearningRate, Name, Section, Share, Smoothing, Word
from calgrid.training.settings import Pretraining
from calgrid.vocabulary import (
    ACTIVATION_CHECKPOINTING,
    ALL,
    ALPHA,
    ATTENTION,
    BENCHMARK_SPLIT,
    CHECKPOINT_MINUTES,
    CONFIDENCE_METHOD,
    CORRECTION,
    FIGURE_BINS,
    MAX_REJECTED_SHARE,
    N_BINS,
    NO_SMOOTHING,
    POSTHOC_METHODS,
    POSTHOC_SHARE,
    RESAMPLES,
    SCORE_TOKENS,
    SFT_SPLIT,
    T_TEST,
    TRAIN_TOKENS,
    TRANSFER_LANGUAGE,
    VALIDATION_LOSS,
    VALIDATION_SHARE,
    Attention,
    Correction,
    TTest,
)

if TYPE_CHECKING:
    ConfidenceName: TypeAlias = str
    MetricName: TypeAlias = str
    SftLayoutName: TypeAlias = str
    BenchmarkLayoutName: TypeAlias = str
else:  # one of the records' names
    ConfidenceName, MetricName = Literal[tuple(CONFIDENCE_METHODS)], Literal[tuple(METRICS)]
    SftLayoutName, BenchmarkLayoutName = Literal[tuple(SFT_LAYOUTS)], Literal[tuple(BENCHMARK_LAYOUTS)]

COMMIT = r"[0-9a-f]{40}"


def _one_of(names: Iterable[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} or {last}"


def _languages(value: Any) -> Any:
    if value == ALL:
        return (ALL,)
    if isinstance(value, str):
        raise ValueError(f"write a list of languages, or {ALL}")
    return value


def _lr_choice(value: Any) -> str:
    return VALIDATION_LOSS if value == VALIDATION_LOSS else canonical_lr(value)


def _has_files(folder: str) -> bool:
    try:
        return any(Path(folder).iterdir())
    except (OSError, ValueError):
        return False


class Source(Section):
    """Where something comes from: a Hugging Face Hub repository or a local folder of the same layout."""

    hub: str | None = Field(None, description="Hub id, such as google/gemma-2-2b")
    revision: str | None = Field(None, description="commit of the Hub repository: 40 hexadecimal digits")
    path: Word | None = Field(None, description="local folder, relative to the working directory")

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        origins = self._origins()
        if sum(origin is not None for origin in origins.values()) != 1:
            raise ValueError(
                f"give exactly one of {', '.join(origins)}; to replace what config/config.yaml has: "
                "`hub: null, revision: null` beside `path`"
            )
        if self.revision and not self.hub:
            raise ValueError("a revision goes with `hub` only; with `path`, write `revision: null`")
        if self.hub is not None and not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", self.hub, re.ASCII):
            raise ValueError(f"hub: {self.hub!r} is no Hub id; write one such as google/gemma-2-2b")
        if self.hub and not re.fullmatch(COMMIT, self.revision or ""):
            raise ValueError(
                f"revision: {self.revision!r}: a branch or tag may change under your results; write a commit, "
                f"40 hexadecimal digits; https://huggingface.co/{'' if isinstance(self, Model) else 'datasets/'}"
                f"{self.hub}/commits/main lists them"
            )
        if self.from_workflow and ".." in Path(self.path or "").parts:
            raise ValueError(f"path: {self.path!r} leaves the folder of results; write it without '..'")
        if self.path is not None and not self.from_workflow and not _has_files(self.path):
            raise ValueError(
                f"path: no such folder {self.path!r}, or an empty one; correct it, or give a Hub id under `hub`"
            )
        return self

    def _origins(self) -> dict[str, object]:
        return {"hub": self.hub, "path": self.path}

    @property
    def from_workflow(self) -> bool:
        """Whether the folder is made by a rule of this workflow, and so need not exist yet."""
        return self.path is not None and Path(self.path).parts[:1] == ("results",)

    def flags(self) -> list[str]:
        """The source as flags of a program: `--hub ID [--revision R]` or `--path FOLDER`."""
        given = {"--hub": self.hub, "--revision": self.revision, "--path": self.path}
        return [word for flag, value in given.items() if value is not None for word in (flag, value)]


class Model(Source):
    """A base model: from the Hub, a folder, or pretrained here; one of `hub`, `path` and `pretrain` says which."""

    gpus: int = Field(1, ge=1, description="GPUs that train it together, its weights and optimiser state sharded")
    nodes: int = Field(1, ge=1, description="machines that these GPUs are on, as many on each")
    parameters: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="how many it has, for `snakemake plan` before it is fetched"
    )
    pretrain: Pretraining | None = Field(None, description="make the model instead of taking one")

    @model_validator(mode="after")
    def _as_many_gpus_a_node(self) -> Self:
        if self.gpus % self.nodes:
            raise ValueError(f"gpus: {self.gpus} can't be on {self.nodes} nodes, as many on each; write a multiple")
        return self

    def _origins(self) -> dict[str, object]:
        return {**super()._origins(), "pretrain": self.pretrain}


class SftDataset(Source):
    """An instruction data set: from the Hub or a folder; one of `hub` and `path` says which."""

    layout: SftLayoutName = Field(description=_one_of(SFT_LAYOUTS))
    config: Word | None = Field(None, description="configuration of the data set, where it has several")
    split: Word = Field(SFT_SPLIT, description="split of the data set")
    max_rows: int | None = Field(None, ge=1, description="take a fixed sample of this many rows")
    conversations: int | None = Field(
        None, ge=1, description="how many it has, for `snakemake plan` before it is prepared"
    )
    conversation_tokens: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="tokens of one, on average, for `snakemake plan` before packing"
    )


class Benchmark(Source):
    """A multiple-choice benchmark in several languages: from the Hub or a folder, by `hub` or `path`."""

    layout: BenchmarkLayoutName = Field(description=_one_of(BENCHMARK_LAYOUTS))
    config: Word = Field("{language}", description="configuration of the data set for a language")
    split: Word = Field(BENCHMARK_SPLIT, description="split of the data set")
    languages: tuple[Name, ...] = Field(min_length=1, description="the languages that the benchmark has")
    example_split: Word | None = Field(None, description="split of the answered examples that scoring.shots takes")
    shards: dict[Name, tuple[str, ...]] | None = Field(
        None, description="languages that one scoring job takes, by name; default: the tiers"
    )
    max_questions: int | None = Field(None, ge=1, description="take these many questions, the same in each language")
    questions: int | None = Field(
        None, ge=1, description="how many a language has, for `snakemake plan` before they are prepared"
    )
    question_tokens: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="tokens of one with its options, on average over languages, for `snakemake plan` before tokenizing",
    )

    @model_validator(mode="after")
    def _config_of_a_language(self) -> Self:
        try:
            found = {name for _, name, _, _ in Formatter().parse(self.config) if name is not None}
        except ValueError as error:
            raise ValueError(f"config: {self.config!r}: {error}") from None
        if found - {"language"}:
            raise ValueError(f"config: {self.config!r} may hold {{language}} only")
        if self.example_split == self.split:
            raise ValueError(f"example_split: {self.split!r} is the split that is scored; name another one")
        if not found and len(self.languages) > 1:
            raise ValueError(f"config: {self.config!r} is the same for every language; put {{language}} into it")
        return self


class Grid(Section):
    """What runs: every combination of these lists, and each base model once."""

    models: tuple[str, ...] = Field(min_length=1, description="names from `models`")
    sft_datasets: tuple[str, ...] = Field(min_length=1, description="names from `sft_datasets`")
    smoothing: tuple[Smoothing, ...] = Field(min_length=1, description="label smoothing, each in [0, 1)")
    lr: tuple[LearningRate, ...] = Field(min_length=1, description="peak learning rates")
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field((0,), min_length=1, description="seeds of training")
    benchmarks: tuple[str, ...] = Field(min_length=1, description="names from `benchmarks`")
    languages: Annotated[
        tuple[str, ...], BeforeValidator(_languages, json_schema_input_type=Literal["all"] | tuple[str, ...])
    ] = Field((ALL,), min_length=1, description="languages to report, or 'all'")


class Data(Section):
    """What `prepare` may leave out and puts aside."""

    validation_share: Annotated[float, Field(gt=0, lt=1)] = Field(
        VALIDATION_SHARE, description="share of each SFT set held out for the validation loss"
    )
    max_rejected_share: Share = Field(
        MAX_REJECTED_SHARE, description="refuse a data set with a larger share of unusable rows"
    )


class Device(Section):
    """How a device computes. Results depend on it within rounding alone, and a change runs nothing again."""

    train_tokens: int = Field(
        TRAIN_TOKENS, ge=1, description="tokens of a row in training: of a forward and backward pass"
    )
    score_tokens: int = Field(SCORE_TOKENS, ge=1, description="padded tokens of a forward pass in scoring")
    score_attention: Attention = Field(
        ATTENTION, description="eager, sdpa or flex_attention in scoring; auto: eager for Gemma2, else sdpa"
    )
    activation_checkpointing: bool = Field(
        ACTIVATION_CHECKPOINTING, description="recompute activations: slower, with less memory"
    )
    checkpoint_minutes: float = Field(
        CHECKPOINT_MINUTES, ge=0, description="minutes of training between two checkpoints"
    )


class Selection(Section):
    """Which learning rate stands for a model, SFT set and smoothing."""

    lr: Annotated[
        str,
        BeforeValidator(_lr_choice, json_schema_input_type=Literal["validation_loss"] | Annotated[float, Field(gt=0)]),
    ] = Field(VALIDATION_LOSS, description="the least validation loss, or one learning rate of the grid for all")


class Evaluation(Section):
    """What tables and figures show."""

    confidence_method: ConfidenceName = Field(
        CONFIDENCE_METHOD, description=f"how confidence is extracted: {_one_of(CONFIDENCE_METHODS)}"
    )
    n_bins: int = Field(N_BINS, ge=1, le=1000, description="bins of the tables' calibration errors")
    other_bins: tuple[Annotated[int, Field(ge=1, le=1000)], ...] = Field(
        (10, 15), description="numbers of bins that are measured beside it"
    )
    figure_bins: int = Field(FIGURE_BINS, ge=1, description="bins of reliability figures")
    table_metrics: tuple[MetricName, ...] = Field(
        TABLE_METRICS, min_length=1, description="columns of the tables; their CSV files hold every metric"
    )
    smoothing: tuple[Smoothing, ...] = Field(
        (NO_SMOOTHING, "0.1"), min_length=1, description="what the overall tables and reliability figures compare"
    )
    t_test: TTest = Field(T_TEST, description="Student's t-test over languages: paired, independent or welch")
    resamples: int = Field(RESAMPLES, ge=100, le=1_000_000, description="resamples of the bootstrap over questions")
    alpha: Annotated[float, Field(gt=0, lt=1)] = Field(ALPHA, description="level of significance")
    correction: Correction = Field(CORRECTION, description="none, or holm: italics by tests corrected for their number")
    posthoc_methods: tuple[ConfidenceName, ...] = Field(
        POSTHOC_METHODS, description="confidence methods calibrated post hoc, beside confidence_method"
    )
    posthoc_share: Annotated[float, Field(gt=0, lt=1)] = Field(
        POSTHOC_SHARE, description="share of the questions that temperatures are fitted on; the others are measured"
    )
    transfer_language: str = Field(TRANSFER_LANGUAGE, description="language whose temperature is tried in all others")
    headline_benchmark: str = Field(description="benchmark of results/figs/reliability_{language}.svg")
    figure1_languages: tuple[str, ...] = Field((), description="columns of Figure 1: those that the grid reports")
    headline_sft_datasets: tuple[str, ...] = Field(
        min_length=1, description="its rows: those of these SFT sets that are in the grid"
    )
    table1_sft_datasets: tuple[str, ...] = Field(
        min_length=1, description="SFT sets of Table 1, where in the grid; Table 2 has all"
    )


class Plan(Section):
    """What `snakemake plan` reckons with. Nothing else reads this, and a change runs nothing again."""

    targets: tuple[str, ...] = Field(
        ("all_tables",), min_length=1, description="targets of the command that is planned; files, too"
    )
    gpus: int = Field(8, ge=1, description="GPUs that are used at a time")
    cores: int = Field(16, ge=1, description="processor cores at a time, for the jobs that need no GPU")
    gpu_tflops: float = Field(
        989,
        gt=0,
        allow_inf_nan=False,
        description="peak rate of a GPU, TFLOP/s: 989 is an H100 SXM's (bfloat16, dense)",
    )
    training_share: float = Field(
        0.3, gt=0, le=1, description="share of the peak that training reaches (MFU), counting needed operations alone"
    )
    scoring_share: float = Field(0.25, gt=0, le=1, description="share of the peak that scoring reaches, likewise")
    start_seconds: float = Field(
        90,
        ge=0,
        allow_inf_nan=False,
        description="what a job on GPUs takes beside computing: start, imports, loading and saving",
    )
