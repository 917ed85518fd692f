"""Check every artifact of the results store against its provenance and the configuration.

    python workflow/scripts/verify.py                                    the paper's grid, in this folder
    python workflow/scripts/verify.py --configfile config/demo.yaml      another one; as for Snakemake
    python workflow/scripts/verify.py --deep                             every row too, and the bytes of weights

Lists what is damaged, stale, missing (of the grid) or orphaned, each with the reason and the command that mends it.
Ends with status 1 where something is damaged or stale, else 0.
"""

import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from calgrid import cli

CONFIG = Path(__file__).parents[2] / "config/config.yaml"


def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.parser(__doc__)
    parser.add_argument(
        "--configfile", nargs="+", default=[], type=Path, help="merged in order over config/config.yaml"
    )
    parser.add_argument("--directory", type=Path, help="the working directory of the run (default: this one)")
    parser.add_argument("--deep", action="store_true", help="read every row, and hash the weights")
    arguments = parser.parse_args(argv)
    configfiles = [path.resolve() for path in arguments.configfile]
    if arguments.directory:
        os.chdir(arguments.directory)

    from calgrid import config
    from calgrid.verify import verify

    given = ["--configfile", *map(str, arguments.configfile)] if configfiles else []
    directory = ["--directory", str(arguments.directory)] if arguments.directory else []
    snakemake = ["snakemake", *given, *directory, "--cores", "all"]
    checked, findings = verify(config.read([CONFIG, *configfiles]), snakemake, deep=arguments.deep)
    for finding in findings:
        print(f"{finding.kind}: {finding.path}: {finding.reason}\n    {finding.repair}")
    counts = Counter(finding.kind for finding in findings)
    found = ", ".join(f"{counts[kind]} {kind}" for kind in ("damaged", "stale", "missing", "orphaned"))
    print(f"{checked} artifacts checked{'' if arguments.deep else ' (--deep: each row and the weights too)'}: {found}")
    return 1 if counts["damaged"] or counts["stale"] else 0


if __name__ == "__main__":
    cli.run(lambda argv: sys.exit(main(argv)))
