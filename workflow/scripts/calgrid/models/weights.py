"""The files of a model, checked without loading it: headers and sizes of safetensors, and hashes of what was written.

A safetensors file is 8 bytes (the length of its header), the header (JSON: dtype, shape and place of each tensor), and
the tensors end to end (https://github.com/huggingface/safetensors). Its library notices a file that is too short, and
no changed byte; hence the hashes.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from calgrid.errors import UserError
from calgrid.models.architectures import ARCHITECTURES
from calgrid.store import files, seals

HEADER_LIMIT = 100_000_000  # bytes, the format's own
BITS = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("F8_E4M3", "F8_E5M2", "F8_E8M0", "I8", "U8", "BOOL"), 8),
}
UNRECORDED = ("provenance.json",)  # of a tuned model: written with the record, sealed by itself


def header(path: str | Path) -> dict[str, list[int]]:
    """Name and shape of each tensor of a safetensors file. Raises UserError where header and size are not whole."""
    try:
        with Path(path).open("rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > min(HEADER_LIMIT, size - 8):
                raise ValueError(f"its header is cut off: it has {size} bytes")
            tensors = json.loads(file.read(length))
        if not isinstance(tensors, dict):
            raise ValueError("its header is no record")
        tensors.pop("__metadata__", None)
        end, shapes = 0, {}
        for name, tensor in sorted(tensors.items(), key=lambda item: item[1]["data_offsets"]):
            first, last = tensor["data_offsets"]
            shape = list(map(int, tensor["shape"]))
            if (
                first != end
                or 8 * (last - first) != math.prod(shape) * BITS[tensor["dtype"]]
                or min(shape, default=0) < 0
            ):
                raise ValueError(f"the place of tensor {name!r} does not fit its shape")
            end, shapes[name] = last, shape
        if size != 8 + length + end:
            raise ValueError(f"it has {size} bytes instead of {8 + length + end}")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else error
        raise UserError(f"{path}: not whole safetensors ({reason})") from None
    return shapes


def tensors(folder: str | Path) -> dict[str, list[int]]:
    """Name and shape of each tensor of a model's folder. Raises UserError where there is none, or a file is damaged."""
    found: dict[str, list[int]] = {}
    for path in sorted(Path(folder).glob("*.safetensors")):
        found |= header(path)
    if not found:
        raise UserError(f"{folder}: no *.safetensors file; pickled weights are not read")
    return found


def check_tensors(folder: str | Path) -> None:
    """Raise UserError where a folder's safetensors lack a tensor that its config.json asks for."""
    config, found = files.read_record(Path(folder, "config.json"), "model_type"), tensors(folder)
    architecture = ARCHITECTURES[config["model_type"]]
    vocabulary, width, layers = (config.get(name) for name in ("vocab_size", "hidden_size", "num_hidden_layers"))
    tied = config.get("tie_word_embeddings", architecture.tied)
    whole = ["model.embed_tokens.weight", "model.norm.weight", *([] if tied else ["lm_head.weight"])]
    needed = [
        *whole,
        *(f"model.layers.{n}.{part}.weight" for n in range(layers or 1) for part in architecture.matrices),
    ]
    if missing := [name for name in needed if name not in found]:
        raise UserError(f"{folder}: damaged: no tensor {missing[0]!r} in its safetensors")
    shape = found["model.embed_tokens.weight"]
    if vocabulary is not None and width is not None and shape != [vocabulary, width]:
        raise UserError(
            f"{folder}: damaged: embeddings of shape {shape}, but its config.json says {vocabulary}, {width}"
        )


def sums(folder: str | Path) -> dict[str, dict[str, Any]]:
    """Size and SHA-256 of each file of a tuned model's folder, for its record."""
    names = sorted(path.name for path in Path(folder).iterdir() if path.is_file() and not path.name.startswith("."))
    return seals.sums_of(Path(folder, name) for name in names if name not in UNRECORDED)


def folder_hash(folder: str | Path) -> str:
    """A hash of what shapes a base model in a folder: weights, configuration, tokenizer."""
    folder = Path(folder)
    shards = sorted(folder.glob("*.safetensors"))
    other = sorted(path for pattern in ("config.json", "*token*", "*.jinja") for path in folder.glob(pattern))
    return files.content_hash(*shards, *other)


def check(record: Mapping[str, Any], where: str | Path, *, bytes_too: bool = True) -> None:
    """Refuse weights in a folder that are not those that their record describes.

    Args:
        record: base.json or train.json. Weights of the Hub lie in a cache that is not the store's, and pass.
        where: the record's path, for messages.
        bytes_too: hash them; otherwise sizes and headers are compared alone.

    Raises:
        UserError: names file, reason and remedy.
    """
    folder = record["weights"].get("path")
    if folder is None:
        return
    remedy = (
        f"delete {where}, and the next run makes the weights again"
        if "base" in record
        else (f"make the model again, or delete {where} if it was changed on purpose")
    )
    try:
        seals.check_sums(folder, record.get("files", {}), bytes_too=bytes_too)
        check_tensors(folder)
        if bytes_too and (known := record.get("content_hash")) and folder_hash(folder) != known:
            raise UserError(f"{folder}: its files are not those that {where} was made from")
    except (OSError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{folder}: can't be checked against {where} ({error}); {remedy}") from None
    except UserError as error:
        raise type(error)(f"{error}; {remedy}") from None
