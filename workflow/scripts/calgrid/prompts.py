"""From questions to what is scored: header, prompt and candidates as token sequences, and what is wrong with them.

    header               answered examples, the same for many questions; empty at zero shots
    prompt               the question, its options, "Answer:"
    texts, letters       the candidates after the prompt: each option's text, each option's letter

Prompt and candidate are tokenised together and cut at the length of the prompt's own tokens, as
lm-evaluation-harness does (https://github.com/EleutherAI/lm-evaluation-harness, `TemplateLM._encode_pair`).
"""

import string
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl
from transformers import PreTrainedTokenizerBase

from calgrid.errors import UserError
from calgrid.sections import Audit, Prompting

LETTERS = string.ascii_uppercase
CHUNK = 256  # questions tokenised in one call
NAMED = 3  # question ids that a message names

# What an audit looks for (the fields of `sections.Audit`), and the remedy. Questions with one of the first three
# can't be scored and are left out.
UNSCORABLE = ("bos", "too_long", "no_token")
FINDINGS = {
    "bos": ("hold the tokenizer's BOS token as text", "remove it from the data"),
    "too_long": ("do not fit the model's context", "shorten scoring.prompt, lower scoring.shots"),
    "no_token": ("have a candidate without a token of its own after the prompt", "change scoring.candidate"),
    "same_text": ("have two options with the same text", "mend the data"),
    "boundary": ("have a token across the boundary of prompt and candidate", "begin scoring.candidate with a space"),
}

TOKENS = pl.Schema(
    {
        "language": pl.String(),
        "question_id": pl.String(),
        "subject": pl.String(),
        "category": pl.String(),
        "cultural_sensitivity": pl.String(),
        "answer": pl.UInt8(),
        "header": pl.List(pl.UInt32),
        "prompt": pl.List(pl.UInt32),
        "texts": pl.List(pl.List(pl.UInt32)),
        "letters": pl.List(pl.List(pl.UInt32)),
        "n_bytes": pl.List(pl.UInt32),
        "boundary_merges": pl.UInt8(),
    }
)


@dataclass(frozen=True)
class Question:
    """A tokenised question; the model reads `header + prompt + candidate`."""

    id: str
    prompt: list[int]  # at least one token
    texts: list[list[int]]  # of each option
    letters: list[list[int]]  # of each option
    header: tuple[int, ...] = ()

    @property
    def candidates(self) -> list[list[int]]:
        return self.texts + self.letters


@dataclass
class Audited:
    """What was found in a language's questions: how many there are, and the ids by finding."""

    language: str
    n_questions: int
    found: dict[str, list[str]] = field(default_factory=lambda: {name: [] for name in FINDINGS})

    def __str__(self) -> str:
        return ", ".join(f"{name} {len(ids)}" for name, ids in self.found.items())

    def problems(self, limits: Audit) -> list[str]:
        """A line for each finding whose share of the questions is above its limit."""
        lines = []
        for name, ids in self.found.items():
            limit = getattr(limits, name)
            if len(ids) > limit * self.n_questions:
                what, remedy = FINDINGS[name]
                lines.append(
                    f"language {self.language!r}: {len(ids)} of {self.n_questions} questions {what} "
                    f"({', '.join(ids[:NAMED])}{', ...' if len(ids) > NAMED else ''}), more than audit.{name} "
                    f"{limit:g} allows; {remedy}, or raise audit.{name}"
                )
        return lines

    def record(self) -> dict[str, Any]:
        """Counts and the first ids, for the manifest."""
        return {
            "questions": self.n_questions,
            "left_out": len(set().union(*(self.found[name] for name in UNSCORABLE))),
            **{name: {"questions": len(ids), "first": ids[:NAMED]} for name, ids in self.found.items()},
        }


def shared_length(a: Sequence[int], b: Sequence[int]) -> int:
    """The length of the longest common prefix."""
    return bisect_left(range(1, min(len(a), len(b)) + 1), True, key=lambda n: a[:n] != b[:n])


def questions_of(tokens: pl.DataFrame) -> list[Question]:
    """The rows of a frame of `TOKENS`."""
    return [
        Question(row["question_id"], row["prompt"], row["texts"], row["letters"], tuple(row["header"]))
        for row in tokens.iter_rows(named=True)
    ]


def prompt_text(question: str, options: Sequence[str], settings: Prompting, answer_word: str) -> str:
    lines = [settings.option.format(letter=letter, text=text) for letter, text in zip(LETTERS, options, strict=False)]
    return settings.prompt.format(question=question, options="\n".join(lines), answer_word=answer_word)


def headers(examples: pl.DataFrame, settings: Prompting, language: str, answer_word: str) -> dict[str | None, str]:
    """The text before a question, by its subject (or else category, or else one for all questions).

    The first `shots` examples of the subject in the data set's order, each answered, with empty lines between.

    Raises UserError for a subject with fewer examples.
    """
    by_topic: dict[str | None, list[dict[str, Any]]] = {}
    for topic, row in zip(_topics(examples), examples.iter_rows(named=True), strict=True):
        by_topic.setdefault(topic, []).append(row)
    found = {}
    for topic, rows in by_topic.items():
        if len(rows) < settings.shots:
            where = f" of {topic!r}" if topic else ""
            raise UserError(
                f"language {language!r}: {len(rows)} examples{where}, where scoring.shots asks for {settings.shots}; "
                "lower it"
            )
        found[topic] = ""
        for row in rows[: settings.shots]:
            answer = LETTERS[row["answer"]] if settings.shown_answer == "letter" else row["options"][row["answer"]]
            prompt = prompt_text(row["question"], row["options"], settings, answer_word)
            found[topic] += prompt + settings.candidate.format(candidate=answer) + "\n\n"
    return found


def tokenize_language(
    tokenizer: PreTrainedTokenizerBase,
    questions: pl.DataFrame,
    language: str,
    settings: Prompting,
    *,
    context: int,
    answer_word: str = "Answer",
    examples: pl.DataFrame | None = None,
) -> tuple[pl.DataFrame, Audited]:
    """Tokenise and audit all questions of one language.

    Args:
        tokenizer: the model's.
        questions: a prepared benchmark file: question_id, question, options, answer, ...
        language: its code.
        settings: the prompt's form.
        context: the longest sequence that the model takes, in tokens.
        answer_word: what {answer_word} in the prompt stands for.
        examples: prepared likewise, answered before each question; needed where `settings.shots` > 0.

    Returns:
        A frame of `TOKENS`, sorted by question id, without the questions that can't be scored; and the findings.

    Raises:
        UserError: there are too few examples, or none of the question's subject.
    """
    before: dict[str | None, str] = {}
    if settings.shots:
        assert examples is not None
        before = headers(examples, settings, language, answer_word)
    header_tokens = dict(zip(before, _encode(tokenizer, list(before.values())), strict=True))
    topics = _topics(questions)
    audited = Audited(language, len(questions))
    rows: list[dict[str, Any]] = []
    for start in range(0, len(questions), CHUNK):
        asked = []  # (record, topic, number of candidates)
        texts = []
        for record, topic in zip(
            questions[start : start + CHUNK].iter_rows(named=True), topics[start : start + CHUNK], strict=True
        ):
            if settings.shots and topic not in before:
                raise UserError(
                    f"language {language!r}, question {record['question_id']!r}: no examples of {topic!r}, "
                    "which scoring.shots needs; set it to 0"
                )
            prompt = before.get(topic, "") + prompt_text(record["question"], record["options"], settings, answer_word)
            candidates = [*record["options"], *LETTERS[: len(record["options"])]]
            # White space at the prompt's end belongs to the candidate: tokenizers attach it to what follows.
            texts.append(prompt.rstrip())
            texts += [prompt + settings.candidate.format(candidate=candidate) for candidate in candidates]
            asked.append((record, topic, len(candidates)))
        encoded = iter(_encode(tokenizer, texts))
        for record, topic, n in asked:
            tokens, *wholes = (next(encoded) for _ in range(n + 1))
            found = _findings(record, tokens, wholes, tokenizer.bos_token_id, context)
            for name in found:
                audited.found[name].append(record["question_id"])
            if found.isdisjoint(UNSCORABLE):
                header = shared_length(header_tokens.get(topic, []), tokens[:-1])
                rows.append({"language": language, **_row(record, tokens, header, wholes)})
    return pl.DataFrame(rows, schema=TOKENS).sort("question_id"), audited


def _findings(
    record: Mapping[str, Any], prompt: list[int], wholes: list[list[int]], bos: int | None, context: int
) -> set[str]:
    """What is wrong with a question: names in `FINDINGS`."""
    options = record["options"]
    found = {
        "bos": bos is not None and any(ids.count(bos) != 1 for ids in (prompt, *wholes)),
        "too_long": max(map(len, wholes)) > context,
        "no_token": any(len(whole) <= len(prompt) for whole in wholes),
        "same_text": len(set(options)) < len(options),
        "boundary": _merges(prompt, wholes) > 0,
    }
    return {name for name, there in found.items() if there}


def _merges(prompt: list[int], wholes: list[list[int]]) -> int:
    """Candidates with a token that spans the boundary to the prompt."""
    return sum(whole[: len(prompt)] != prompt for whole in wholes)


def _row(record: Mapping[str, Any], prompt: list[int], header: int, wholes: list[list[int]]) -> dict[str, Any]:
    """A question as a row of `TOKENS`; the first `header` tokens of its prompt are its header's."""
    options = record["options"]
    candidates = [whole[len(prompt) :] for whole in wholes]
    return {
        **{name: record[name] for name in TOKENS if name in record},
        "header": prompt[:header],
        "prompt": prompt[header:],
        "texts": candidates[: len(options)],
        "letters": candidates[len(options) :],
        "n_bytes": [len(option.encode()) for option in options],
        "boundary_merges": _merges(prompt, wholes),
    }


def _encode(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> list[list[int]]:
    """Token ids of each text, with BOS in front where the tokenizer defines one."""
    if not texts:
        return []
    front = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    return [[*front, *ids] for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]]


def _topics(frame: pl.DataFrame) -> list[str | None]:
    """What decides which examples go with each question: its subject, or else its category, or else nothing."""
    for name in ("subject", "category"):
        if frame[name].null_count() < len(frame):
            return frame[name].to_list()
    return [None] * len(frame)
