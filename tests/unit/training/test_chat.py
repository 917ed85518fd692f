"""What is supervised decodes back to the assistant's exact words and the end of turn."""

from itertools import groupby

import pytest
from transformers import AutoTokenizer

from calgrid.data.sft import conversation as conversation_of
from calgrid.errors import UserError
from calgrid.training.chat import fit, tokenize, use_template
from support.models import tiny_tokenizer

CONVERSATIONS = [
    [{"role": "user", "content": "Say yes."}, {"role": "assistant", "content": "Yes."}],
    [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Báwo ni?"},
        {"role": "assistant", "content": " Dáadáa ni, ẹ ṣé.\n\nÌwọ ńkọ́? "},
        {"role": "user", "content": "早上好 <|assistant|>"},
        {"role": "assistant", "content": "早上好!👋"},
    ],
    [{"role": "user", "content": "नमस्ते"}, {"role": "assistant", "content": "\nनमस्ते जी"}],
]


def answers(conversation):
    return [message["content"] for message in conversation if message["role"] == "assistant"]


def supervised_texts(tokenizer, example):
    runs = groupby(zip(example.tokens, example.supervised, strict=True), key=lambda pair: pair[1])
    return [tokenizer.decode([token for token, _ in run]) for supervised, run in runs if supervised]


@pytest.fixture
def tokenizer():
    tokenizer = tiny_tokenizer()
    use_template(tokenizer, "calgrid")
    return tokenizer


@pytest.mark.parametrize("conversation", CONVERSATIONS)
def test_supervised_tokens_are_the_answers(tokenizer, conversation):
    (example,) = tokenize(tokenizer, [conversation])
    assert supervised_texts(tokenizer, example) == [answer + "</s>" for answer in answers(conversation)]
    assert example.tokens.count(tokenizer.bos_token_id) == 1
    assert example.tokens[0] == tokenizer.bos_token_id


@pytest.mark.parametrize("conversation", CONVERSATIONS)
@pytest.mark.parametrize("name", ["mistral-v1", "gpt-neox"])
def test_supervised_tokens_are_the_answers_with_real_tokenizers(shared_data, name, conversation):
    tokenizer = AutoTokenizer.from_pretrained(shared_data / "tokenizers" / name)
    tokenizer.eos_token = tokenizer.eos_token or "<|endoftext|>"
    use_template(tokenizer, "calgrid")
    texts = supervised_texts(tokenizer, *tokenize(tokenizer, [conversation]))
    assert [text.replace(tokenizer.eos_token, "").strip() for text in texts] == [
        a.strip() for a in answers(conversation)
    ]


def test_the_prompt_form_ends_where_the_answer_begins(tokenizer):
    whole = tokenizer.apply_chat_template(CONVERSATIONS[0], tokenize=False)
    prompt = tokenizer.apply_chat_template(CONVERSATIONS[0][:1], tokenize=False, add_generation_prompt=True)
    assert whole == prompt + "Yes.</s>\n"


@pytest.mark.parametrize(
    ("layout", "row", "expected"),
    [
        ("alpaca", {"instruction": "Ṣé o wà?", "input": "", "output": "Mo wà.\n"}, ["Mo wà.\n"]),
        (
            "sharegpt",
            {
                "conversations": [
                    {"from": "system", "value": "简短"},
                    {"from": "human", "value": "一"},
                    {"from": "gpt", "value": "二"},
                    {"from": "human", "value": "三"},
                    {"from": "gpt", "value": "四 四"},
                ]
            },
            ["二", "四 四"],
        ),
        (
            "messages",
            {"messages": [{"role": "user", "content": "ሰላም"}, {"role": "assistant", "content": " ሰላም ነው"}]},
            [" ሰላም ነው"],
        ),
    ],
)
def test_each_layouts_answers_are_supervised(tokenizer, layout, row, expected):
    (example,) = tokenize(tokenizer, [conversation_of(row, layout)])
    assert supervised_texts(tokenizer, example) == [answer + "</s>" for answer in expected]


def test_a_batch_of_conversations_gives_what_each_alone_gives(tokenizer):
    assert tokenize(tokenizer, CONVERSATIONS) == [tokenize(tokenizer, [c])[0] for c in CONVERSATIONS]


def test_a_long_conversation_is_cut_at_a_turn(tokenizer):
    conversation = CONVERSATIONS[1]
    ((whole, left_out),) = fit(tokenizer, [conversation], 10_000, "cut")
    assert left_out == 0
    ((example, left_out),) = fit(tokenizer, [conversation], len(whole.tokens) - 1, "cut")
    assert left_out == 2
    assert supervised_texts(tokenizer, example) == [answers(conversation)[0] + "</s>"]
    assert fit(tokenizer, [conversation], 5, "cut") == [(None, 5)]


def test_a_long_conversation_is_refused_where_that_is_asked(tokenizer):
    short, long = CONVERSATIONS[0], CONVERSATIONS[1]
    limit = len(tokenize(tokenizer, [long])[0].tokens) - 1
    assert fit(tokenizer, [short, long], limit, "refuse") == [(tokenize(tokenizer, [short])[0], 0), (None, 5)]


def test_a_template_that_trims_is_taken(tokenizer):
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m['role'] }}:{% if m['role'] == 'assistant' %}"
        "{% generation %}{{ m['content'] | trim }}{% endgeneration %}{% else %}{{ m['content'] | trim }}{% endif %}"
        "{% endfor %}"
    )
    (example,) = tokenize(tokenizer, [CONVERSATIONS[1]])
    assert supervised_texts(tokenizer, example) == [answer.strip() for answer in answers(CONVERSATIONS[1])]


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("m['role'] != 'system'", r"turn 1 \(system: 'Be brief.'\) is not in what its chat template writes"),
        ("loop.index < 4", r"turn 4 \(user: .*\) is not in what its chat template writes; use training.chat_template"),
    ],
)
def test_a_template_that_drops_a_turn_is_refused(tokenizer, condition, message):
    tokenizer.chat_template = (
        "{% for m in messages %}{% if " + condition + " %}{% if m['role'] == 'assistant' %}"
        "{% generation %}{{ m['content'] }}{% endgeneration %}{% else %}{{ m['content'] }}{% endif %}"
        "{% endif %}{% endfor %}"
    )
    with pytest.raises(UserError, match=message):
        tokenize(tokenizer, [CONVERSATIONS[1]])


def test_a_template_that_marks_another_turn_is_refused(tokenizer):
    tokenizer.chat_template = (
        "{% for m in messages %}{% if m['role'] == 'user' %}"
        "{% generation %}{{ m['content'] }}{% endgeneration %}{% else %}{{ m['content'] }}{% endif %}{% endfor %}"
    )
    with pytest.raises(UserError, match=r"turn 2 \(assistant: 'Yes.'\) is not marked as an answer"):
        tokenize(tokenizer, [CONVERSATIONS[0]])


def test_template_of_the_tokenizer_must_mark_answers(tokenizer):
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    with pytest.raises(UserError, match=r"chat_template is 'tokenizer', but its template does not mark"):
        use_template(tokenizer, "tokenizer")


def test_template_of_the_tokenizer_must_exist(tokenizer):
    tokenizer.chat_template = None
    with pytest.raises(
        UserError, match=r"chat_template is 'tokenizer', but it has no template; use training.chat_templ"
    ):
        use_template(tokenizer, "tokenizer")


def test_a_tokenizer_without_end_of_sequence_is_refused(tokenizer):
    tokenizer.eos_token = None
    with pytest.raises(UserError, match="eos_token is not set"):
        use_template(tokenizer, "calgrid")
