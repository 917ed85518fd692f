"""Speed, memory and agreement of scoring, against lm-evaluation-harness on the same prompts and the same models.

    make bench-scoring                 # about 40 minutes on 2 cores, nearly all of it the harness's
    make bench-scoring QUICK=1         # about three minutes: fewer questions, a smaller model

Both sides run in this one run, part by part in turn, so that what else the machine does falls on both alike; what is
compared are medians over parts. Tokenising counts on both sides. benchmarks/README.md says what each line measures.
Exits with 1 where a figure falls short.
"""

import argparse
import logging
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from transformers import AutoConfig

import counts
import gpu
import material
import startup
from calgrid.scoring.prompts import questions_of, tokenize_language
from calgrid.scoring.settings import Prompting
from figures import Figure, peer_parser, run
from lines import Worker

log = logging.getLogger("bench")

HERE = Path(__file__).parent
PARTS = 4  # that a set of questions is timed in
BATCH_SIZES = (1, 2, 4, 8, 16, 32)  # of the harness, of which the fastest counts
TOLERANCE = 1e-4  # of a candidate's summed log-probability
LONG_SUM = 512.0  # nats; beyond, two float32 steps are more than the tolerance, and both sides keep sums in float32
LONG_STEPS = 4
LONG_ROWS, LONG_TOKENS, LONG_VOCABULARY = 4, 2048, 128_256


@dataclass(frozen=True)
class Size:
    """How much is measured; what `--quick` makes smaller, and the speed that is asked for at that size."""

    shape: str  # of `material.SHAPES`
    zero_shot: int  # questions
    prox: int
    few_shot: int
    subjects: int  # of the few-shot questions
    tuning: int  # questions on which the harness's batch size is chosen
    equality: int  # questions of each language
    speed: tuple[float, float, float]  # at least, of the three sets
    of_bound: float


FULL = Size("full", 512, 256, 256, 4, 8, 200, (4, 8, 15), 0.8)
QUICK = Size("quick", 48, 16, 32, 2, 2, 4, (2.5, 5, 8), 0.6)  # a small part amortises less


class Bench:
    """One run: its settings, its folder, and how questions reach the two sides."""

    def __init__(self, arguments: argparse.Namespace, folder: Path) -> None:
        self.size: Size = QUICK if arguments.quick else FULL
        self.data: Path | None = arguments.data if arguments.data.is_dir() else None
        self.threads: int = arguments.threads
        self.score_tokens: int = arguments.score_tokens
        self.peer_python: str = arguments.peer_python
        self.folder = folder
        self.tokenizer = material.tokenizer_of(self.data)
        self.dev = material.mmlu(self.data, "dev")
        for name in ("zero_shot", "prox", "few_shot", "equality"):
            if (given := getattr(arguments, name)) is not None:
                self.size = Size(**{**vars(self.size), name: given})

    def model(self, shape: str, vocabulary: int | None = None) -> Path:
        folder = self.folder / f"{shape}-{vocabulary}"
        if not folder.is_dir():
            parameters = material.save_model(folder, self.tokenizer, shape, vocabulary)
            log.info("model: %.1fM parameters", parameters / 1e6)
        return folder

    def workers(self, stack: ExitStack, model: Path) -> tuple[Worker, Worker]:
        """CalGrid's and the harness's, with the model loaded."""
        ours = stack.enter_context(Worker([sys.executable, HERE / "ours.py"]))
        peer = stack.enter_context(Worker([self.peer_python, HERE / "peer_lm_eval.py"]))
        for worker in (ours, peer):
            worker.ask("load", model=str(model), threads=self.threads)
        return ours, peer

    def ask_ours(self, worker: Worker, questions: pl.DataFrame, shots: int = 0, score_tokens: int | None = None) -> Any:
        paths = [self.folder / "questions.parquet", self.folder / "examples.parquet"]
        questions.write_parquet(paths[0])
        self.dev.write_parquet(paths[1])
        return worker.ask(
            "score",
            questions=str(paths[0]),
            examples=str(paths[1]) if shots else None,
            shots=shots,
            score_tokens=score_tokens or self.score_tokens,
        )

    def ask_peer(
        self,
        worker: Worker,
        questions: pl.DataFrame,
        batch_size: int,
        shots: int = 0,
        kinds: Sequence[str] = ("texts",),
    ) -> Any:
        """The worker's answer, its sums by kind of candidate and question id."""
        asked = material.requests(questions, self.dev if shots else None, shots)
        pairs = [pair for kind in kinds for of_question in asked.values() for pair in of_question[kind]]
        answer = worker.ask("score", requests=pairs, batch_size=batch_size)
        sums = iter(answer["sums"])
        found = {kind: {id_: [next(sums) for _ in asked[id_][kind]] for id_ in asked} for kind in kinds}
        return {"seconds": answer["seconds"], **found}

    def tokens(self, questions: pl.DataFrame, shots: int = 0) -> list[counts.Question]:
        frame, _ = tokenize_language(
            self.tokenizer,
            questions,
            "en",
            Prompting(shots=shots),
            context=material.CONTEXT,
            examples=self.dev if shots else None,
        )
        return questions_of(frame)

    def parts(self, questions: pl.DataFrame) -> list[pl.DataFrame]:
        return [questions[number::PARTS] for number in range(PARTS)]


@dataclass
class Agreement:
    """How far apart two sides' sums lie."""

    difference: float = 0.0  # the greatest, of sums below LONG_SUM
    steps: float = 0.0  # the greatest of the other sums, in steps of float32 at the sum's size
    long: int = 0  # how many those are

    def add(self, ours: Mapping[str, list[float]], peer: Mapping[str, list[float]]) -> None:
        """Take in sums by question id; both sides must hold the same questions and candidates."""
        if ours.keys() != peer.keys():
            raise RuntimeError(f"one side alone scored {sorted(ours.keys() ^ peer.keys())}")
        for id_ in ours:
            for a, b in zip(ours[id_], peer[id_], strict=True):
                if abs(b) < LONG_SUM:
                    self.difference = max(self.difference, abs(a - b))
                else:
                    self.steps = max(self.steps, abs(a - b) / float(np.spacing(np.float32(abs(b)))))
                    self.long += 1

    def figures(self, name: str) -> list[Figure]:
        found = [Figure(f"{name}: greatest difference of sums", self.difference, TOLERANCE)]
        if self.long:
            what = f"{name}: difference of {self.long} sums below -{LONG_SUM:g}, in float32 steps"
            found.append(Figure(what, self.steps, LONG_STEPS))
        return found


def speed(bench: Bench, name: str, parts: Sequence[pl.DataFrame], shots: int, limit: float) -> list[Figure]:
    """Both sides on each part in turn; the harness at the batch size that is its fastest on the first questions."""
    model = bench.model(bench.size.shape)
    questions = bench.tokens(pl.concat(parts), shots)
    separate, least = counts.separate(questions), counts.least(questions)
    config = AutoConfig.from_pretrained(model)
    bound = separate.flops(config) / least.flops(config)
    log.info(
        "%s: %d questions, %d tokens for the harness, %d at least", name, len(questions), separate.tokens, least.tokens
    )
    times: dict[str, list[float]] = {"ours": [], "tokenizing": [], "peer": []}
    agreement = Agreement()
    with ExitStack() as stack:
        ours, peer = bench.workers(stack, model)
        first = material.spread(parts[0], bench.size.tuning)
        bench.ask_ours(ours, first, shots)
        bench.ask_peer(peer, first, 1, shots)
        tried = {size: bench.ask_peer(peer, first, size, shots)["seconds"] for size in BATCH_SIZES}
        best = min(tried, key=tried.__getitem__)
        log.info("%s: harness by batch size: %s", name, ", ".join(f"{k}: {v:.1f} s" for k, v in tried.items()))
        for number, part in enumerate(parts, 1):
            by_ours = bench.ask_ours(ours, part, shots)
            by_peer = bench.ask_peer(peer, part, best, shots)
            agreement.add(by_ours["texts"], by_peer["texts"])
            times["ours"].append(by_ours["seconds"])
            times["tokenizing"].append(by_ours["tokenizing"])
            times["peer"].append(by_peer["seconds"])
            log.info(
                "%s, part %d of %d: ours %.2f s, harness %.2f s",
                name,
                number,
                len(parts),
                times["ours"][-1],
                times["peer"][-1],
            )
    median = {side: statistics.median(values) for side, values in times.items()}
    ratio = median["peer"] / median["ours"]
    log.info(
        "%s: totals: ours %.1f s (tokenising %.1f s), harness %.1f s",
        name,
        *(sum(times[side]) for side in ("ours", "tokenizing", "peer")),
    )
    plain, _ = counts.computed(questions, bench.score_tokens)
    sides = {"ours": f"{median['ours']:.2f} s", "peer": f"{median['peer']:.2f} s (batch size {best})"}
    return [
        Figure(f"{name}: times faster", ratio, limit, at_least=True, **sides),
        Figure(f"{name}: saved FLOPs allow", bound),
        Figure(
            f"{name}: share of that", ratio / bound, bench.size.of_bound if name == "zero-shot" else None, at_least=True
        ),
        *agreement.figures(name),
        Figure(
            f"{name}: tokens, ours / least", plain / least.tokens, 1.05, ours=f"{plain:,}", peer=f"{separate.tokens:,}"
        ),
    ]


def zero_shot(bench: Bench) -> list[Figure]:
    questions = material.spread(material.mmlu(bench.data, "test"), bench.size.zero_shot)
    return speed(bench, "zero-shot", bench.parts(questions), 0, bench.size.speed[0])


def prox(bench: Bench) -> list[Figure]:
    questions = material.spread(material.mmlu_prox(bench.data), bench.size.prox)
    return speed(bench, "MMLU-ProX", bench.parts(questions), 0, bench.size.speed[1])


def few_shot(bench: Bench) -> list[Figure]:
    """A part is one subject, whose questions share a header."""
    test = material.mmlu(bench.data, "test")
    each = bench.size.few_shot // bench.size.subjects
    large = [name for name, n in test["subject"].value_counts().sort("subject").iter_rows() if n >= each]
    subjects = large[:: max(1, len(large) // bench.size.subjects)][: bench.size.subjects]
    parts = [material.spread(test.filter(subject=subject), each) for subject in subjects]
    return speed(bench, "5-shot", parts, 5, bench.size.speed[2])


def tokens(bench: Bench) -> list[Figure]:
    """The complete MMLU test without a model: tokens and padding."""
    test = material.mmlu(bench.data, "test")
    questions = bench.tokens(test if bench.size == FULL else material.spread(test, 2048))
    plain, padded = counts.computed(questions, bench.score_tokens)
    least = counts.least(questions).tokens
    few = bench.tokens(material.spread(test, 512))
    few_plain, few_padded = counts.computed(few, bench.score_tokens)
    return [
        Figure(f"{len(questions)} MMLU questions: tokens, ours / least", plain / least, 1.05, ours=f"{plain:,}"),
        Figure(f"{len(questions)} MMLU questions: padding share", 1 - plain / padded, 0.1, ours=f"{padded:,}"),
        Figure(f"{len(few)} MMLU questions: padding share", 1 - few_plain / few_padded, 0.1, ours=f"{few_padded:,}"),
    ]


def long_questions(bench: Bench) -> pl.DataFrame:
    """Questions whose rows of tokens come close to `LONG_TOKENS`: each is many real questions."""
    source = material.mmlu(bench.data, "test")
    asked = material.spread(source, LONG_ROWS)
    found = []
    for number, row in enumerate(asked.iter_rows(named=True)):
        text = "\n".join(source["question"][500 * number : 500 * number + 400])
        own = len(bench.tokenizer.encode("\n".join([row["question"], *row["options"], *row["options"]]))) + 40
        kept = bench.tokenizer(text, return_offsets_mapping=True)["offset_mapping"][: LONG_TOKENS - own]
        found.append({**row, "question": text[: kept[-1][1]] + "\n" + row["question"]})
    return pl.DataFrame(found, schema=asked.schema)


def memory(bench: Bench) -> list[Figure]:
    """Peak resident memory of a whole process each, rows of 2,048 tokens, a vocabulary of 128k."""
    questions = long_questions(bench)
    longest = max(len(sequence) for question in bench.tokens(questions) for sequence in counts.fed(question))
    figures = []
    for rows in (LONG_ROWS, 1) if bench.size == FULL else (2,):
        peaks = {}
        for side in ("ours", "peer"):
            with ExitStack() as stack:
                worker = bench.workers(stack, bench.model("tiny", LONG_VOCABULARY))[side == "peer"]
                loaded = worker.ask("memory")["now"]
                if side == "ours":
                    bench.ask_ours(worker, questions, score_tokens=rows * LONG_TOKENS)
                else:
                    bench.ask_peer(worker, questions, rows)
                peak = worker.ask("memory")["peak"]
            peaks[side] = peak
            peaks[f"{side} above"] = peak - loaded
        figures += [
            Figure(
                f"peak memory, {rows} of {longest} tokens at once{what}",
                peaks[f"ours{key}"] / peaks[f"peer{key}"],
                limit,
                ours=f"{peaks[f'ours{key}'] / 2**20:,.0f} MiB",
                peer=f"{peaks[f'peer{key}'] / 2**20:,.0f} MiB",
            )
            for what, key, limit in (("", "", 0.25), (", above the loaded model", " above", None))
        ]
    return figures


def equality(bench: Bench) -> list[Figure]:
    """Texts and letters in five languages and scripts, with a small model."""
    figures = []
    with ExitStack() as stack:
        ours, peer = bench.workers(stack, bench.model("tiny"))
        for language in material.LANGUAGES:
            questions = material.spread(material.global_mmlu(bench.data, language), bench.size.equality)
            by_ours = bench.ask_ours(ours, questions)
            by_peer = bench.ask_peer(peer, questions, 4, kinds=("texts", "letters"))
            for kind in ("texts", "letters"):
                agreement = Agreement()
                agreement.add(by_ours[kind], by_peer[kind])
                figures += agreement.figures(f"{language}, {kind}")
    return figures


def start(bench: Bench) -> list[Figure]:
    """The command line's time from its start to the first scored batch, with a tiny model."""
    first, whole = startup.seconds(bench.model("tiny"), bench.data, bench.folder)
    return [
        Figure("seconds to the first scored batch", first, 8, ours=f"{first:.1f} s"),
        Figure("seconds of the whole process", whole, ours=f"{whole:.1f} s"),
    ]


def on_gpu(bench: Bench) -> list[Figure]:
    """Large shapes where there is a GPU; elsewhere a toy shape runs the same code, without a limit."""
    n = 285 if gpu.available() else 4  # questions of each language
    frames = [material.spread(material.global_mmlu(bench.data, name), n) for name in material.LANGUAGES]
    questions = [question for frame in frames for question in bench.tokens(frame)]
    return [
        Figure(
            f"{what}: share of the matrix-product rate",
            share,
            0.5 if gpu.available() else None,
            at_least=True,
            ours=rate,
        )
        for what, share, rate in gpu.shares(questions)
    ]


LINES: dict[str, Callable[[Bench], list[Figure]]] = {
    "start": start,
    "tokens": tokens,
    "gpu": on_gpu,
    "equality": equality,
    "memory": memory,
    "zero-shot": zero_shot,
    "prox": prox,
    "few-shot": few_shot,
}


def main() -> None:
    flags = peer_parser(__doc__, LINES)
    flags.add_argument(
        "--score-tokens", type=int, default=1024, help="padded tokens of a forward pass of ours, on the CPU"
    )
    for name in ("zero-shot", "prox", "few-shot", "equality"):
        flags.add_argument(f"--{name}", type=int, metavar="N", help="questions, instead of the size's own number")
    run(flags.parse_args(), Bench, LINES, "lm_eval")


if __name__ == "__main__":
    main()
