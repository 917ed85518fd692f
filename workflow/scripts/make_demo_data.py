"""Write the embedded demonstration data: corpus, instruction sets and benchmarks of CLDR facts.

    python workflow/scripts/make_demo_data.py --output results/demo/data

The folder appears whole: corpus.parquet (language, text), sft/cldr-{alpaca,sharegpt,messages}/ and
benchmarks/cldr{4,10}/ in the layouts of the Hub. Needs no network.
"""

import logging
from collections.abc import Sequence

from calgrid import cli
from calgrid.data.demo import DemoSettings, write_demo_data

log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> None:
    flags = cli.parser(__doc__)
    flags.add_argument("--output", required=True, help="folder to write")
    cli.add_settings(flags, DemoSettings)
    arguments = flags.parse_args(argv)
    write_demo_data(arguments.output, cli.read_settings(arguments, DemoSettings))
    log.info("wrote %s", arguments.output)


if __name__ == "__main__":
    cli.run(main)
