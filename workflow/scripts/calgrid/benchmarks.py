"""Multiple-choice benchmarks: Global-MMLU, MMLU-ProX and MMLU layouts to one canonical form.

Texts are taken as they are, without trimming. Two options with the same text are kept: the prediction is then a
matter of the tie rule, and auditing a benchmark is another concern than reading it.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from string import ascii_uppercase
from typing import TYPE_CHECKING, Any

from calgrid.data_sources import Rejects, Source, Unusable, check_layout, lowest

if TYPE_CHECKING:
    import polars as pl
    from datasets import Dataset

# The columns that each layout needs; subject, category and cultural sensitivity are null where the source has none.
LAYOUTS = {
    "global_mmlu": ("sample_id", "question", "option_a", "option_b", "option_c", "option_d", "answer"),
    "mmlu_prox": ("question_id", "question", "option_0", "option_1", "answer_index"),
    "mmlu": ("question", "choices", "answer"),
}


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
    options, answer = {"global_mmlu": _global_mmlu, "mmlu_prox": _mmlu_prox, "mmlu": _mmlu}[layout](row)
    if not all(isinstance(text, str | None) for text in (row["question"], *options)):
        raise Unusable("a question or option that is no text")
    if not (row["question"] or "").strip():
        raise Unusable("empty question")
    if len(options) < 2:
        raise Unusable("fewer than 2 options")
    if len(options) > len(ascii_uppercase):
        raise Unusable("more options than letters")
    if not all((option or "").strip() for option in options):
        raise Unusable("empty option")
    if not isinstance(answer, int) or isinstance(answer, bool) or not 0 <= answer < len(options):
        raise Unusable("answer is none of the options")
    category = row.get("subject_category") if layout == "global_mmlu" else row.get("category")
    sensitivity = row.get("cultural_sensitivity_label")
    topics = {
        "subject": row.get("subject") or None,
        "category": category or None,
        "cultural_sensitivity": None if sensitivity == "-" else sensitivity or None,
    }
    if not all(isinstance(topic, str | None) for topic in topics.values()):
        raise Unusable("a subject, category or label that is no text")
    return {
        **topics,
        "question": row["question"],
        "options": options,
        "answer": answer,
    }


def _global_mmlu(row: Mapping[str, Any]) -> tuple[list[Any], Any]:
    return [row[f"option_{letter}"] for letter in "abcd"], _letter_index(row["answer"])


def _mmlu_prox(row: Mapping[str, Any]) -> tuple[list[Any], Any]:
    """The options up to the first null; `answer_index` holds, and `answer` must not contradict it."""
    numbers = sorted(int(name.removeprefix("option_")) for name in row if re.fullmatch(r"option_\d+", name))
    options = [row[f"option_{number}"] for number in numbers]
    while options and options[-1] is None:
        options.pop()
    if None in options:
        raise Unusable("gap in the options")
    answer, letter = row["answer_index"], row.get("answer")
    if letter is not None and _letter_index(letter) != answer:
        raise Unusable("answer and answer_index disagree")
    return options, answer


def _mmlu(row: Mapping[str, Any]) -> tuple[list[Any], Any]:
    if not isinstance(row["choices"], list | None):
        raise Unusable("choices that are no list")
    return row["choices"] or [], row["answer"]


def _letter_index(letter: Any) -> int | None:
    """A is 0; None for anything else than one capital letter."""
    return ascii_uppercase.index(letter) if isinstance(letter, str) and re.fullmatch("[A-Z]", letter) else None


def question_ids(dataset: "Dataset", layout: str, split: str) -> list[str]:
    """The id of each row, "" where there is none.

    MMLU has no ids. They become subject/split/row within the subject, which is how Global-MMLU names the same
    questions (all 285 of the dev split agree).
    """
    if layout != "mmlu":
        column = {"global_mmlu": "sample_id", "mmlu_prox": "question_id"}[layout]
        return ["" if value is None else str(value) for value in dataset[column]]
    subjects = dataset["subject"] if "subject" in dataset.column_names else [None] * len(dataset)
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

    check_layout(source, dataset, layout, LAYOUTS)
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


def content_free(questions: "pl.DataFrame", texts: Sequence[str], *, by_topic: bool = False) -> "pl.DataFrame":
    """Prompts that say nothing, as rows like those of `prepare`: each text as the question and as every option.

    One for each text and number of options that occurs; `by_topic`: and for each subject and category, which are null
    otherwise. The answer is 0 and means nothing.
    """
    import polars as pl

    topics = [pl.col(name) if by_topic else pl.lit(None, pl.String).alias(name) for name in ("subject", "category")]
    kinds = questions.select(*topics, n_options=pl.col("options").list.len()).unique().sort(pl.all())
    rows = [
        {
            "question_id": ", ".join([text, f"{n_options} options", *filter(None, (subject, category))]),
            "subject": subject,
            "category": category,
            "question": text,
            "options": [text] * n_options,
            "answer": 0,
        }
        for subject, category, n_options in kinds.iter_rows()
        for text in texts
    ]
    return pl.DataFrame(rows, schema=questions.schema)
