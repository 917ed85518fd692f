"""Questions laid out in rows, each shared token once; rows gathered in batches.

Candidates share their question's prompt, and often their first tokens; questions share passages. The sequences form
a trie, which is laid out in one row: a token's position is its depth, and it attends to its ancestors and itself.
For the prompt `a b` and the candidates `c d`, `c e` and `f`:

    row        a  b  c        depth first: the tokens below place i are those up to place end[i]
    position   0  1  2
    end        3  3  3
    scored at  .  c  d        the tokens scored from the hidden state at each place
               .  f  e

The last token of a candidate is scored but never fed. Questions that share nothing stand side by side in a row, where
it has room: a row is a forest.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from calgrid.scoring.prompts import Question, shared_length

ROW_TOKENS = 1024  # questions that share tokens are put into one row up to this length
WORTH_SHARING = 0.1  # of a question's tokens, for that; attention over a longer row costs more


@dataclass(frozen=True)
class Row:
    """Questions with the same header, laid out as one row of T tokens after it."""

    questions: list[Question]
    tokens: list[int]  # (T,)
    positions: list[int]  # (T,) depth, counted from the header's end
    ends: list[int]  # (T,) the place after the last token below this one
    paths: list[list[list[int]]]  # for each question and candidate, the places whose hidden states score its tokens

    def __len__(self) -> int:
        return len(self.tokens)


def lay_out(questions: Sequence[Question]) -> Row:
    """The trie of the questions' candidates as a row; see the module's docstring."""
    tokens: list[int] = []
    positions: list[int] = []
    ends: list[int] = []
    sequence: list[int] = []  # from the root to the place laid out last
    path: list[int] = []  # its places

    def add(following: list[int]) -> None:
        shared = shared_length(sequence, following)
        for place in path[shared:]:
            ends[place] = len(tokens)
        path[shared:] = range(len(tokens), len(tokens) + len(following) - shared)
        sequence[shared:] = following[shared:]
        tokens.extend(following[shared:])
        positions.extend(range(shared, len(following)))
        ends.extend([0] * (len(following) - shared))

    paths = []
    for question in questions:
        candidates = question.candidates
        found: list[list[int]] = [[]] * len(candidates)
        for index in sorted(range(len(candidates)), key=candidates.__getitem__):  # so that what is shared is adjacent
            add(question.prompt + candidates[index][:-1])
            found[index] = path[len(question.prompt) - 1 :]
        paths.append(found)
    add([])
    return Row(list(questions), tokens, positions, ends, paths)


def share_rows(questions: Sequence[Question]) -> Iterator[list[Question]]:
    """Questions with the same header in groups that share enough tokens to be laid out in one row."""
    row: list[Question] = []
    length = 0  # an upper bound of the row's
    for question in sorted(questions, key=lambda question: (question.prompt, question.id)):
        shared = shared_length(row[-1].prompt, question.prompt) if row else 0
        own = len(question.prompt) + sum(len(candidate) - 1 for candidate in question.candidates)
        if row and (shared < WORTH_SHARING * own or length + own - shared > ROW_TOKENS):
            yield row
            row, length, shared = [], 0, 0
        row.append(question)
        length += own - shared
    if row:
        yield row


def batches(questions: Sequence[Question], score_tokens: int) -> Iterator[list[Row]]:
    """Rows with one header, padded size at most `score_tokens` (a longer row goes alone).

    The longest question that is left decides the length of a batch's rows; shorter ones fill them up, so that little
    is padded. The longest come first, so that memory runs out early or not at all. What is in a batch depends on the
    questions and the budget alone, so that a run that is repeated or resumed gives the same numbers.
    """
    by_header: dict[tuple[int, ...], list[Question]] = {}
    for question in questions:
        by_header.setdefault(question.header, []).append(question)
    for _, group in sorted(by_header.items()):
        left = sorted(map(lay_out, share_rows(group)), key=lambda row: (len(row), row.questions[0].id))
        while left:
            length = len(left[-1])
            rows: list[Row] = []
            while left and len(rows) < max(1, score_tokens // length):
                room = length
                parts: list[Row] = []
                while fitting := bisect_right(left, room, key=len):
                    parts.append(left.pop(fitting - 1))
                    room -= len(parts[-1])
                rows.append(parts[0] if len(parts) == 1 else lay_out([q for part in parts for q in part.questions]))
            yield rows


Item = TypeVar("Item")


def within_budget(items: Iterable[Item], length: Callable[[Item], int], score_tokens: int) -> Iterator[list[Item]]:
    """Items in batches of a padded size of at most `score_tokens` (a longer item goes alone), in their order.

    Little is padded where they are sorted by length.
    """
    batch: list[Item] = []
    longest = 0
    for item in items:
        if batch and max(longest, length(item)) * (len(batch) + 1) > score_tokens:
            yield batch
            batch, longest = [], 0
        batch.append(item)
        longest = max(longest, length(item))
    if batch:
        yield batch
