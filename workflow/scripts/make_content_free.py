"""Make a benchmark of prompts that say nothing: each text as the question and as every option.

    python workflow/scripts/make_content_free.py --questions results/data/benchmarks/cldr4/yo.parquet --text=N/A \\
        --output results/data/benchmarks/cldr4+content_free/yo.parquet \\
        --manifest results/data/benchmarks/cldr4+content_free/yo.json

There is a prompt for each text and each number of options that the questions have; with --by-topic, for each of their
subjects and categories too, since few-shot examples go by them. The answer recorded, option 0, means nothing.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

from calgrid import cli
from calgrid.store import files
from calgrid.store.versions import CONTENT_FREE_VERSION

log = logging.getLogger("content_free")


def main(argv: Sequence[str] | None = None) -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--questions", required=True, type=Path, help="a prepared language of a benchmark")
    parser.add_argument("--text", required=True, action="append", help="a text that says nothing; may be repeated")
    parser.add_argument("--by-topic", action="store_true", help="prompts for each subject and category")
    parser.add_argument("--output", required=True, type=Path, help="Parquet file to write")
    parser.add_argument("--manifest", required=True, type=Path, help="JSON file to write: what is in it, and a hash")
    arguments = parser.parse_args(argv)

    from calgrid.data.content_free import content_free
    from calgrid.data.sources import values_hash
    from calgrid.store.reading import read_table

    frame = content_free(read_table(arguments.questions), arguments.text, by_topic=arguments.by_topic)
    origin = files.data_origin(arguments.questions)
    manifest = {
        **{name: origin[name] for name in ("source", "revision")},
        "content_free": arguments.text,
        "rows": len(frame),
        "sha256": values_hash(frame),
    }
    made_by = files.provenance(
        **manifest, source_commit=origin["source_commit"], content_free_version=CONTENT_FREE_VERSION
    )
    files.write_parquet(frame, arguments.output, made_by)
    files.write_json(arguments.manifest, manifest)
    log.info("%s: %d content-free prompts", arguments.output, len(frame))


if __name__ == "__main__":
    cli.run(main)
