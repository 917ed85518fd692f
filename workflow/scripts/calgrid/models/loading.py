"""Models as training and scoring use them: one way in, the body and the LM head apart.

The logits tensor [batch, length, vocabulary] is the largest thing in either task and almost all of it is not
needed. So the transformer body runs once, and the LM head is applied to chosen positions only.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch.nn.attention.flex_attention import create_block_mask
from transformers import (
    AutoModelForCausalLM,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from calgrid.errors import UserError
from calgrid.models.architectures import ARCHITECTURES
from calgrid.models.reading import first_line, load_config
from calgrid.store import files

log = logging.getLogger(__name__)


HEAD_VALUES = {"cpu": 2**24, "cuda": 2**28}  # logits held at once, in float32: 64 MiB, 1 GiB


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def on_device(where: torch.device, tensor: torch.Tensor) -> torch.Tensor:
    """A CPU tensor on a device, without waiting for what a GPU is doing."""
    return tensor.pin_memory().to(where, non_blocking=True) if where.type == "cuda" else tensor


def load_model(
    where: dict[str, Any], dtype: torch.dtype | str, attention_dropout: float = 0.0, attention: str = "auto"
) -> PreTrainedModel:
    """The model on the CPU, in evaluation mode.

    Args:
        where: see `weights_of`.
        dtype: of the weights; "auto" is the one they are stored in.
        attention_dropout: of the attention weights, the only dropout that these architectures have.
        attention: eager, sdpa, flex_attention, a name registered with transformers, or auto. Gemma2 caps its attention
            scores, which PyTorch's fused attention (sdpa) can't: auto is eager there, else sdpa.

    Raises:
        UserError: sdpa for Gemma2; weights that are missing, pickled, damaged, or not those of the configuration.
    """
    config = load_config(where)
    config.attention_dropout = attention_dropout
    config.use_cache = False
    name = where["pretrained_model_name_or_path"]
    capped = ARCHITECTURES[config.model_type].caps_attention
    if capped and attention == "sdpa":
        raise UserError(
            f"model {name!r}: {config.model_type} caps its attention scores, which sdpa can't; "
            "use eager or flex_attention"
        )
    if attention == "auto":
        attention = "eager" if capped else "sdpa"
    log.info("loading %s (%s, %s attention, %s)", name, config.model_type, attention, dtype)
    try:
        model, found = AutoModelForCausalLM.from_pretrained(
            **where,
            config=config,
            dtype=dtype,
            attn_implementation=attention,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise UserError(
            f"model {name!r}: its weights can't be loaded ({first_line(error)}); it takes safetensors that are "
            "whole: get or make the model again"
        ) from error
    # transformers draws at random what it does not find, and says so in a warning.
    if wrong := sorted({str(key) for kind in ("missing_keys", "mismatched_keys") for key in found[kind]}):
        raise UserError(
            f"model {name!r}: its weights lack what its config.json asks for ({', '.join(wrong[:3])}"
            f"{', ...' if len(wrong) > 3 else ''}); get or make the model again"
        )
    return model.eval()


def save_model(
    folder: str | Path,
    weights: Mapping[str, torch.Tensor],
    config: Any,
    generation: GenerationConfig,
    tokenizer: PreTrainedTokenizerBase,
    record: Mapping[str, Any],
) -> None:
    """Write an ordinary Hugging Face folder: safetensors in bfloat16, tokenizer, template, and `record` as provenance.

    Args:
        folder: to write.
        weights: in full, by name.
        config: of the model.
        generation: its generation configuration.
        tokenizer: with its chat template.
        record: what made the model.

    Raises:
        UserError: it can't be written.
    """
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.load_state_dict({name: values.to(torch.bfloat16) for name, values in weights.items()}, assign=True)
    model.tie_weights()
    model.generation_config = generation
    try:
        with files.atomic(folder) as path:
            model.save_pretrained(path)
            tokenizer.save_pretrained(path)
            files.write_json(path / "provenance.json", record)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{folder}: the tuned model can't be written ({error}); free space and run again") from None


def hidden_states(model: PreTrainedModel, **inputs: Any) -> torch.Tensor:
    """The body's last hidden states (B, T, D)."""
    return model.model(**inputs, use_cache=False).last_hidden_state


def product(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """A matrix product computed in float32 (float64 for float64 input), whatever the dtype of its parts.

    Products of bfloat16 numbers are exact in float32, so a GPU needs no float32 copy of them.
    """
    if left.is_cuda and left.dtype == right.dtype == torch.bfloat16:
        return torch.mm(left, right, out_dtype=torch.float32)
    accurate = torch.promote_types(left.dtype, torch.float32)
    return left.to(accurate) @ right.to(accurate)


def logits_of(hidden: torch.Tensor, head: torch.Tensor, cap: float | None) -> torch.Tensor:
    """Logits (N, K) of hidden states (N, D) by an LM head (K, D), soft-cap included, in float32.

    Rounded to bfloat16, logits of about 20 lie 0.125 apart and options tie.
    """
    values = product(hidden, head.T)
    return values.div_(cap).tanh_().mul_(cap) if cap else values


def soft_cap(model: PreTrainedModel) -> float | None:
    """The model's cap on its logits, if it has one."""
    return getattr(model.config, "final_logit_softcapping", None)


def logits(model: PreTrainedModel, hidden: torch.Tensor) -> torch.Tensor:
    """`logits_of` by the model's own LM head."""
    return logits_of(hidden, model.lm_head.weight, soft_cap(model))


def attention_masks(
    model: PreTrainedModel, allowed: torch.Tensor, positions: torch.Tensor, key_positions: torch.Tensor
) -> Any:
    """Masks for a layout of one's own, in the form that the architecture and its attention take.

    A mask given by hand switches the model's own sliding window off, so the window is put in here, by position
    and not by place in the row.

    Args:
        model: decides the form, the dtype, the window, and which layers have one.
        allowed: bool (B, T, S); whether the key at the second index may be attended from the first.
        positions: int (B, T); the position of each token in its own sequence.
        key_positions: int (B, S); the same of the keys: of what is cached, and then of the tokens themselves.

    Returns:
        An additive float mask (B, 1, T, S), for flex attention a block mask; for Gemma2 one a layer type, by its name.
    """
    config = model.config

    def mask(keep: torch.Tensor) -> Any:
        if config._attn_implementation == "flex_attention":
            rows, queries, keys = keep.shape
            return create_block_mask(lambda b, _, q, k: keep[b, q, k], rows, None, queries, keys, keep.device)
        # Boolean masks are misread by eager attention, and minus infinity gives NaN in rows that are all masked.
        additive = torch.zeros(keep.shape, dtype=model.dtype, device=keep.device)
        return additive.masked_fill_(~keep, torch.finfo(model.dtype).min).unsqueeze(1)

    window = getattr(config, "sliding_window", None)
    if window is None:
        return mask(allowed)
    near = positions.unsqueeze(2) - key_positions.unsqueeze(1) < window
    if ARCHITECTURES[config.model_type].masks_by_layer_type:
        return {"full_attention": mask(allowed), "sliding_attention": mask(allowed & near)}
    return mask(allowed & near)
