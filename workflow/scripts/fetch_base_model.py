"""Fetch a base model, check it, and record where it lies.

    python workflow/scripts/fetch_base_model.py --hub google/gemma-2-2b --revision c5ebcd4 --output base.json
    python workflow/scripts/fetch_base_model.py --path results/pretrained/tiny-llama --output base.json

Runs where there is network, before any GPU hour is spent: a model of the Hub is brought into the local cache
($HF_HOME), from which the training and scoring jobs load it by its commit.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from calgrid import cli
from calgrid.errors import UserError
from calgrid.models import weights
from calgrid.models.reading import load_config, load_tokenizer
from calgrid.store import files

log = logging.getLogger(__name__)

WEIGHTS = ["*.safetensors", "*.json", "tokenizer*", "*.jinja"]  # no pickled weights


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    origin = parser.add_mutually_exclusive_group(required=True)
    origin.add_argument("--hub", help="Hub id")
    origin.add_argument("--path", help="local folder of the same layout")
    parser.add_argument("--revision", help="commit, tag or branch of the Hub repository")
    parser.add_argument("--output", required=True, help="base.json to write")
    arguments = parser.parse_args(argv)

    if arguments.path:
        place = {"path": arguments.path}
        where = {"pretrained_model_name_or_path": arguments.path, "local_files_only": True}
        folder = Path(arguments.path)
    else:
        where = {"pretrained_model_name_or_path": arguments.hub, "revision": arguments.revision}
    config = load_config(where)
    if arguments.hub:
        folder = fetch(arguments.hub, arguments.revision)
        place = {"hub": arguments.hub, "revision": folder.name}  # the cache's folders are named by commit
    tokenizer = load_tokenizer(where)
    if not any(folder.glob("*.safetensors")):
        raise UserError(f"{folder}: no *.safetensors file; convert the model, pickled weights are not read")
    try:
        weights.tensors(folder)
    except UserError as error:
        raise UserError(f"{error}; get or make the model again") from None
    if len(tokenizer) > config.vocab_size:
        raise UserError(
            f"{folder}: the tokenizer has {len(tokenizer)} tokens, but config.json says vocab_size "
            f"{config.vocab_size}; some tokens have no embedding: take the tokenizer that belongs to the model"
        )
    record: dict[str, Any] = {
        "weights": place,
        "model_type": config.model_type,
        "vocab_size": config.vocab_size,
        "max_position_embeddings": config.max_position_embeddings,
        "sliding_window": getattr(config, "sliding_window", None),
        "tokenizer": type(tokenizer).__name__,
        "bos_token": tokenizer.bos_token,
        "eos_token": tokenizer.eos_token,
        "content_hash": weights.folder_hash(folder) if arguments.path else None,
    }
    log.info("%s", record)
    files.write_json(arguments.output, record)


def fetch(hub: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download

    log.info("fetching %s at %s", hub, revision or "its default branch")
    try:
        return Path(snapshot_download(hub, revision=revision, allow_patterns=WEIGHTS))
    except Exception as error:  # of the Hub's library, its HTTP client, or the disk
        raise UserError(
            f"model {hub!r}: can't be fetched ({error}); check the network, the revision and the disk, and run again"
        ) from error


if __name__ == "__main__":
    cli.run(main)
