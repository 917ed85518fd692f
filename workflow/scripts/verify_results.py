"""Check every artifact of the results store against its provenance and the configuration.

    python workflow/scripts/verify_results.py                                    the paper's grid, in this folder
    python workflow/scripts/verify_results.py --configfile config/demo.yaml      another one; as for Snakemake
    python workflow/scripts/verify_results.py --deep                             every row too, and the bytes of weights

Lists what is damaged, stale, missing (of the grid) or orphaned, each with the reason and the command that mends it.
Ends with status 1 where something is damaged, stale or in part missing, else 0. Of tables, figures and pages it only
sees whether they are cut off.
"""

import os
import shlex
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

    from calgrid.config import check
    from calgrid.verify.findings import grouped, verify

    given = ["--configfile", *map(str, arguments.configfile)] if configfiles else []
    directory = ["--directory", str(arguments.directory)] if arguments.directory else []
    command = ["snakemake", *given, *directory]
    snakemake = [*command, "--cores", "all"]
    checked, findings = verify(check.read([CONFIG, *configfiles]), snakemake, deep=arguments.deep)
    lines = grouped(findings, snakemake)
    if any("snakemake" in finding.repair for finding in lines):
        print("On a cluster put --profile profiles/slurm, or your own, in place of --cores all in the commands below.")
    for finding in lines:
        print(f"{finding.kind}: {finding.path}: {finding.reason}", *filter(None, [finding.repair]), sep="\n    ")
    counts: Counter[str] = Counter()
    for finding in findings:
        counts[finding.kind] += finding.count
    found = ", ".join(f"{counts[kind]} {kind}" for kind in ("damaged", "stale", "missing", "orphaned"))
    print(f"{checked} artifacts checked{'' if arguments.deep else ' (--deep: each row and the weights too)'}: {found}")
    listing = shlex.join([*command, "-n", "--quiet", "rules", "reason", "--", "all"])
    print(f"Not among them: tables, figures and pages. What of these is missing or out of date is listed by: {listing}")
    return 1 if any(finding.is_fault for finding in findings) else 0


if __name__ == "__main__":
    cli.run(lambda argv: sys.exit(main(argv)))
