"""Say what a command will cost before it is launched: jobs, GPU hours, disk, wall time, and what would run again.

    snakemake plan                                                       # of the configuration's plan.targets
    python workflow/scripts/plan_grid.py --output plan.html all_figures -- --configfile my.yaml

Prints a table and writes a page; runs nothing and fetches nothing. After `--` stand the arguments of Snakemake that the
planned command will have. Run it in the folder that has, or will have, `results`.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from calgrid import cli
from calgrid.store import files


def main(argv: Sequence[str] | None = None) -> None:
    given = list(sys.argv[1:] if argv is None else argv)
    split = given.index("--") if "--" in given else len(given)
    parser = cli.parser(__doc__)
    parser.add_argument("targets", nargs="+", metavar="TARGET", help="rules or files, as for Snakemake")
    parser.add_argument("--output", required=True, type=Path, help="HTML page to write")
    arguments = parser.parse_args(given[:split])

    from calgrid.plan import estimate
    from calgrid.plan import jobs as plan_jobs
    from calgrid.plan import page as plan_page
    from calgrid.plan import text as plan_text

    options = given[split + 1 :]
    config, jobs = plan_jobs.jobs(options, arguments.targets)
    found = estimate.make(arguments.targets, config, jobs)
    files.write_text(arguments.output, plan_page.page(found, options))
    print(plan_text.terminal(found, str(arguments.output)))


if __name__ == "__main__":
    cli.run(main)
