"""Settings of scoring: the prompt, what is scored, and which findings are tolerated."""

from string import Formatter
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from calgrid.settings import Section, Share


class Prompting(Section):
    """From a question to the text that is scored; {answer_word} is one a language, see `Config.answer_words`."""

    prompt: str = Field("{question}\n{options}\n{answer_word}:", description="text before a candidate")
    option: str = Field("{letter}. {text}", description="one listed option; {options} joins them by newlines")
    candidate: str = Field(" {candidate}", description="what is scored: an option's text, or its letter")
    language: Literal["english", "native"] = Field(
        "english", description="the language of {answer_word}: english, or native, the benchmark's own"
    )
    shots: int = Field(0, ge=0, description="answered examples before each question, from the benchmark's own split")
    shown_answer: Literal["text", "letter"] = Field("text", description="how the examples are answered: text or letter")

    @model_validator(mode="after")
    def _placeholders(self) -> Self:
        for field, needed, also in (
            ("prompt", "question", ["options", "answer_word"]),
            ("option", "text", ["letter"]),
            ("candidate", "candidate", []),
        ):
            value, allowed = getattr(self, field), [needed, *also]
            try:
                parsed = [part for part in Formatter().parse(value) if part[1] is not None]
            except ValueError as error:
                raise ValueError(f"{field}: {value!r}: {error}; write {{{{ or }}}} for a brace itself") from None
            if any(spec or conversion for _, _, spec, conversion in parsed):
                raise ValueError(f"{field}: {value!r}: write a name alone between braces, without ':' or '!'")
            found = {name for _, name, _, _ in parsed}
            if not {needed} <= found <= set(allowed):
                known = ", ".join(f"{{{name}}}" for name in allowed)
                raise ValueError(f"{field}: {value!r} must hold {{{needed}}} and may hold {known} only")
        if self.language == "native" and "{answer_word}" not in self.prompt:
            raise ValueError("language: native: puts {answer_word} into the benchmark's language; put it into `prompt`")
        return self


class Scoring(Prompting):
    """How candidates are scored, and of which cells."""

    cells: Literal["all", "selected"] = Field(
        "all", description="all, or selected: the base models, and of each arm the selected learning rate alone"
    )
    content_free: tuple[Annotated[str, Field(pattern=r"\S")], ...] = Field(
        (), description="texts that say nothing, asked as question and as every option, for contextual calibration"
    )


class Audit(Section):
    """The largest tolerated share of a language's questions with a finding, by finding; see `scoring.prompts`."""

    bos: Share = Field(0.0, description="text holding the tokenizer's BOS; such questions are left out")
    too_long: Share = Field(0.0, description="longer than the model's context; such questions are left out")
    no_token: Share = Field(0.0, description="a candidate without a token of its own; such questions are left out")
    same_text: Share = Field(0.05, description="two options with the same text")
    boundary: Share = Field(0.01, description="a token across the boundary between prompt and candidate")
