"""What is known of each architecture. One record each; the rest of CalGrid reads from here.

Parsing the Snakefile imports this module: nothing heavy at its head.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """One architecture, by the `model_type` of its config.json."""

    name: str
    norms: int = 2  # RMS norms of a layer
    tied: bool = False  # the LM head is the embedding, where config.json does not say
    caps_attention: bool = False  # its attention scores, which PyTorch's fused attention (sdpa) can't
    masks_by_layer_type: bool = False  # transformers wants a mask per layer type, by its name
    windowed: bool = False  # attends within a sliding window, in some layers or in all
    # A layer's matrices, by their names in the weights.
    matrices: tuple[str, ...] = (
        *("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"),
        *("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"),
    )


def _architectures(*architectures: Architecture) -> Mapping[str, Architecture]:
    return {architecture.name: architecture for architecture in architectures}


ARCHITECTURES = _architectures(
    Architecture(
        name="gemma2", norms=4, tied=True, caps_attention=True, masks_by_layer_type=True, windowed=True
    ),
    Architecture(name="mistral", windowed=True),
    Architecture(name="llama"),
)  # fmt: skip
