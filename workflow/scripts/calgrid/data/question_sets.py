"""Multiple-choice benchmarks: Global-MMLU, MMLU-ProX and MMLU layouts to one canonical form.

Texts are taken as they are, without trimming. Two options with the same text are kept: the prediction is then a
matter of the tie rule, and auditing a benchmark is another concern than reading it.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from string import ascii_uppercase
from typing import TYPE_CHECKING, Any

from calgrid.data.benchmark_layouts import BENCHMARK_LAYOUTS
from calgrid.data.sources import Rejects, Source, check_layout, lowest
from calgrid.errors import Unusable

if TYPE_CHECKING:
    import polars as pl
    from datasets import Dataset


def canonical(rows: Iterable[tuple[str, Mapping[str, Any]]], layout: str, rejects: Rejects) -> Iterator[dict[str, Any]]:
    """Yield the usable ones of `rows`, given as (question id, row); count the others in `rejects`.

    Of several rows with one id the first counts, even where their content is the same.
    """
    seen: set[str] = set()
    for question_id, row in rows:
        try:
            if not question_id:
                raise Unusable("no question id")
            if question_id in seen:
                raise Unusable("duplicate question id")
            seen.add(question_id)
            yield {"question_id": question_id, **question(row, layout)}
        except Unusable as reason:
            rejects.add(str(reason), question_id)


def question(row: Mapping[str, Any], layout: str) -> dict[str, Any]:
    """The question in one row, without its id: subject, category, cultural_sensitivity, question, options, answer.

    Raises Unusable with the reason.
    """
    record = BENCHMARK_LAYOUTS[layout]
    text, options, answer = record.read(row)
    if not all(isinstance(part, str | None) for part in (text, *options)):
        raise Unusable("a question or option that is no text")
    if not (text or "").strip():
        raise Unusable("empty question")
    if len(options) < 2:
        raise Unusable("fewer than 2 options")
    if len(options) > len(ascii_uppercase):
        raise Unusable("more options than letters")
    if not all((option or "").strip() for option in options):
        raise Unusable("empty option")
    if not isinstance(answer, int) or isinstance(answer, bool) or not 0 <= answer < len(options):
        raise Unusable("answer is none of the options")
    sensitivity = row.get("cultural_sensitivity_label")
    topics = {
        "subject": row.get(record.subject) or None,
        "category": row.get(record.category) or None,
        "cultural_sensitivity": None if sensitivity == "-" else sensitivity or None,
    }
    if not all(isinstance(topic, str | None) for topic in topics.values()):
        raise Unusable("a subject, category or label that is no text")
    return {
        **topics,
        "question": text,
        "options": options,
        "answer": answer,
    }


def question_ids(dataset: "Dataset", layout: str, split: str) -> list[str]:
    """The id of each row, "" where there is none.

    MMLU has no ids. They become subject/split/row within the subject, which is how Global-MMLU names the same
    questions (all 285 of the dev split agree).
    """
    record = BENCHMARK_LAYOUTS[layout]
    if record.id is not None:
        return ["" if value is None else str(value) for value in dataset[record.id]]
    subjects = dataset[record.subject] if record.subject in dataset.column_names else [None] * len(dataset)
    rows_before: Counter[str] = Counter()
    ids = []
    for subject in subjects:
        name = subject or "none"
        ids.append(f"{name}/{split}/{rows_before[name]}")
        rows_before[name] += 1
    return ids


def prepare(
    source: Source, dataset: "Dataset", layout: str, max_questions: int | None, max_rejected_share: float
) -> tuple["pl.DataFrame", Rejects]:
    """The canonical rows of `dataset`, one a question in the source's order, and what was rejected.

    Columns: question_id, subject, category, cultural_sensitivity (strings or null), question, options (list of
    strings), answer (index of the right option, from 0). `max_questions` takes that many by a hash of their ids,
    the same ones in each language, before rows are rejected.

    Raises UserError for another layout or for too many rejected rows.
    """
    import polars as pl

    check_layout(source, dataset, layout, BENCHMARK_LAYOUTS)
    ids = question_ids(dataset, layout, source.split)
    if max_questions is not None:
        chosen = lowest(ids, max_questions)
        dataset, ids = dataset.select(chosen), [ids[i] for i in chosen]

    rejects = Rejects()
    questions = list(canonical(zip(ids, dataset, strict=True), layout, rejects))
    rejects.check(source, len(ids), max_rejected_share)
    texts = ("question_id", "subject", "category", "cultural_sensitivity", "question")
    schema = pl.Schema([*((name, pl.String) for name in texts), ("options", pl.List(pl.String)), ("answer", pl.UInt8)])
    return pl.DataFrame(questions, schema=schema), rejects
