"""Fine-tune one cell of the grid.

    python workflow/scripts/train_cell.py --base results/models/model=tiny-llama/.../base.json \\
        --conversations results/packed/model=tiny-llama/cldr-alpaca.parquet --smoothing 0.1 --lr 1e-3 --seed 0 \\
        --checkpoints results/checkpoints/models/<cell> \\
        --weights results/models/<cell>/model --record results/models/<cell>/train.json

Writes an ordinary Hugging Face folder (`--weights`, bfloat16) and a record (`--record`): loss curve, validation loss
(without smoothing, nats a token), tokens, seconds, settings, versions. A run that was killed goes on from its last
checkpoint. SIGTERM and Ctrl-C write one and end with status 75. Several processes train one cell by launch_training.py.
"""

import argparse
import logging
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch

from calgrid import cli
from calgrid.cell import Cell, canonical_lr, canonical_smoothing
from calgrid.errors import UserError
from calgrid.models import attention, weights
from calgrid.models.loading import device, load_model, save_model
from calgrid.models.reading import load_config, load_tokenizer, weights_of
from calgrid.models.shape import disk_needed
from calgrid.store import files
from calgrid.store.versions import TRAIN_VERSION
from calgrid.training import packing, sharding
from calgrid.training.chat import use_template
from calgrid.training.checkpoints import Checkpoints
from calgrid.training.fine_tune import fine_tune
from calgrid.training.loss import smoothed_loss_floor
from calgrid.training.memory import TrainingMemory, available_memory
from calgrid.training.settings import Packing, Training
from calgrid.vocabulary import ACTIVATION_CHECKPOINTING, CHECKPOINT_MINUTES, TRAIN_TOKENS

log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--base", required=True, help="base.json of the model to start from")
    parser.add_argument(
        "--conversations", required=True, help="packed by the model's tokenizer (pack_conversations.py)"
    )
    parser.add_argument("--smoothing", required=True, type=float, help="label smoothing in [0, 1)")
    parser.add_argument("--lr", required=True, type=float, help="peak learning rate")
    parser.add_argument("--seed", required=True, type=int, help="seed of order and dropout")
    parser.add_argument("--checkpoints", required=True, help="folder of the checkpoints of this cell")
    parser.add_argument(
        "--checkpoint-minutes",
        type=float,
        default=CHECKPOINT_MINUTES,
        help="between two checkpoints (default: %(default)s)",
    )
    parser.add_argument("--weights", required=True, help="folder to write the tuned model to")
    parser.add_argument("--record", required=True, help="train.json to write; its path names the cell")
    parser.add_argument(
        "--train-tokens",
        type=int,
        default=TRAIN_TOKENS,
        help="tokens of a forward and backward pass (default: %(default)s)",
    )
    parser.add_argument(
        "--activation-checkpointing",
        type=int,
        default=int(ACTIVATION_CHECKPOINTING),
        choices=(0, 1),
        help="1: recompute activations, slower with less memory (default: %(default)s)",
    )
    cli.add_settings(parser, Training)
    arguments = parser.parse_args(argv)
    settings = cli.read_settings(arguments, Training)
    check_numbers(arguments)
    cell = Cell.parse(arguments.record)
    asked: list[int] = []

    def stop(number: int, _: object) -> None:
        asked.append(number)
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a second Ctrl-C ends it at once

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    started = time.monotonic()

    with sharding.processes():
        if sharding.rank() > 0:
            logging.disable(logging.INFO)
        packed, base = files.read_provenance(arguments.conversations), files.read_record(arguments.base, "weights")
        check_packed(arguments, packed, base, settings)
        train, validation = (packing.read(arguments.conversations, split) for split in ("train", "validation"))
        log.info("%d conversations, %d for validation; left out: %s", len(train), len(validation), packed["left_out"])

        where = weights_of(arguments.base)
        sharding.on_first(lambda: weights.check(base, arguments.base))
        base_config = load_config(where)
        n_processes = sharding.n_processes()
        memory = TrainingMemory(
            base_config,
            max(arguments.train_tokens, int(train.lengths.max())),
            int(train.lengths.max()),
            bool(arguments.activation_checkpointing),
            compute_bytes=2 if device().type == "cuda" else 4,
        )
        memory.check(cell.path, n_processes, available_memory(sharding.local_processes()))
        shaping = {
            "base": base,
            "conversations": packed["sha256"],
            "smoothing": arguments.smoothing,
            "lr": arguments.lr,
            "seed": arguments.seed,
            "settings": settings.model_dump(),
            "train_version": TRAIN_VERSION,
        }
        checkpoints = Checkpoints(arguments.checkpoints, files.content_hash(repr(shaping)))
        checkpoints.check_room(disk_needed(memory.parameters))

        model = load_model(where, "auto", attention_dropout=settings.dropout, attention=attention.NAME)
        if arguments.activation_checkpointing:
            model.activation_checkpointing_enable()
        trained = fine_tune(
            model,
            train,
            validation,
            settings,
            lr=arguments.lr,
            smoothing=arguments.smoothing,
            seed=arguments.seed,
            train_tokens=arguments.train_tokens,
            name=cell.path,
            checkpoints=checkpoints,
            checkpoint_seconds=60 * arguments.checkpoint_minutes,
            stopping=lambda: bool(asked),
        )

        trained_weights = sharding.whole_weights(model)
        record = {
            "cell": asdict(cell),
            "weights": {"path": arguments.weights},
            **{name: shaping[name] for name in ("smoothing", "lr", "seed")},
            "smoothed_loss_floor": smoothed_loss_floor(arguments.smoothing, base_config.vocab_size),
            "validation_loss": trained.validation[-1]["loss"],
            "validation": trained.validation,
            "steps": trained.step,
            "supervised_tokens": trained.supervised_tokens,
            "tokens": trained.tokens,
            "fill": trained.tokens / trained.places,
            "flops": trained.flops,
            "conversations": {"train": len(train), "validation": len(validation)},
            "left_out": packed["left_out"],
            "seconds": round(time.monotonic() - started, 1),
            "training_seconds": round(trained.seconds, 1),
            "device": torch.cuda.get_device_name() if device().type == "cuda" else "cpu",
            "processes": n_processes,
            "peak_memory": torch.cuda.max_memory_allocated() if device().type == "cuda" else None,
            "base": base,
            "data": packed["data"],
            "settings": settings.model_dump(),
            **files.provenance(train_version=TRAIN_VERSION),
        }
        if sharding.rank() == 0:
            tokenizer = load_tokenizer(where)
            use_template(tokenizer, settings.chat_template)
            save_model(arguments.weights, trained_weights, base_config, model.generation_config, tokenizer, record)
            found = weights.sums(arguments.weights)
            files.write_json(arguments.record, {**record, "files": found, "curve": trained.curve})
        checkpoints.remove()


def check_numbers(arguments: argparse.Namespace) -> None:
    for flag, canonical in (("smoothing", canonical_smoothing), ("lr", canonical_lr)):
        try:
            canonical(getattr(arguments, flag))
        except ValueError as error:
            raise UserError(f"--{flag} {getattr(arguments, flag)}: {error}") from None
    if arguments.train_tokens < 1:
        raise UserError(f"--train-tokens {arguments.train_tokens}: a row has at least one token; write 8192, say")


def check_packed(
    arguments: argparse.Namespace, packed: Mapping[str, Any], base: Mapping[str, Any], settings: Training
) -> None:
    """Refuse conversations that were packed for another model, or otherwise than the settings say."""
    where = f"--conversations {arguments.conversations}"
    if "pack_version" not in packed:
        raise UserError(
            f"{where}: not written by pack_conversations.py; give results/packed/model=<model>/<sft>.parquet"
        )
    if packed["base"] != base:
        raise UserError(f"{where}: not packed for the model of {arguments.base}; pack it again by its tokenizer")
    for name in Packing.model_fields:
        made, wanted = packed["settings"][name], getattr(settings, name)
        if made != wanted:
            raise UserError(
                f"{where}: made with {cli.flag(name)} {made}, not {wanted}; pack it again, or train with it"
            )


if __name__ == "__main__":
    cli.run(main)
