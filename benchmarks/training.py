"""Speed and memory of training, against transformers' Trainer and TRL's SFTTrainer on the same conversations and model.

    make bench-training                # about 15 minutes on 2 cores
    make bench-training QUICK=1        # about two minutes: a smaller model, fewer conversations

All sides run in this one run, part by part in turn, so that what else the machine does falls on all alike; what is
compared are medians over parts. benchmarks/README.md says what each line measures. Exits with 1 where a figure falls
short.
"""

import argparse
import logging
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import gpu
import material
from calgrid.training.chat import Example
from figures import Figure, peer_parser, run
from lines import Worker

log = logging.getLogger("bench")

HERE = Path(__file__).parent
SMOOTHING = 0.1
EQUAL = 1e-6  # loss and gradients, of the plain ones
SAME_LOSS = 1e-4
LOSS_WIDTH = 128  # of the hidden states in the comparison of memory


@dataclass(frozen=True)
class Size:
    """How much is measured; what `--quick` makes smaller, and the speeds that are asked for at that size."""

    shape: str  # of `material.SHAPES`
    batch_size: int  # conversations a step
    parts: int  # steps
    tuning: int  # conversations on which each side's own size is chosen
    train_tokens: tuple[int, ...]  # of ours, of which the fastest counts
    packed: tuple[int, ...]  # row lengths of the SFTTrainer, likewise
    speed: tuple[float, float]  # at least, against the Trainer and the SFTTrainer
    vocabulary: int  # of the comparison of memory
    tokens: int


FULL = Size("full", 32, 7, 16, (512, 1024, 2048), (512, 1024, 2048), (2.0, 1.2), 256_000, 4096)
QUICK = Size("quick", 16, 3, 8, (1024,), (512, 1024), (1.6, 1.1), 128_000, 2048)  # a small part amortises less

Ask = Callable[[Sequence[Example]], dict[str, Any]]


class Bench:
    """One run: its settings and its folder."""

    def __init__(self, arguments: argparse.Namespace, folder: Path) -> None:
        self.size: Size = QUICK if arguments.quick else FULL
        self.data: Path | None = arguments.data if arguments.data.is_dir() else None
        self.threads: int = arguments.threads
        self.peer_python: str = arguments.peer_python
        self.folder = folder
        self.tokenizer = material.tokenizer_of(self.data)


def asking(worker: Worker, do: str, **settings: Any) -> Ask:
    def ask(examples: Sequence[Example]) -> dict[str, Any]:
        return worker.ask(
            do, tokens=[e.tokens for e in examples], supervised=[e.supervised for e in examples], **settings
        )

    return ask


def fastest(name: str, sides: dict[int, Ask], examples: Sequence[Example]) -> Ask:
    """The side that is fastest on these conversations, by its size."""
    if len(sides) == 1:
        return next(iter(sides.values()))
    tried = {size: ask(examples)["seconds"] for size, ask in sides.items()}
    log.info("%s by its size: %s", name, ", ".join(f"{size}: {taken:.2f} s" for size, taken in tried.items()))
    return sides[min(tried, key=tried.__getitem__)]


def speed(bench: Bench) -> list[Figure]:
    """Supervised tokens a second."""
    size = bench.size
    model = bench.folder / "model"
    parameters = material.save_model(model, bench.tokenizer, size.shape)
    log.info("model: %.1fM parameters", parameters / 1e6)
    examples = material.alpaca(bench.data, bench.tokenizer, size.batch_size * size.parts)
    parts = [examples[number :: size.parts] for number in range(size.parts)]
    with ExitStack() as stack:
        ours = stack.enter_context(Worker([sys.executable, HERE / "ours_training.py"]))
        peer = stack.enter_context(Worker([bench.peer_python, HERE / "peer_trainers.py"]))
        for worker in (ours, peer):
            worker.ask("start", model=str(model), threads=bench.threads)
        first = parts[0][: size.tuning]
        for ask in (
            asking(ours, "train", smoothing=SMOOTHING, train_tokens=1024),
            asking(peer, "train", smoothing=SMOOTHING, batch_size=1),
        ):
            ask(first[:1])  # what loads at first use
        sides = {
            "ours": fastest(
                "ours",
                {n: asking(ours, "train", smoothing=SMOOTHING, train_tokens=n) for n in size.train_tokens},
                first,
            ),
            "Trainer": asking(peer, "train", smoothing=SMOOTHING, batch_size=size.batch_size),
            "Trainer, one at a time": asking(peer, "train", smoothing=SMOOTHING, batch_size=1),
            "SFTTrainer": fastest(
                "SFTTrainer",
                {n: asking(peer, "train_packed", smoothing=SMOOTHING, max_length=n) for n in size.packed},
                first,
            ),
            "SFTTrainer, no smoothing": fastest(
                "SFTTrainer without smoothing",
                {n: asking(peer, "train_packed", smoothing=0.0, max_length=n) for n in size.packed},
                first,
            ),
        }
        rates: dict[str, list[float]] = {name: [] for name in sides}
        losses: dict[str, list[float]] = {name: [] for name in sides}
        for number, part in enumerate(parts, 1):
            supervised = sum(sum(example.supervised) for example in part)
            for name, ask in sides.items():
                answer = ask(part)
                if answer.get("supervised") not in (None, supervised):
                    raise RuntimeError(f"{name}: {answer['supervised']} supervised tokens, not {supervised}")
                rates[name].append(supervised / answer["seconds"])
                losses[name].append(answer["loss"])
            log.info(
                "part %d of %d: %s supervised tokens/s; loss %s",
                number,
                size.parts,
                ", ".join(f"{name} {rate[-1]:.0f}" for name, rate in rates.items()),
                ", ".join(f"{name} {loss[-1]:.4f}" for name, loss in losses.items()),
            )
    medians = {name: statistics.median(rate) for name, rate in rates.items()}
    difference = max(abs(a - b) for a, b in zip(losses["ours"], losses["Trainer"], strict=True))
    asked = {"Trainer": size.speed[0], "SFTTrainer": size.speed[1]}
    return [
        Figure(
            f"supervised tokens/s, {size.batch_size} conversations a step, against {name}",
            medians["ours"] / median,
            asked.get(name),
            at_least=True,
            ours=f"{medians['ours']:.0f}",
            peer=f"{median:.0f}",
        )
        for name, median in medians.items()
        if name != "ours"
    ] + [Figure("greatest difference of a step's loss from the Trainer's, nats a token", difference, SAME_LOSS)]


def memory(bench: Bench) -> list[Figure]:
    """The loss and its gradients alone: peak memory above what was there before, and equality."""
    size = bench.size
    found = {}
    for side in ("fused", "plain"):
        output = bench.folder / f"{side}.npz"
        numbers = [str(number) for number in (size.vocabulary, size.tokens, LOSS_WIDTH)]
        subprocess.run([sys.executable, HERE / "loss_memory.py", side, *numbers, output], check=True)
        found[side] = np.load(output)
    ours, plain = found["fused"], found["plain"]
    what = f"loss, {size.tokens} tokens, vocabulary {size.vocabulary}"
    return [
        Figure(
            f"{what}: peak memory",
            float(ours["bytes"] / plain["bytes"]),
            0.1,
            ours=f"{ours['bytes'] / 2**20:,.0f} MiB",
            peer=f"{plain['bytes'] / 2**20:,.0f} MiB (full logits)",
        ),
        Figure(f"{what}: difference, relative", abs(float(ours["loss"] / plain["loss"]) - 1), EQUAL),
        *(
            Figure(f"{what}: {name}, greatest difference", float(np.abs(ours[key] - plain[key]).max()), EQUAL)
            for name, key in (("gradient of the hidden states", "hidden"), ("gradient of the head", "head"))
        ),
    ]


def on_gpu(bench: Bench) -> list[Figure]:
    """A large shape where there is a GPU; elsewhere a toy shape runs the same code, without a limit."""
    examples = material.alpaca(bench.data, bench.tokenizer, 1000 if gpu.available() else 24)
    data = material.conversations([e.tokens for e in examples], [e.supervised for e in examples])
    what, share, rate = gpu.training_share(data)
    limit = 0.45 if gpu.available() else None
    return [Figure(f"{what}: share of the matrix-product rate", share, limit, at_least=True, ours=rate)]


LINES: dict[str, Callable[[Bench], list[Figure]]] = {"gpu": on_gpu, "memory": memory, "speed": speed}


if __name__ == "__main__":
    run(peer_parser(__doc__, LINES).parse_args(), Bench, LINES, "peer")
