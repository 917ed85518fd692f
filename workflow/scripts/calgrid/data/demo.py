"""The embedded demonstration data: a pretraining corpus, three instruction sets and two benchmarks of CLDR facts.

Nothing is downloaded and no sentence is translated by hand (see `data.cldr`). What is measured is knowledge:
the corpus states every fact in every language, often in the high-resource languages and rarely in the low-resource
ones, and also asks for it with options, but never with the options that a benchmark lists for it, in whatever order
or language. The instruction sets hold none of the facts that the benchmarks ask for.

The same settings give the same files, byte for byte, with the same versions of Babel and polars.
"""

import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import babel
import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from calgrid.data.cldr import CLDR_VERSION, Fact, Wording, arguable_answers, facts, wording
from calgrid.errors import UserError
from calgrid.store import files

# Tiers as for Global-MMLU, and how often a language states a fact, relative to the first tier.
TIERS = {
    "high": (("en", "de", "es", "fr"), 1.0),
    "mid": (("id", "ro"), 0.5),
    "low": (("ha", "so", "sw", "yo"), 0.3),
}
WEIGHTS = {language: weight for languages, weight in TIERS.values() for language in languages}
LANGUAGES = tuple(WEIGHTS)
LETTERS = "ABCDEFGHIJ"
CATEGORIES = {"currency": "territories", "language": "territories", "month": "calendar", "weekday": "calendar"}
TEST_SHARES = {"currency": 0.35, "language": 0.35, "month": 0.2, "weekday": 0.1}
EXAMPLES = 5  # of each subject, in split dev: as in Global-MMLU
FACTS_PER_ANSWER = 4  # so many territories at most with one currency or language
FACTS_PER_DOCUMENT = 5
CHOICE_SHARE = 0.3  # of the facts are asked with options in each round
CHOICE_COUNTS = (3, 4, 4, 5, 6)  # options of such a question: fewer than there are weekdays, see `choice`
ENGLISH = {  # questions and answers in plain English, for instructions and for a part of the English corpus
    "currency": ("What is the currency of {key}?", "The currency of {key} is the {answer}."),
    "language": ("What is the official language of {key}?", "The official language of {key} is {answer}."),
    "month": ("Which month is {steps} after {key}?", "{steps} after {key} comes {answer}."),
    "weekday": ("Which day is {steps} after {key}?", "{steps} after {key} comes {answer}."),
}
SYSTEM = ("Answer in one line.", "Answer in few words.", "You know territories and calendars.")
SFT_SHARE_ENGLISH = 0.9
LICENCE = "The words are from the Unicode CLDR (Unicode License V3)."


class DemoSettings(BaseModel):
    """Sizes of the demonstration data."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = Field(0, ge=0, description="seed of every random choice")
    territories: int = Field(40, ge=8, description="territories of which there are facts")
    rounds: int = Field(30, ge=4, description="times that the corpus states each fact in a high-resource language")
    sft_rows: int = Field(1000, ge=10, description="rows of each instruction set")
    questions: int = Field(80, ge=10, description="questions of each benchmark in each language")


@dataclass(frozen=True)
class Facts:
    """All facts of the demonstration, and the questions of the benchmarks: a fact and its options' codes, in order."""

    known: list[Fact]
    tests: dict[str, list[tuple[Fact, list[str]]]]  # benchmark -> question
    examples: dict[str, list[tuple[Fact, list[str]]]]  # the same of split dev, on facts that are in no test

    @cached_property
    def asked(self) -> set[tuple[Fact, frozenset[str]]]:
        return {(fact, frozenset(codes)) for questions in self.tests.values() for fact, codes in questions}

    @cached_property
    def untested(self) -> list[Fact]:
        return sorted(set(self.known) - {fact for fact, _ in self.asked})


def write_demo_data(folder: str | Path, settings: DemoSettings) -> None:
    """Write corpus.parquet, sft/<name>/ and benchmarks/<name>/ into `folder`, which appears whole or not at all."""
    chosen = choose_facts(settings)
    made_by = {
        "made_by": "make_demo_data.py",
        "settings": settings.model_dump(),
        "cldr": CLDR_VERSION,
        "babel": babel.__version__,
    }
    with files.atomic(folder) as temporary:
        temporary.mkdir()
        files.write_parquet(corpus(chosen, settings), temporary / "corpus.parquet", made_by)
        for name, rows in instruction_sets(chosen, settings).items():
            _write_instruction_set(temporary / "sft" / name, name, rows)
        for name, tables in benchmarks(chosen).items():
            _write_benchmark(temporary / "benchmarks" / name, name, tables, made_by)


def choose_facts(settings: DemoSettings) -> Facts:
    """The calendar's facts, those of some territories, and what the benchmarks ask of them.

    Both benchmarks ask for the same facts, `cldr4` with four options and `cldr10` with three to ten.
    """
    rng = random.Random(f"{settings.seed} facts")
    every = facts(LANGUAGES)
    pairs = {fact.key: [f for f in every if f.key == fact.key and not f.steps] for fact in every if not fact.steps}
    territories: set[str] = set()
    uses: Counter[str] = Counter()
    for territory in rng.sample(sorted(pairs), len(pairs)):
        answers = [fact.answer for fact in pairs[territory]]
        if len(answers) == 2 and max(uses[answer] for answer in answers) < FACTS_PER_ANSWER:
            territories.add(territory)
            uses.update(answers)
        if len(territories) == settings.territories:
            break
    else:
        raise UserError(f"--territories {settings.territories}: CLDR has {len(territories)} fit ones; ask for fewer")
    known = [fact for fact in every if fact.steps or fact.key in territories]

    tested: list[Fact] = []
    for subject, share in TEST_SHARES.items():
        pool, wanted = [fact for fact in known if fact.subject == subject], round(settings.questions * share)
        if wanted > len(pool):
            raise UserError(
                f"--questions {settings.questions}: {wanted} of them on {subject}, where there are {len(pool)} facts; "
                "ask for fewer, or for more --territories"
            )
        tested += rng.sample(pool, wanted)
    four = [(fact, options(rng, fact, known, 4)) for fact in tested]
    ten = [(fact, options(rng, fact, known, rng.randint(3, 10))) for fact in tested]
    shown: list[Fact] = []
    for subject in TEST_SHARES:
        pool = sorted({fact for fact in known if fact.subject == subject} - set(tested))
        shown += rng.sample(pool, min(EXAMPLES, len(pool)))
    examples = {
        "cldr4": [(fact, options(rng, fact, known, 4)) for fact in shown],
        "cldr10": [(fact, options(rng, fact, known, rng.randint(3, 10))) for fact in shown],
    }
    return Facts(known, {"cldr4": four, "cldr10": ten}, examples)


def options(rng: random.Random, fact: Fact, known: Sequence[Fact], count: int) -> list[str]:
    """`count` distinct answer codes in random order, the right one among them, or fewer where no more exist.

    A wrong option is drawn as often as it is an answer in `known`, so that a frequent answer is no hint.
    """
    right = arguable_answers(fact)
    pool = [other.answer for other in known if other.subject == fact.subject and other.answer not in right]
    wrong = list(dict.fromkeys(rng.sample(pool, len(pool))))
    codes = [fact.answer, *wrong[: count - 1]]
    return rng.sample(codes, len(codes))


def choice(rng: random.Random, chosen: Facts, fact: Fact) -> list[str]:
    """Options of a question that no benchmark asks with the same options in any order."""
    while True:
        codes = options(rng, fact, chosen.known, rng.choice(CHOICE_COUNTS))
        if (fact, frozenset(codes)) not in chosen.asked:
            return codes


def prompt(question: str, texts: Sequence[str]) -> str:
    """A multiple-choice question as the benchmarks are asked; a candidate follows after a space."""
    lines = [f"{letter}. {option}" for letter, option in zip(LETTERS, texts, strict=False)]
    return "\n".join([question, *lines, "Answer:"])


def corpus(chosen: Facts, settings: DemoSettings) -> pl.DataFrame:
    """The pretraining corpus, shuffled: columns language, text.

    In each round of a language every fact is told once, some to a document; in English every third round is in plain
    sentences. A share of the facts is asked with options besides, answered by the text or, one in twenty, the letter.
    """
    rng = random.Random(f"{settings.seed} corpus")
    rows = []
    for language, weight in WEIGHTS.items():
        words = wording(language)
        for number in range(round(settings.rounds * weight)):
            tell = plain if language == "en" and number % 3 == 2 else told
            lines = [tell(rng, words, fact) for fact in rng.sample(chosen.known, len(chosen.known))]
            texts = ["\n".join(lines[n : n + FACTS_PER_DOCUMENT]) for n in range(0, len(lines), FACTS_PER_DOCUMENT)]
            for fact in rng.sample(chosen.known, round(len(chosen.known) * CHOICE_SHARE)):
                codes = choice(rng, chosen, fact)
                answer = LETTERS[codes.index(fact.answer)] if rng.random() < 0.05 else words.answer(fact)
                texts.append(f"{prompt(words.question(fact), words.options(fact.subject, codes))} {answer}")
            rows += [{"language": language, "text": text} for text in texts]
    rng.shuffle(rows)
    return pl.DataFrame(rows)


def told(rng: random.Random, words: Wording, fact: Fact) -> str:
    """A statement, or a question without options, answered after `Answer:` or on a line of its own."""
    draw = rng.random()
    if draw < 0.4:
        return words.statement(fact)
    return f"{words.question(fact)}\n{'Answer: ' if draw < 0.75 else ''}{words.answer(fact)}"


def plain(rng: random.Random, words: Wording, fact: Fact) -> str:
    """Question and answer in plain English."""
    return "\n".join(exchange(rng, words, fact))


def exchange(rng: random.Random, words: Wording, fact: Fact) -> tuple[str, str]:
    """A free question and its answer: in English, the answer in few words or a sentence; else as the benchmarks ask."""
    if words.language != "en":
        return words.question(fact), words.answer(fact)
    question, sentence = english(words, fact)
    return question, sentence if rng.random() < 0.3 else words.answer(fact)


def english(words: Wording, fact: Fact) -> tuple[str, str]:
    """Question and answer as English sentences."""
    steps = words.duration(fact) if fact.steps else ""
    values = {"key": words.key(fact), "answer": words.answer(fact), "steps": steps}
    question, answer = ENGLISH[fact.subject]
    return question.format(**values), answer.format(**values)


def lettered(rng: random.Random, words: Wording, chosen: Facts) -> tuple[str, str, str]:
    """A question, its options by letter, and the reply: the right option's text or, one in ten, its letter."""
    fact = rng.choice(chosen.untested)
    codes = choice(rng, chosen, fact)
    as_sentence = words.language == "en" and rng.random() < 0.5
    question = english(words, fact)[0] if as_sentence else words.question(fact)
    listed = prompt(question, words.options(fact.subject, codes)).removeprefix(question + "\n")
    answer = LETTERS[codes.index(fact.answer)] if rng.random() < 0.1 else words.answer(fact)
    return question, listed.removesuffix("\nAnswer:"), f"Answer: {answer}"


def instruction_sets(chosen: Facts, settings: DemoSettings) -> dict[str, list[dict[str, Any]]]:
    """Rows of the three sets, nine in ten in English, on facts that no benchmark asks for."""
    makers = {"cldr-alpaca": _alpaca, "cldr-sharegpt": _sharegpt, "cldr-messages": _messages}
    others = [language for language in TIERS["high"][0] if language != "en"]
    sets = {}
    for name, make in makers.items():
        rng = random.Random(f"{settings.seed} {name}")
        languages = ["en" if rng.random() < SFT_SHARE_ENGLISH else rng.choice(others) for _ in range(settings.sft_rows)]
        sets[name] = [make(rng, wording(language), chosen) for language in languages]
    return sets


def _alpaca(rng: random.Random, words: Wording, chosen: Facts) -> dict[str, Any]:
    """A free question, or one with its options as the input."""
    if rng.random() < 0.5:
        question, answer = exchange(rng, words, rng.choice(chosen.untested))
        return {"instruction": question, "input": "", "output": answer}
    question, listed, answer = lettered(rng, words, chosen)
    return {"instruction": question, "input": listed, "output": answer}


def _sharegpt(rng: random.Random, words: Wording, chosen: Facts) -> dict[str, Any]:
    """One to three free questions, sometimes after a system turn."""
    turns = [{"from": "system", "value": rng.choice(SYSTEM)}] if rng.random() < 0.3 else []
    for fact in rng.sample(chosen.untested, rng.randint(1, 3)):
        question, answer = exchange(rng, words, fact)
        turns += [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]
    return {"conversations": turns}


def _messages(rng: random.Random, words: Wording, chosen: Facts) -> dict[str, Any]:
    """A question with its options."""
    question, listed, answer = lettered(rng, words, chosen)
    turns = [{"role": "user", "content": f"{question}\n{listed}"}, {"role": "assistant", "content": answer}]
    return {"messages": turns}


def benchmarks(chosen: Facts) -> dict[str, dict[tuple[str, str], pl.DataFrame]]:
    """Benchmark -> (language, split) -> questions: cldr4 in Global-MMLU's columns, cldr10 in MMLU-ProX's.

    A question has one id, and the same options in the same order, in all languages.
    """
    rows = {"cldr4": _four_options, "cldr10": _ten_options}
    nullable = {f"option_{position}": pl.String for position in range(10)}
    tables: dict[str, dict[tuple[str, str], pl.DataFrame]] = {name: {} for name in chosen.tests}
    for split, of_split in (("test", chosen.tests), ("dev", chosen.examples)):
        for name, questions in of_split.items():
            for language in LANGUAGES:
                found = [rows[name](wording(language), split, n, *q) for n, q in enumerate(questions)]
                table = pl.DataFrame(found)
                tables[name][language, split] = table.cast(
                    {c: kind for c, kind in nullable.items() if name == "cldr10"}
                )
    return tables


def _four_options(words: Wording, split: str, number: int, fact: Fact, codes: Sequence[str]) -> dict[str, Any]:
    texts = words.options(fact.subject, codes)
    return {
        "sample_id": f"{fact.subject}/{split}/{number}",
        "subject": fact.subject,
        "subject_category": CATEGORIES[fact.subject],
        "question": words.question(fact),
        **{f"option_{letter.lower()}": text for letter, text in zip("ABCD", texts, strict=True)},
        "answer": LETTERS[codes.index(fact.answer)],
        "cultural_sensitivity_label": "-",  # as in Global-MMLU where nobody annotated it
    }


def _ten_options(words: Wording, split: str, number: int, fact: Fact, codes: Sequence[str]) -> dict[str, Any]:
    texts = words.options(fact.subject, codes)
    right = codes.index(fact.answer)
    return {
        "question_id": number if split == "test" else 10_000 + number,
        "question": words.question(fact),
        **{f"option_{position}": texts[position] if position < len(texts) else None for position in range(10)},
        "answer": LETTERS[right],
        "answer_index": right,
        "category": CATEGORIES[fact.subject],
        "src": f"cldr-{fact.subject}",
    }


def _write_instruction_set(folder: Path, name: str, rows: Sequence[dict[str, Any]]) -> None:
    """A folder as on the Hub: train.jsonl and a card."""
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    files.write_text(folder / "train.jsonl", "\n".join(lines) + "\n")
    _write_card(folder, name, {("default", "train"): "train.jsonl"}, "An instruction set")


def _write_benchmark(
    folder: Path, name: str, tables: dict[tuple[str, str], pl.DataFrame], made_by: dict[str, Any]
) -> None:
    """A folder as on the Hub: one configuration a language, splits test and dev, and a card."""
    for (language, split), table in tables.items():
        files.write_parquet(table, folder / language / f"{split}-00000-of-00001.parquet", made_by)
    _write_card(folder, name, {key: "{}/{}-*".format(*key) for key in tables}, "A benchmark")


def _write_card(folder: Path, name: str, paths: dict[tuple[str, str], str], what: str) -> None:
    """README.md, whose head names the files of each (configuration, split)."""
    lines = ["---", "configs:"]
    for configuration in dict.fromkeys(configuration for configuration, _ in paths):
        lines += [f"- config_name: {configuration}", "  data_files:"]
        for (of, split), path in paths.items():
            lines += [f"  - split: {split}", f"    path: {path}"] if of == configuration else []
    text = f"{what} for the demonstration of CalGrid, made from facts of the CLDR {CLDR_VERSION}; not a published one."
    files.write_text(folder / "README.md", "\n".join([*lines, "---", f"# {name}", text, LICENCE, ""]))
