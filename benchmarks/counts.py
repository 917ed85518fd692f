"""What must be computed to score a set of questions: tokens, attention pairs, head positions and their FLOPs."""

from collections.abc import Iterable, Sequence

from calgrid.models.shape import Work, triangle
from calgrid.scoring.prompts import Question, shared_length
from calgrid.scoring.trie import batches


def fed(question: Question) -> list[list[int]]:
    """The tokens that a model reads to score each option's text; a candidate's last token is not read."""
    return [[*question.header, *question.prompt, *text[:-1]] for text in question.texts]


def separate(questions: Iterable[Question]) -> Work:
    """One forward pass for each distinct sequence with the head at every position, as the harness does it.

    The harness passes once for all candidates that differ in their last token alone, hence distinct.
    """
    lengths = [len(sequence) for sequence in {tuple(sequence) for question in questions for sequence in fed(question)}]
    return Work(sum(lengths), sum(map(triangle, lengths)), sum(lengths))


def least(questions: Sequence[Question]) -> Work:
    """Each distinct prefix token of the whole set once, the head at scored positions alone."""
    tokens, pairs = distinct(sequence for question in questions for sequence in fed(question))
    return Work(tokens, pairs, sum(1 + distinct(text[:-1] for text in question.texts)[0] for question in questions))


def distinct(sequences: Iterable[list[int]]) -> tuple[int, int]:
    """Nodes in the trie of `sequences`, and their pairs with their ancestors and themselves."""
    tokens = pairs = 0
    previous: list[int] = []
    for sequence in sorted(sequences):  # so that those with the longest common prefix are adjacent
        shared = shared_length(previous, sequence)
        tokens += len(sequence) - shared
        pairs += triangle(len(sequence)) - triangle(shared)
        previous = sequence
    return tokens, pairs


def computed(questions: Sequence[Question], score_tokens: int) -> tuple[int, int]:
    """Tokens that CalGrid puts through the body for texts and letters, without and with padding."""
    plain = padded = 0
    headers = set()
    for batch in batches(questions, score_tokens):
        headers.add(batch[0].questions[0].header)
        plain += sum(map(len, batch))
        padded += len(batch) * max(map(len, batch))
    once = sum(map(len, headers))
    return plain + once, padded + once
