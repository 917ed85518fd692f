"""Conversations as token ids with a mask of what is supervised: the assistant's words and the end of turn."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from transformers import PreTrainedTokenizerBase
from transformers.utils.chat_template_utils import render_jinja_template

from calgrid.errors import UserError

Message = dict[str, str]

# Base models have no chat template. This one follows Wang et al. (2023), https://arxiv.org/abs/2306.04751, figure 2:
# the role on a line of its own, the content, and the end-of-sequence token after each assistant turn. It adds no
# token to the vocabulary. It is saved with each tuned model.
CHAT_TEMPLATE = (
    "{{ bos_token or '' }}"
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>\n' }}"
    "{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] + eos_token }}{% endgeneration %}{{ '\n' }}"
    "{% else %}{{ message['content'] + '\n' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
SHOWN = 40  # characters of a turn that a message quotes


@dataclass(frozen=True)
class Example:
    """A conversation of T tokens; `supervised[t]` says whether token t is a target, which the first never is."""

    tokens: list[int]
    supervised: list[bool]


def use_template(tokenizer: PreTrainedTokenizerBase, template: Literal["calgrid", "tokenizer"]) -> None:
    """Set the tokenizer's chat template.

    Raises UserError if the tokenizer has no end-of-sequence token, can't map tokens to characters, or has no
    template of its own that marks the assistant's words with {% generation %}.
    """
    name = tokenizer.name_or_path
    if tokenizer.eos_token is None:
        raise UserError(f"tokenizer {name!r}: eos_token is not set; an assistant turn could not end; set it")
    if not tokenizer.is_fast:
        raise UserError(f"tokenizer {name!r}: not a fast tokenizer, so tokens have no place in the text; convert it")
    if template == "calgrid":
        tokenizer.chat_template = CHAT_TEMPLATE
    elif not tokenizer.chat_template:
        raise UserError(
            f"tokenizer {name!r}: training.chat_template is 'tokenizer', but it has no template; "
            "use training.chat_template: calgrid"
        )
    elif "endgeneration" not in tokenizer.chat_template:
        raise UserError(
            f"tokenizer {name!r}: training.chat_template is 'tokenizer', but its template does not mark the "
            "assistant's words with {% generation %}; use training.chat_template: calgrid"
        )


def tokenize(tokenizer: PreTrainedTokenizerBase, conversations: Sequence[Sequence[Message]]) -> list[Example]:
    """Render conversations by the tokenizer's chat template and mark their supervised tokens.

    A token is supervised if it overlaps the text of an assistant turn or its end-of-sequence token.

    Raises:
        UserError: the template leaves a turn out, or does not mark an answer.
    """
    texts, spans = render_jinja_template(
        [list(messages) for messages in conversations],
        chat_template=tokenizer.chat_template,
        return_assistant_tokens_mask=True,
        bos_token=tokenizer.bos_token,
        eos_token=tokenizer.eos_token,
    )
    for messages, text, marked in zip(conversations, texts, spans, strict=True):
        _check_turns(tokenizer.name_or_path, messages, text, marked)
    encoded = tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True)
    return [
        Example(tokens, _supervised(np.array(offsets), marked))
        for tokens, offsets, marked in zip(encoded["input_ids"], encoded["offset_mapping"], spans, strict=True)
    ]


def _supervised(offsets: np.ndarray, spans: Sequence[tuple[int, int]]) -> list[bool]:
    """Whether the characters of each token, offsets (T, 2), overlap one of the spans.

    Byte-level tokenizers trim spaces off their offsets, so that a lone space at place p - 1 reads (p, p).
    """
    starts, ends = offsets[:, 0] - (offsets[:, 0] == offsets[:, 1]), offsets[:, 1]
    found = np.zeros(len(offsets), dtype=bool)
    for first, last in spans:
        found |= (starts < last) & (ends > first)
    found[0] = False  # nothing predicts it
    return found.tolist()


def _check_turns(name: str, messages: Sequence[Message], text: str, spans: Sequence[tuple[int, int]]) -> None:
    """Every turn must be in the text, in order, and every answer inside a span of its own."""
    answers = iter(spans)
    end = 0
    for number, message in enumerate(messages, 1):
        content = message["content"].strip()  # some templates trim
        where = f"tokenizer {name!r}: turn {number} ({message['role']}: {content[:SHOWN]!r})"
        end = text.find(content, end)
        if end < 0:
            raise UserError(f"{where} is not in what its chat template writes; use training.chat_template: calgrid")
        if message["role"] == "assistant":
            first, last = next(answers, (0, 0))
            if content not in text[first:last]:
                raise UserError(f"{where} is not marked as an answer; use training.chat_template: calgrid")
        end += len(content)


def fit(
    tokenizer: PreTrainedTokenizerBase,
    conversations: Sequence[Sequence[Message]],
    max_length: int,
    long_conversations: Literal["cut", "refuse"],
) -> list[tuple[Example | None, int]]:
    """Conversations of at most `max_length` tokens.

    A longer one is cut after its last answer that fits, or refused.

    Returns:
        For each conversation its example, or None if it is refused or not even the first answer fits; and how many
        messages were left out.
    """
    found: list[tuple[Example | None, int]] = []
    for messages, whole in zip(conversations, tokenize(tokenizer, conversations), strict=True):
        example: Example | None = whole
        end = len(messages)
        while example is not None and len(example.tokens) > max_length:
            end -= 1
            while end and messages[end - 1]["role"] != "assistant":
                end -= 1
            cut = end > 0 and long_conversations == "cut"
            example = tokenize(tokenizer, [messages[:end]])[0] if cut else None
        found.append((example, len(messages) - end if example else len(messages)))
    return found
