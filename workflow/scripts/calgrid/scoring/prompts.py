"""From questions to what is scored: header, prompt and candidates as token sequences, and what is wrong with them.

    header               answered examples, the same for many questions; empty at zero shots
    prompt               the question, its options, "Answer:"
    texts, letters       the candidates after the prompt: each option's text, each option's letter

Prompt and candidate are tokenised together and cut at the length of the prompt's own tokens, as
lm-evaluation-harness does (https://github.com/EleutherAI/lm-evaluation-harness, `TemplateLM._encode_pair`).
"""

import string
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from transformers import PreTrainedTokenizerBase

from calgrid.errors import UserError
from calgrid.scoring.settings import Audit, Prompting

LETTERS = string.ascii_uppercase
CHUNK = 256  # questions tokenised in one call
NAMED = 100  # question ids with a finding that the manifest names

FINDINGS = tuple(Audit.model_fields)  # what is looked for; `audit_tokens.py` explains each
UNSCORABLE = ("bos", "too_long", "no_token")  # questions with one of these are left out

QUESTION = {  # columns that tokens and scores share
    "language": pl.String(),
    "question_id": pl.String(),
    "subject": pl.String(),
    "category": pl.String(),
    "cultural_sensitivity": pl.String(),
    "answer": pl.UInt8(),
}
TOKENS = pl.Schema(
    {
        **QUESTION,
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


def shared_length(a: Sequence[int], b: Sequence[int]) -> int:
    """The length of the longest common prefix."""
    return bisect_left(range(1, min(len(a), len(b)) + 1), True, key=lambda n: a[:n] != b[:n])


def audit(n_questions: int, context: int, found: Mapping[str, Sequence[str]], longest: int) -> dict[str, Any]:
    """What was found in a language's questions, for the manifest: counts, and the first ids."""
    return {
        "questions": n_questions,
        "left_out": len(set().union(*(found[name] for name in UNSCORABLE))),
        "context": context,
        "longest": longest,
        **{name: {"questions": len(ids), "first": list(ids[:NAMED])} for name, ids in found.items()},
    }


def questions_of(tokens: pl.DataFrame) -> list[Question]:
    """The rows of a frame of `TOKENS`."""
    return [
        Question(row["question_id"], row["prompt"], row["texts"], row["letters"], tuple(row["header"]))
        for row in tokens.iter_rows(named=True)
    ]


def prompt_text(question: str, options: Sequence[str], settings: Prompting, answer_word: str) -> str:
    lines = [settings.option.format(letter=letter, text=text) for letter, text in zip(LETTERS, options, strict=False)]
    return settings.prompt.format(question=question, options="\n".join(lines), answer_word=answer_word)


def headers(
    examples: pl.DataFrame,
    topic: str | None,
    wanted: Iterable[str | None],
    settings: Prompting,
    language: str,
    answer_word: str,
) -> dict[str | None, str]:
    """The text before a question, by its topic: the first `shots` examples of the topic, in the data set's order.

    Each is answered and followed by an empty line. `topic` names the column of topics; None: there is one, None.

    Raises UserError for a wanted topic with fewer examples.
    """
    found = {}
    for name in sorted(wanted, key=str):
        rows = examples.filter(pl.col(topic) == name) if topic else examples
        if len(rows) < settings.shots:
            where = f" of {topic} {name!r}" if topic else ""
            raise UserError(
                f"language {language!r}: {len(rows)} examples{where}, where scoring.shots asks for {settings.shots}; "
                "lower it"
            )
        found[name] = ""
        for row in rows.head(settings.shots).iter_rows(named=True):
            answer = LETTERS[row["answer"]] if settings.shown_answer == "letter" else row["options"][row["answer"]]
            prompt = prompt_text(row["question"], row["options"], settings, answer_word)
            found[name] += prompt + settings.candidate.format(candidate=answer) + "\n\n"
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
) -> tuple[pl.DataFrame, dict[str, Any]]:
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
        A frame of `TOKENS`, sorted by question id, without the questions that can't be scored; and the `audit`.

    Raises:
        UserError: there are too few examples, or none of the question's subject.
    """
    before: dict[str | None, str] = {}
    topics: list[str | None] = [None] * len(questions)
    if settings.shots:
        assert examples is not None
        if column := _topic(questions, examples):
            topics = questions[column].to_list()
        before = headers(examples, column, set(topics), settings, language, answer_word)
    header_tokens = dict(zip(before, _encode(tokenizer, list(before.values())), strict=True))
    found: dict[str, list[str]] = {name: [] for name in FINDINGS}
    longest = 0
    rows: list[dict[str, Any]] = []
    for start in range(0, len(questions), CHUNK):
        asked = []  # (record, topic, number of candidates)
        texts = []
        for record, topic in zip(
            questions[start : start + CHUNK].iter_rows(named=True), topics[start : start + CHUNK], strict=True
        ):
            prompt = before.get(topic, "") + prompt_text(record["question"], record["options"], settings, answer_word)
            candidates = [*record["options"], *LETTERS[: len(record["options"])]]
            # White space at the prompt's end belongs to the candidate: tokenizers attach it to what follows.
            texts.append(prompt.rstrip())
            texts += [prompt + settings.candidate.format(candidate=candidate) for candidate in candidates]
            asked.append((record, topic, len(candidates)))
        encoded = iter(_encode(tokenizer, texts))
        for record, topic, n in asked:
            tokens, *wholes = (next(encoded) for _ in range(n + 1))
            longest = max(longest, *map(len, wholes))
            wrong = _findings(record, tokens, wholes, tokenizer.bos_token_id, context)
            for name in wrong:
                found[name].append(record["question_id"])
            if wrong.isdisjoint(UNSCORABLE):
                header = shared_length(header_tokens.get(topic, []), tokens[:-1])
                rows.append({"language": language, **_row(record, tokens, header, wholes)})
    return pl.DataFrame(rows, schema=TOKENS).sort("question_id"), audit(len(questions), context, found, longest)


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


def _topic(questions: pl.DataFrame, examples: pl.DataFrame) -> str | None:
    """The column that says which examples go with a question: subject, else category, where all rows have it."""
    for name in ("subject", "category"):
        if not questions[name].null_count() and not examples[name].null_count():
            return name
    return None
