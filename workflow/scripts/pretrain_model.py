"""Pretrain a tiny model from scratch and save it as a Hugging Face folder.

    python workflow/scripts/pretrain_model.py --corpus results/demo/corpus.parquet \\
        --architecture llama --output results/pretrained/tiny-llama

A byte-level BPE tokenizer is trained on the corpus, unless --tokenizer gives a real one.
"""

import logging
from collections.abc import Sequence

from calgrid import cli
from calgrid.training.pretrain import pretrain
from calgrid.training.settings import Pretraining

log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> None:
    flags = cli.parser(__doc__)
    cli.add_settings(flags, Pretraining)
    # In the configuration the corpus is names, here it is files: this flag takes the place of the settings' own.
    paths = flags.add_argument_group("files", conflict_handler="resolve")
    paths.add_argument(
        "--corpus", dest="files", required=True, nargs="+", help="Parquet files with a column text or messages"
    )
    paths.add_argument("--output", required=True, help="folder to write")
    arguments = flags.parse_args(argv)
    record = pretrain(arguments.files, arguments.output, cli.read_settings(arguments, Pretraining))
    log.info("wrote %s: %d tokens in %.0f s", arguments.output, record["tokens"], record["seconds"])


if __name__ == "__main__":
    cli.run(main)
