"""Prepared questions."""

import polars as pl


def frame(*questions: tuple[str, list[str], int], subject: str | None = None, category: str | None = "facts"):
    rows = [
        {"question_id": f"q{i}", "question": text, "options": options, "answer": answer}
        for i, (text, options, answer) in enumerate(questions)
    ]
    texts = {"subject": subject, "category": category, "cultural_sensitivity": None}
    return pl.DataFrame(rows, schema_overrides={"answer": pl.UInt8}).with_columns(
        pl.lit(value, dtype=pl.String).alias(name) for name, value in texts.items()
    )


WHY = ("Why?", ["because", "no reason"], 1)
