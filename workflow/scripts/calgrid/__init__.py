"""CalGrid: the library behind the workflow's command-line programs.

One module a concern; the README says in which order data pass through them. `calgrid.open_results("results")` opens a
finished grid in a notebook. Importing this package imports nothing else, so that parsing the Snakefile stays light.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from calgrid.store.results import Results


def open_results(folder: "str | Path" = "results") -> "Results":
    """The results of a grid as lazy polars frames: scores, metrics, selection and so on (`store.results`).

    Args:
        folder: the `results` folder of a run.

    Raises UserError where there is no such folder; each frame, where its stage has not run.
    """
    from calgrid.store.results import Results

    return Results.open(folder)
