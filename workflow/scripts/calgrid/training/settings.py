"""Settings of pretraining, packing and fine-tuning."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from calgrid.models.architectures import ARCHITECTURES
from calgrid.settings import Section, Share
from calgrid.vocabulary import CLDR_CORPUS

if TYPE_CHECKING:
    ArchitectureName: TypeAlias = str
else:
    ArchitectureName = Literal[tuple(ARCHITECTURES)]


def _is_there(path: str) -> bool:
    try:
        return Path(path).exists()
    except (OSError, ValueError):
        return False


class Pretraining(Section):
    """How a tiny model is pretrained from nothing (rule `pretrain`)."""

    architecture: ArchitectureName = Field(description=", ".join(ARCHITECTURES))
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
