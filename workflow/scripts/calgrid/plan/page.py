"""The plan as an HTML page."""

from collections.abc import Sequence

from calgrid.models.shape import duration
from calgrid.pages import frame
from calgrid.plan import text
from calgrid.plan.estimate import Plan

PAGE = "page.html"


def page(plan: Plan, arguments: Sequence[str] = ()) -> str:
    """The page of a plan (`estimate.make`) of a command with these arguments of Snakemake, beside its targets."""
    left = plan.total.done < plan.total.jobs
    return frame.page(
        __file__,
        PAGE,
        text.title(plan),
        command=list(text.command(plan, arguments)),
        summary=list(text.summary(plan)),
        heads=text.HEADS,
        rows=text.rows(plan),
        n_labels=text.N_LABELS,
        wall=[(str(n), duration(seconds)) for n, seconds in plan.wall.items()] if left else [],
        again=[*map(text.cause, plan.causes), *([text.cheap_again(plan)] if plan.cheap_again else [])],
        again_title=text.again_title(plan).rstrip(":."),
        error_heads=text.ERROR_HEADS,
        errors=list(map(text.error_cells, plan.errors)),
        unreadable=plan.unreadable,
        unknown=plan.unknown,
        assumptions=list(text.assumptions(plan)),
        sizes=[f"{name}: {source}" for name, source in plan.sources.items()],
    )
