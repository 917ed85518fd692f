"""Tokenise an SFT set for a model, once for all its trainings, and check what they will be supervised by.

    python workflow/scripts/pack_conversations.py --base results/models/model=tiny-llama/.../base.json \\
        --data results/data/sft/cldr-alpaca.parquet \\
        --output results/packed/model=tiny-llama/cldr-alpaca.parquet --manifest .../cldr-alpaca.json

One row a conversation: its tokens, and which of them are supervised. A training takes them in an order of its own.
"""

import logging
from collections import Counter
from collections.abc import Sequence

import polars as pl

from calgrid import cli
from calgrid.models.reading import load_config, load_tokenizer, weights_of
from calgrid.store import files
from calgrid.store.reading import read_table
from calgrid.store.versions import PACK_VERSION
from calgrid.training import packing
from calgrid.training.chat import fit, use_template
from calgrid.training.settings import Packing

log = logging.getLogger(__name__)

AT_ONCE = 2_000  # conversations, whose Python objects take many times their tokens' memory


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--base", required=True, help="base.json of the model")
    parser.add_argument("--data", required=True, help="prepared SFT data (Parquet)")
    parser.add_argument("--output", required=True, help="Parquet file to write")
    parser.add_argument("--manifest", required=True, help="JSON file to write: counts, and a hash of the tokens")
    cli.add_settings(parser, Packing)
    arguments = parser.parse_args(argv)
    settings = cli.read_settings(arguments, Packing)

    where = weights_of(arguments.base)
    config, tokenizer = load_config(where), load_tokenizer(where)
    use_template(tokenizer, settings.chat_template)
    max_length = min(settings.max_length, config.max_position_embeddings)
    data = read_table(arguments.data, ["id", "split", "messages"])
    left_out = Counter({"too long": 0, "cut at a turn": 0})
    frames = [pl.DataFrame(schema=packing.SCHEMA)]
    for part in data.iter_slices(AT_ONCE):
        rows = []
        fitted = fit(tokenizer, part["messages"].to_list(), max_length, settings.long_conversations)
        for (example, messages_left_out), id_, split in zip(fitted, part["id"], part["split"], strict=True):
            if example is None:
                left_out["too long"] += 1
            else:
                left_out["cut at a turn"] += messages_left_out > 0
                rows.append((id_, split, example.tokens, example.supervised))
        frames.append(pl.DataFrame(rows, schema=packing.SCHEMA, orient="row"))
        log.info("%d of %d conversations", sum(map(len, frames)), len(data))
    packed = pl.concat(frames)
    packing.check(packed, config.vocab_size, max_length, arguments.data)
    counts = {
        split: {
            "conversations": len(part),
            "tokens": len(part.tokens),
            "supervised_tokens": int(part.supervised.sum()),
            "longest": int(part.lengths.max()),
        }
        for split in ("train", "validation")
        for part in [packing.Conversations.of(packed.filter(split=split))]
    }
    log.info("%s; left out: %s", counts, dict(left_out))
    record = {
        "base": files.read_record(arguments.base),
        "data": files.data_origin(arguments.data),
        "settings": settings.model_dump(),
        "counts": counts,
        "left_out": dict(left_out),
        "sha256": packing.digest(packed),
    }
    files.write_parquet(packed, arguments.output, files.provenance(**record, pack_version=PACK_VERSION))
    files.write_json(arguments.manifest, record)


if __name__ == "__main__":
    cli.run(main)
