"""The plan as an HTML page."""

from collections.abc import Iterable, Sequence
from html import escape

from calgrid.models.shape import duration
from calgrid.pages import frame
from calgrid.plan import text as plan_text
from calgrid.plan.estimate import Plan
from calgrid.plan.text import ERROR_HEADS, HEADS, N_LABELS

STYLE = """
table { border-top: 2px solid; border-bottom: 2px solid }
th, td { padding: .15em var(--gap); font-weight: normal; white-space: nowrap }
thead th { border-bottom: 1px solid; white-space: normal; vertical-align: bottom }
th.label, td.label { text-align: left }
tr.total td { border-top: 1px solid; font-weight: bold }
li { margin: .3em 0; max-width: 70em; overflow-wrap: anywhere }
"""


def page(plan: Plan, arguments: Sequence[str] = ()) -> str:
    """The page of a plan (`plan.make`) of a command with these arguments of Snakemake, beside its targets."""
    again = [*map(plan_text.cause, plan.causes), *([plan_text.cheap_again(plan)] if plan.cheap_again else [])]
    gpus = (
        [(str(n), duration(seconds)) for n, seconds in plan.wall.items()] if plan.total.done < plan.total.jobs else []
    )
    parts = [
        _list(plan_text.command(plan, arguments)),
        *(f"<p>{escape(sentence)}</p>" for sentence in plan_text.summary(plan)),
        _table(HEADS, plan_text.rows(plan), N_LABELS, total=True),
        *(["<h2>Wall time</h2>", _table(("GPUs", "wall time"), gpus, 0)] if gpus else []),
        f"<h2>{escape(plan_text.again_title(plan).rstrip(':.'))}</h2>" if again else "<p>Nothing would run again.</p>",
        *([_list(again)] if again else []),
    ]
    if plan.errors:
        parts += [
            "<h2>Predicted and measured</h2>",
            "<p>Seconds of the jobs that have run, as predicted with what is known now, and as their files in "
            "results/benchmarks say.</p>",
            _table(ERROR_HEADS, map(plan_text.error_cells, plan.errors), N_LABELS),
        ]
    if plan.unreadable:
        parts += ["<h2>Benchmark files that can't be read</h2>", _list(plan.unreadable)]
    if plan.unknown:
        parts += ["<h2>Not known</h2>", _list(plan.unknown)]
    sizes = [f"{name}: {source}" for name, source in plan.sources.items()]
    parts += ["<h2>Assumptions</h2>", _list(plan_text.assumptions(plan)), "<h2>Sizes</h2>", _list(sizes)]
    return frame.page(plan_text.title(plan), STYLE, "\n".join(parts))


def _list(lines: Iterable[str]) -> str:
    return "<ul>\n" + "\n".join(f"<li>{escape(line)}</li>" for line in lines) + "\n</ul>"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], n_labels: int, total: bool = False) -> str:
    """A table whose first `n_labels` columns are text, the others numbers; `total`: the last row is one."""

    def line(tag: str, attributes: str, texts: Sequence[str]) -> str:
        return "".join(
            f"<{tag}{attributes}{' class=label' * (place < n_labels)}>{escape(text)}</{tag}>"
            for place, text in enumerate(texts)
        )

    rows = list(rows)
    body = "\n".join(
        f"<tr{' class=total' * (total and place == len(rows) - 1)}>{line('td', '', row)}</tr>"
        for place, row in enumerate(rows)
    )
    head = line("th", ' scope="col"', heads)
    return f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>'
