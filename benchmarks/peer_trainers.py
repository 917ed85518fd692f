"""transformers' Trainer and TRL's SFTTrainer as a worker of `training.py`, in the environment of the peers."""

import logging
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import torch
from datasets import Dataset, disable_progress_bars
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DataCollatorForSeq2Seq,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    Trainer,
    TrainingArguments,
)
from trl import SFTConfig, SFTTrainer

from lines import serve

IGNORED = -100  # as a label

where: list[str] = []  # the folder of the model that each call starts from


def start(model: str, threads: int) -> None:
    torch.set_num_threads(threads)
    where[:] = [model]


def load() -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    tokenizer = AutoTokenizer.from_pretrained(where[0])
    tokenizer.pad_token = tokenizer.eos_token
    return AutoModelForCausalLM.from_pretrained(where[0], dtype=torch.float32), tokenizer


def settings(folder: str, batch_size: int, smoothing: float) -> dict[str, Any]:
    """What both trainers are told: AdamW, linear decay, clipping at 1, one pass, nothing saved or reported."""
    return {
        "output_dir": folder,
        "per_device_train_batch_size": batch_size,
        "num_train_epochs": 1,
        "learning_rate": 1e-5,
        "label_smoothing_factor": smoothing,
        "save_strategy": "no",
        "logging_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "dataloader_pin_memory": False,
    }


def train(
    tokens: Sequence[Sequence[int]], supervised: Sequence[Sequence[bool]], smoothing: float, batch_size: int
) -> dict[str, Any]:
    """The Trainer: seconds of one step over these conversations (padded, `batch_size` at once), and its loss."""
    model, tokenizer = load()
    labels = [
        [token if target else IGNORED for token, target in zip(row, targets, strict=True)]
        for row, targets in zip(tokens, supervised, strict=True)
    ]
    data = Dataset.from_dict({"input_ids": tokens, "labels": labels})
    with tempfile.TemporaryDirectory() as folder:
        arguments = settings(folder, batch_size, smoothing)
        trainer = Trainer(
            model,
            TrainingArguments(**arguments, gradient_accumulation_steps=len(tokens) // batch_size),
            train_dataset=data,
            data_collator=DataCollatorForSeq2Seq(tokenizer, label_pad_token_id=IGNORED),
        )
        trainer.remove_callback(PrinterCallback)
        started = time.perf_counter()
        done = trainer.train()
        return {"seconds": time.perf_counter() - started, "loss": done.training_loss}


def train_packed(
    tokens: Sequence[Sequence[int]], supervised: Sequence[Sequence[bool]], smoothing: float, max_length: int
) -> dict[str, Any]:
    """The SFTTrainer: seconds of a pass over these conversations, packed into rows, answers alone supervised."""
    model, tokenizer = load()
    data = Dataset.from_dict({"input_ids": tokens, "completion_mask": [[int(t) for t in row] for row in supervised]})
    with tempfile.TemporaryDirectory() as folder:
        trainer = SFTTrainer(
            model,
            SFTConfig(**settings(folder, 1, smoothing), packing=True, max_length=max_length, completion_only_loss=True),
            train_dataset=data,
            processing_class=tokenizer,
        )
        packed = trainer.train_dataset
        found = sum(label != IGNORED for row in packed["labels"] for label in row) if "labels" in packed[0] else None
        trainer.remove_callback(PrinterCallback)
        started = time.perf_counter()
        done = trainer.train()
        return {"seconds": time.perf_counter() - started, "loss": done.training_loss, "supervised": found}


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    disable_progress_bars()
    serve({"start": start, "train": train, "train_packed": train_packed})
