"""What each job costs: seconds, GPUs and bytes that stay, before it has run.

A job on GPUs takes its needed floating-point operations over the rate that GPUs reach, and a start. Any other job takes
a start and a time for each question, conversation or token, as measured (docs/plan.md).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from calgrid.config import grid
from calgrid.config.check import Config
from calgrid.models.shape import WEIGHT_BYTES, passing_bytes
from calgrid.plan.jobs import Job
from calgrid.plan.sizes import Sizes

STAGES = {
    "data": ("demo_data", "prepare_sft", "prepare_benchmark", "prepare_examples", "content_free"),
    "models": ("pretrain", "base_model"),
    "tokenize": ("tokenize", "audit_model"),
    "pack": ("pack",),
    "train": ("train", "train_on_nodes"),
    "score": ("score",),
    "metrics": ("metrics",),
    "posthoc": ("posthoc",),
    "statistics": ("select", "significance"),
    "tables": ("overall_tables", "language_tables", "tables_page", "posthoc_table", "change_rates", "reproduction"),
    "figures": (
        *("headline_figure", "language_figure", "figure1", "training_curves", "temperature_transfer"),
        *("heatmap", "arrows", "lr_sensitivity", "change_rates_figure"),
    ),
    "report": ("reliability_bins", "report_page"),
}
OTHER = "other"
STAGE_OF = {rule: stage for stage, rules in STAGES.items() for rule in rules}
MODEL_STAGES = ("train", "score")  # shown by model

TOKENIZER_BYTES = 5e6  # beside the weights: tokenizer, configuration, the curve
OPTION_BYTES = 14  # of scores, a question and option
BACKWARD = 3  # times a forward pass: forward and backward
PRETRAINING_RATE = 3e10  # FLOP/s of a tiny model's pretraining on two cores


@dataclass(frozen=True)
class Cost:
    """Of one job."""

    seconds: float
    gpus: int
    cores: int
    stays: float  # bytes
    passes: float = 0.0  # bytes on disk while it runs, beside that
    flops: float = 0.0


@dataclass(frozen=True)
class Rate:
    """Seconds and bytes of a job without a GPU: at its start, and for each unit of what it reads."""

    start: float
    unit: float = 0.0
    bytes: float = 0.0
    unit_bytes: float = 0.0


RATES: Mapping[str, Rate] = {
    "demo_data": Rate(start=1.5, bytes=1.5e6),
    "prepare_sft": Rate(start=1.3, unit=1e-4, unit_bytes=1.4),  # bytes: a token
    "prepare_benchmark": Rate(start=1.3, unit=1e-4, bytes=3e3, unit_bytes=220),
    "content_free": Rate(start=1, bytes=3e3),
    "base_model": Rate(start=5.5, bytes=1e3),
    "tokenize": Rate(start=5, unit=2.2e-6, bytes=1e4, unit_bytes=0.9),  # a token before each option; bytes: a token
    "audit_model": Rate(start=0.3, bytes=1e4),
    "pack": Rate(start=5, unit=5e-6, bytes=1e4, unit_bytes=1.4),  # a token
    "metrics": Rate(start=0.7, unit=1e-5, bytes=1e4, unit_bytes=0.6),
    "posthoc": Rate(start=4, unit=4e-6, bytes=1e4, unit_bytes=0.05),
    "select": Rate(start=0.4, bytes=1e4),
    "significance": Rate(start=1.5, unit=1.9e-5, bytes=1.5e6),  # a question of each cell that is compared
    "overall_tables": Rate(start=3, bytes=1e5),
    "language_tables": Rate(start=3.5, bytes=1e4, unit_bytes=1e5),  # bytes: a language
    "tables_page": Rate(start=3, bytes=3e6),
    "posthoc_table": Rate(start=3.8, bytes=1e5),
    "change_rates": Rate(start=1.5, bytes=1e4, unit_bytes=5e3),  # a language of each cell that is compared
    "reproduction": Rate(start=4, bytes=2e6),
    "figures": Rate(start=2.5, bytes=1e5),
    "reliability_bins": Rate(start=2, unit=2.6e-6, bytes=5e5),  # a question of each cell that is compared
    "report_page": Rate(start=3, bytes=2e6),
    OTHER: Rate(start=5, bytes=1e5),
}
ALIKE = {"prepare_examples": "prepare_benchmark"}


def family(rule: str) -> str:
    """A rule's name without what tells its copies apart: there is one `language_tables` a benchmark."""
    return "language_tables" if rule.startswith("language_tables_") else rule


def stage_of(job: Job) -> str:
    return STAGE_OF.get(family(job.rule), OTHER)


class Costs:
    """Costs of jobs, under the assumptions of the configuration's `plan`."""

    def __init__(self, config: Config, sizes: Sizes) -> None:
        self.config, self.sizes = config, sizes
        self._of: dict[str, Callable[[Mapping[str, str]], Cost]] = {
            "train": self._train,
            "score": self._score,
            "pretrain": self._pretrain,
        }

    def of(self, job: Job) -> Cost:
        """What a job costs."""
        stage, rule = stage_of(job), family(job.rule)
        if special := self._of.get(stage) or self._of.get(rule):
            return special(job.wildcards)
        rate = RATES[ALIKE.get(rule, rule if rule in RATES else stage)]
        seconds, size = self._units(rule, job)
        return Cost(rate.start + rate.unit * seconds, 0, job.threads, rate.bytes + rate.unit_bytes * size)

    def _train(self, cell: Mapping[str, str]) -> Cost:
        model, gpus = cell["model"], self.config.models[cell["model"]].gpus
        work = self.sizes.training(model, cell["sft"])
        epoch = BACKWARD * self.sizes.forward(model, work["train"]) + self.sizes.forward(model, work["validation"])
        flops = self.config.training.epochs * epoch
        parameters = self.sizes.parameters(model)
        return Cost(
            seconds=self._gpu_seconds(flops, self.config.plan.training_share, gpus),
            gpus=gpus,
            cores=0,
            stays=WEIGHT_BYTES * parameters + TOKENIZER_BYTES,
            passes=passing_bytes(parameters),
            flops=flops,
        )

    def _score(self, cell: Mapping[str, str]) -> Cost:
        benchmark, shard = cell["benchmark"], cell["shard"]
        flops = self.sizes.forward(cell["model"], self.sizes.scoring(benchmark, cell["model"], shard))
        options = self.sizes.shard_questions(benchmark, shard) * self.sizes.options(benchmark)
        seconds = self._gpu_seconds(flops, self.config.plan.scoring_share, 1)
        return Cost(seconds, 1, 0, stays=OPTION_BYTES * options + 2e4, flops=flops)

    def _pretrain(self, wildcards: Mapping[str, str]) -> Cost:
        model = wildcards["model"]
        settings = self.config.models[model].pretrain
        parameters = self.sizes.parameters(model)
        tokens = settings.steps * settings.batch_size * settings.row_length if settings else 0
        flops = BACKWARD * 2 * parameters * tokens
        return Cost(8 + flops / PRETRAINING_RATE, 0, 1, stays=4 * parameters + 1e5, flops=flops)

    def _gpu_seconds(self, flops: float, share: float, gpus: int) -> float:
        plan = self.config.plan
        return plan.start_seconds + flops / (gpus * plan.gpu_tflops * 1e12 * share)

    def _units(self, rule: str, job: Job) -> tuple[float, float]:
        """What a job's seconds go by, and what its bytes go by."""
        sizes, names = self.sizes, job.wildcards
        if rule == "prepare_sft":
            rows = sizes.rows(names["sft"])
            return rows, rows * (self.config.sft_datasets[names["sft"]].conversation_tokens or 0)
        if rule in ("prepare_benchmark", "prepare_examples"):
            questions = sizes.questions(names["benchmark"], names["language"]) if rule == "prepare_benchmark" else 0
            return questions, questions
        if rule == "tokenize":
            tokens = sizes.scoring(names["benchmark"], names["model"], names["shard"]).tokens
            return tokens * sizes.options(names["benchmark"]), tokens
        if rule == "pack":
            tokens = sum(work.tokens for work in sizes.training(names["model"], names["sft"]).values())
            return tokens, tokens
        if rule in ("metrics", "posthoc"):
            questions = self._benchmark_questions(names["benchmark"])
            return questions, questions
        if rule in ("significance", "reliability_bins"):
            return self._benchmark_questions(names["benchmark"]) * self._compared_cells(), 0
        if rule == "change_rates":
            languages = sum(len(grid.languages(self.config, name)) for name in self.config.grid.benchmarks)
            return 0, languages * self._compared_cells()
        if rule == "language_tables":
            languages = len(grid.languages(self.config, job.rule.removeprefix("language_tables_")))
            return languages, languages
        return 0, 0

    def _compared_cells(self) -> int:
        """The base models, and one learning rate of each other arm."""
        cells, first = grid.cells(self.config), self.config.grid.lr[0]
        return sum(cell.is_base or cell.lr == first for cell in cells)

    def _benchmark_questions(self, benchmark: str) -> float:
        shards = grid.shards_in_grid(self.config, benchmark)
        return sum(self.sizes.shard_questions(benchmark, shard) for shard in shards)
