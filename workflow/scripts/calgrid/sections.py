"""The sections of the configuration: one checked model each, unknown keys refused everywhere.

Programs take the same models as flags (`calgrid.cli.add_settings`), so that a setting is defined once.
Imported whenever the Snakefile is parsed: nothing heavier than pydantic here.
"""

import re
from decimal import Decimal
from pathlib import Path
from string import Formatter
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

ConfidenceMethod = Literal["perplexity", "sum", "min", "choice", "bytes"]
Metric = Literal[
    "accuracy",
    "entropy",
    "confidence",
    "overconfidence",
    "nll",
    "brier",
    "ece",
    "expected_ece",
    "mce",
    "sce",
    "ace",
    "rms",
    "mad",
    "rms_gce",
    "smooth_ece",
    "debiased_squared_error",
    "tie_share",
]
Correction = Literal["none", "holm"]
TTest = Literal["paired", "independent", "welch"]
SftLayout = Literal["alpaca", "sharegpt", "messages"]
BenchmarkLayout = Literal["global_mmlu", "mmlu_prox", "mmlu"]
Architecture = Literal["gemma2", "mistral", "llama"]
Attention = Literal["auto", "eager", "sdpa", "flex_attention"]

CONFIDENCE_METHODS: tuple[str, ...] = get_args(ConfidenceMethod)
METRICS: tuple[str, ...] = get_args(Metric)
TABLE_METRICS: tuple[Metric, ...] = ("accuracy", "entropy", "ece", "rms")  # the paper's columns
T_TESTS: tuple[str, ...] = get_args(TTest)
CORRECTIONS: tuple[str, ...] = get_args(Correction)
BASE = "base"  # the `sft` of a model that was not tuned
NO_SMOOTHING = "0.0"  # the smoothing that smoothed arms are compared with
NONE = "none"  # its smoothing, learning rate and seed
ALL = "all"  # as a language: every language of a benchmark; their questions pooled, in metrics
CONTENT_FREE = "+content_free"  # ends the name of a benchmark's content-free prompts; no name in here has a "+"
VALIDATION_LOSS = "validation_loss"
CLDR_CORPUS = "cldr"  # the embedded pretraining corpus
LONGEST_NAME = 100  # characters
COMMIT = r"[0-9a-f]{40}"


def _name(value: str) -> str:
    # Names become parts of paths and of shell words.
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", value):
        raise ValueError("use letters, digits, '.', '_' and '-' only, beginning with a letter or a digit")
    if len(value) > LONGEST_NAME:
        raise ValueError(f"use at most {LONGEST_NAME} characters; file systems take no longer names")
    if value in (BASE, NONE, ALL):
        raise ValueError(f"the names {BASE!r}, {NONE!r} and {ALL!r} are taken by the workflow itself")
    return value


def _number(value: Any) -> float:
    try:
        if isinstance(value, bool):
            raise TypeError
        return float(value) + 0.0  # no minus zero
    except (TypeError, ValueError):
        raise ValueError("write a number, such as 0.1 or 1e-5") from None


# Grid values are parts of paths: each number has one spelling, or 1e-5 and 0.00001 would be two trainings.


def canonical_smoothing(value: Any) -> str:
    number = _number(value)
    if not 0 <= number < 1:
        raise ValueError("label smoothing lies in [0, 1): 0.0 is none, the paper takes 0.1 and 0.2")
    return repr(number)


def canonical_lr(value: Any) -> str:
    number = _number(value)
    if not 0 < number < float("inf"):
        raise ValueError("a learning rate is a positive number, such as 1e-5")
    return f"{Decimal(repr(number)).normalize():e}"


def _languages(value: Any) -> Any:
    if value == ALL:
        return (ALL,)
    if isinstance(value, str):
        raise ValueError(f"write a list of languages, or {ALL}")
    return value


def _lr_choice(value: Any) -> str:
    return VALIDATION_LOSS if value == VALIDATION_LOSS else canonical_lr(value)


def _word(value: str) -> str:
    # Becomes the value of a flag, which would otherwise be taken for a flag itself.
    if not value.strip() or value.startswith("-"):
        raise ValueError("write a name that is not empty and does not begin with '-'")
    return value


Name = Annotated[str, AfterValidator(_name)]
Word = Annotated[str, AfterValidator(_word)]
# `json_schema_input_type`: what a user writes, where it is kept as text; for docs/configuration.md.
Smoothing = Annotated[
    str, BeforeValidator(canonical_smoothing, json_schema_input_type=Annotated[float, Field(ge=0, lt=1)])
]
LearningRate = Annotated[str, BeforeValidator(canonical_lr, json_schema_input_type=Annotated[float, Field(gt=0)])]
Share = Annotated[float, Field(ge=0, lt=1)]


def _takes_numbers(annotation: Any) -> bool:
    return annotation in (int, float) or any(map(_takes_numbers, get_args(annotation)))


class Section(BaseModel):
    """A part of the configuration: immutable, and without room for keys that nobody reads."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, values: Any) -> Any:
        for name, value in values.items() if isinstance(values, dict) else ():
            field = cls.model_fields.get(name)
            for item in value if isinstance(value, list) else [value]:
                if isinstance(item, bool) and field and _takes_numbers(field.annotation):
                    raise ValueError(
                        f"{name}: {item}: write a number; YAML reads yes, no, on and off as true and false"
                    )
        return values


def _is_there(path: str) -> bool:
    try:
        return Path(path).exists()
    except (OSError, ValueError):
        return False


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


class Pretraining(Section):
    """How a tiny model is pretrained from nothing (rule `pretrain`)."""

    architecture: Architecture = Field(description="gemma2, mistral or llama")
    corpus: tuple[str, ...] = Field(
        (CLDR_CORPUS,), min_length=1, description=f"{CLDR_CORPUS!r} (embedded) or names of SFT data sets"
    )
    tokenizer: str | None = Field(
        None, description="folder or file of a tokenizer to take; default: a byte-level BPE trained on the corpus"
    )
    vocabulary: int = Field(2048, ge=300, description="tokens of the BPE that is trained")
    hidden_size: int = Field(128, ge=16, multiple_of=8, description="width of the model: four heads of even width")
    layers: int = Field(2, ge=1, description="number of layers")
    steps: int = Field(1200, ge=1, description="optimiser steps")
    batch_size: int = Field(4, ge=1, le=1_000_000, description="rows a step")
    row_length: int = Field(128, ge=16, description="tokens a row")
    lr: float = Field(1e-2, gt=0, description="peak learning rate")
    seed: int = Field(0, ge=0, description="seed of initialisation and order")

    @model_validator(mode="after")
    def _tokenizer_is_there(self) -> Self:
        if self.tokenizer is not None and not _is_there(self.tokenizer):
            raise ValueError(f"tokenizer: no such file or folder {self.tokenizer!r}; correct it")
        return self


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

    layout: SftLayout = Field(description="alpaca, sharegpt or messages")
    config: Word | None = Field(None, description="configuration of the data set, where it has several")
    split: Word = Field("train", description="split of the data set")
    max_rows: int | None = Field(None, ge=1, description="take a fixed sample of this many rows")
    conversations: int | None = Field(
        None, ge=1, description="how many it has, for `snakemake plan` before it is prepared"
    )
    conversation_tokens: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="tokens of one, on average, for `snakemake plan` before packing"
    )


class Benchmark(Source):
    """A multiple-choice benchmark in several languages: from the Hub or a folder, by `hub` or `path`."""

    layout: BenchmarkLayout = Field(description="global_mmlu, mmlu_prox or mmlu")
    config: Word = Field("{language}", description="configuration of the data set for a language")
    split: Word = Field("test", description="split of the data set")
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
        0.02, description="share of each SFT set held out for the validation loss"
    )
    max_rejected_share: Share = Field(0.01, description="refuse a data set with a larger share of unusable rows")


class Packing(Section):
    """How conversations become tokens; made once for all cells of a model and an SFT set."""

    max_length: int = Field(2048, ge=8, description="tokens of a conversation at most")
    long_conversations: Literal["cut", "refuse"] = Field(
        "cut", description="a longer conversation is cut after its last answer that fits, or refused; both are counted"
    )
    chat_template: Literal["calgrid", "tokenizer"] = Field(
        "calgrid", description="calgrid: the recorded template for base models; tokenizer: the tokenizer's own"
    )


class Training(Packing):
    """How each cell is fine-tuned. Defaults: the paper's, and Wang et al. (2023) where it is silent."""

    epochs: int = Field(2, ge=1, description="passes over the training part")
    batch_size: int = Field(128, ge=1, le=1_000_000, description="conversations an optimiser step")
    warmup_share: Share = Field(0.02, description="share of the steps with a rising learning rate")
    weight_decay: float = Field(0.0, ge=0, description="AdamW's weight decay")
    beta1: Share = Field(0.9, description="AdamW's first beta")
    beta2: Share = Field(0.999, description="AdamW's second beta")
    epsilon: float = Field(1e-8, gt=0, description="AdamW's epsilon")
    max_grad_norm: float = Field(
        1.0, gt=0, allow_inf_nan=True, description="clip the gradient to this norm; inf does not clip"
    )
    dropout: Share = Field(0.1, description="dropout on the attention weights, the one these models have")


class Prompting(Section):
    """From a question to the text that is scored; {answer_word} is one a language, see `Config.answer_words`."""

    prompt: str = Field("{question}\n{options}\n{answer_word}:", description="text before a candidate")
    option: str = Field("{letter}. {text}", description="one listed option; {options} joins them by newlines")
    candidate: str = Field(" {candidate}", description="what is scored: an option's text, or its letter")
    language: Literal["english", "native"] = Field(
        "english", description="the language of {answer_word}: english, or native, the benchmark's own"
    )
    shots: int = Field(0, ge=0, description="answered examples before each question, from the benchmark's own split")
    shown_answer: Literal["text", "letter"] = Field("text", description="how the examples are answered: text or letter")

    @model_validator(mode="after")
    def _placeholders(self) -> Self:
        for field, needed, also in (
            ("prompt", "question", ["options", "answer_word"]),
            ("option", "text", ["letter"]),
            ("candidate", "candidate", []),
        ):
            value, allowed = getattr(self, field), [needed, *also]
            try:
                parsed = [part for part in Formatter().parse(value) if part[1] is not None]
            except ValueError as error:
                raise ValueError(f"{field}: {value!r}: {error}; write {{{{ or }}}} for a brace itself") from None
            if any(spec or conversion for _, _, spec, conversion in parsed):
                raise ValueError(f"{field}: {value!r}: write a name alone between braces, without ':' or '!'")
            found = {name for _, name, _, _ in parsed}
            if not {needed} <= found <= set(allowed):
                known = ", ".join(f"{{{name}}}" for name in allowed)
                raise ValueError(f"{field}: {value!r} must hold {{{needed}}} and may hold {known} only")
        if self.language == "native" and "{answer_word}" not in self.prompt:
            raise ValueError("language: native: puts {answer_word} into the benchmark's language; put it into `prompt`")
        return self


class Scoring(Prompting):
    """How candidates are scored, and of which cells."""

    cells: Literal["all", "selected"] = Field(
        "all", description="all, or selected: the base models, and of each arm the selected learning rate alone"
    )
    content_free: tuple[Annotated[str, Field(pattern=r"\S")], ...] = Field(
        (), description="texts that say nothing, asked as question and as every option, for contextual calibration"
    )


class Audit(Section):
    """The largest tolerated share of a language's questions with a finding, by finding; see `calgrid.prompts`."""

    bos: Share = Field(0.0, description="text holding the tokenizer's BOS; such questions are left out")
    too_long: Share = Field(0.0, description="longer than the model's context; such questions are left out")
    no_token: Share = Field(0.0, description="a candidate without a token of its own; such questions are left out")
    same_text: Share = Field(0.05, description="two options with the same text")
    boundary: Share = Field(0.01, description="a token across the boundary between prompt and candidate")


class Device(Section):
    """How a device computes. Results depend on it within rounding alone, and a change runs nothing again."""

    train_tokens: int = Field(8192, ge=1, description="tokens of a row in training: of a forward and backward pass")
    score_tokens: int = Field(8192, ge=1, description="padded tokens of a forward pass in scoring")
    score_attention: Attention = Field(
        "auto", description="eager, sdpa or flex_attention in scoring; auto: eager for Gemma2, else sdpa"
    )
    activation_checkpointing: bool = Field(False, description="recompute activations: slower, with less memory")
    checkpoint_minutes: float = Field(30, ge=0, description="minutes of training between two checkpoints")


class Selection(Section):
    """Which learning rate stands for a model, SFT set and smoothing."""

    lr: Annotated[
        str,
        BeforeValidator(_lr_choice, json_schema_input_type=Literal["validation_loss"] | Annotated[float, Field(gt=0)]),
    ] = Field(VALIDATION_LOSS, description="the least validation loss, or one learning rate of the grid for all")


class Evaluation(Section):
    """What tables and figures show."""

    confidence_method: ConfidenceMethod = Field("perplexity", description="perplexity, sum, min, choice or bytes")
    n_bins: int = Field(30, ge=1, le=1000, description="bins of the tables' calibration errors")
    other_bins: tuple[Annotated[int, Field(ge=1, le=1000)], ...] = Field(
        (10, 15), description="numbers of bins that are measured beside it"
    )
    figure_bins: int = Field(10, ge=1, description="bins of reliability figures")
    table_metrics: tuple[Metric, ...] = Field(
        TABLE_METRICS, min_length=1, description="columns of the tables; their CSV files hold every metric"
    )
    smoothing: tuple[Smoothing, ...] = Field(
        ("0.0", "0.1"), min_length=1, description="what the overall tables and reliability figures compare"
    )
    t_test: TTest = Field("paired", description="Student's t-test over languages: paired, independent or welch")
    resamples: int = Field(1000, ge=100, le=1_000_000, description="resamples of the bootstrap over questions")
    alpha: Annotated[float, Field(gt=0, lt=1)] = Field(0.05, description="level of significance")
    correction: Correction = Field("none", description="none, or holm: italics by tests corrected for their number")
    posthoc_methods: tuple[ConfidenceMethod, ...] = Field(
        ("choice",), description="confidence methods calibrated post hoc, beside confidence_method"
    )
    posthoc_share: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.5, description="share of the questions that temperatures are fitted on; the others are measured"
    )
    transfer_language: str = Field("en", description="language whose temperature is tried in all others")
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
