"""What is read of a model without its weights: where they lie, its configuration, its tokenizer.

A record (`base.json`, `train.json`) says where weights lie: {"weights": {"path": ...}} or
{"weights": {"hub": ..., "revision": ...}}.
Apart from `models.loading`, since importing the model classes of transformers takes seconds.
"""

from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoTokenizer, PreTrainedTokenizerBase

from calgrid.errors import UserError
from calgrid.models.architectures import ARCHITECTURES
from calgrid.store import files


def weights_of(record: str | Path) -> dict[str, Any]:
    """Where the weights of a cell lie, as keyword arguments of transformers' `from_pretrained`."""
    weights = files.read_record(record, "weights")["weights"]
    if not isinstance(weights, dict) or not (weights.get("path") or weights.get("hub")):
        raise UserError(f"{record}: weights is {weights!r}, expected a path or a hub; delete it and run again")
    if path := weights.get("path"):
        if not Path(path, "config.json").is_file():
            raise UserError(
                f"{record}: weights.path {path!r} holds no config.json; delete {record}, and the next run makes "
                "the weights again"
            )
        return {"pretrained_model_name_or_path": path, "local_files_only": True}
    return {"pretrained_model_name_or_path": weights["hub"], "revision": weights.get("revision")}


def load_config(where: dict[str, Any]) -> Any:
    """The model's configuration. Raises UserError if it can't be had or its architecture is not supported."""
    name = where["pretrained_model_name_or_path"]
    try:
        config = AutoConfig.from_pretrained(**where, trust_remote_code=False)
    except Exception as error:  # of any kind: it is read, and checked, by code of each architecture
        raise UserError(
            f"model {name!r}: its configuration can't be loaded ({first_line(error)}); check the name and the "
            "revision, and for a gated repository accept its licence on the Hub and run `hf auth login`"
        ) from error
    if config.model_type not in ARCHITECTURES:
        raise UserError(
            f"model {name!r}: model_type {config.model_type!r} is not one of {', '.join(sorted(ARCHITECTURES))}"
        )
    return config


def load_tokenizer(where: dict[str, Any]) -> PreTrainedTokenizerBase:
    """The model's tokenizer. Raises UserError if it can't be read."""
    try:
        return AutoTokenizer.from_pretrained(**where, trust_remote_code=False)
    except Exception as error:  # the library in Rust raises nothing more particular
        name = where["pretrained_model_name_or_path"]
        raise UserError(
            f"model {name!r}: its tokenizer can't be loaded ({first_line(error)}); mend its tokenizer files, or get "
            "the model again"
        ) from error


def first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
