"""Prompts that say nothing, prepared like a benchmark, for contextual calibration."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl


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
