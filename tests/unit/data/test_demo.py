"""The demonstration data against Babel and against its own promises."""

import json
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import datasets
import polars as pl
import pytest
from babel import Locale
from babel.core import get_global

import make_demo_data
from calgrid.data import cldr
from calgrid.data.cldr import Fact, arguable_answers, facts, wording
from calgrid.data.demo import (
    EXAMPLES,
    LANGUAGES,
    TEST_SHARES,
    TIERS,
    DemoSettings,
    benchmarks,
    choose_facts,
    corpus,
    instruction_sets,
    write_demo_data,
)
from calgrid.errors import UserError

SMALL = DemoSettings(rounds=4, sft_rows=60, questions=40, territories=30)
SETS = {"cldr-alpaca", "cldr-sharegpt", "cldr-messages"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("demo") / "data"
    write_demo_data(path, SMALL)
    return path


def questions(folder: Path, benchmark: str, language: str) -> list[dict]:
    return list(datasets.load_dataset(str(folder / "benchmarks" / benchmark), language, split="test"))


def options(row: dict) -> list[str]:
    names = [f"option_{letter}" for letter in "abcd"] if "option_a" in row else [f"option_{n}" for n in range(10)]
    return [row[name] for name in names if row[name] is not None]


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_fact_is_what_babel_says(language: str) -> None:
    locale, words = Locale.parse(language), wording(language)
    months, days = list(locale.months["format"]["wide"].values()), [locale.days["format"]["wide"][n] for n in range(7)]
    for fact in facts(LANGUAGES):
        answer = words.answer(fact)
        if fact.subject == "currency":
            current = [e[0] for e in get_global("territory_currencies")[fact.key] if e[2] is None and e[3]]
            assert [locale.currencies[code] for code in current] == [answer]
        elif fact.subject == "language":
            spoken = get_global("territory_languages")[fact.key]
            official = [c for c, e in spoken.items() if e["official_status"] in ("official", "de_facto_official")]
            assert [locale.languages[code] for code in official] == [answer]
        elif fact.subject == "month":
            assert answer == months[(months.index(words.key(fact)) + fact.steps) % 12]
        else:
            assert answer == days[(days.index(words.key(fact)) + fact.steps) % 7]
        if not fact.steps:
            assert words.key(fact) == locale.territories[fact.key]
            assert fact.key not in words.question(fact).split()  # a name, not the code
        assert words.statement(fact) == words.question(fact).removesuffix("?") + answer


def test_the_names_of_a_locale_do_not_depend_on_those_loaded_before() -> None:
    """Babel 2.18 mixes up the stand-alone names of locales that are loaded one after the other."""
    program = "import json, sys; from calgrid.data.cldr import wording; print(json.dumps(wording(sys.argv[1]).names))"
    for language in ("id", "yo"):
        alone = subprocess.run(
            [sys.executable, "-c", program, language],
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(cldr.__file__).parents[2],
        )
        assert json.loads(alone.stdout) == wording(language).names


def test_durations_are_the_locales_own_words() -> None:
    month, day = Fact("month", "1", 2, "3"), Fact("weekday", "0", 1, "1")
    assert [wording(c).duration(month) for c in ("en", "ro", "sw", "yo")] == ["2 months", "2 luni", "miezi 2", "2 oṣù"]
    assert [wording(c).duration(day) for c in ("en", "ro", "sw", "yo")] == ["1 day", "1 zi", "siku 1", "ọj 1"]


def test_territories_with_several_currencies_or_languages_state_no_fact() -> None:
    keys = {(fact.subject, fact.key) for fact in facts(("en",))}
    assert ("language", "CH") not in keys  # German, French, Italian, Romansh
    assert ("language", "BR") in keys
    assert ("currency", "BT") not in keys  # ngultrum and rupee
    assert ("currency", "BR") in keys


def test_a_name_that_a_locale_lacks_or_uses_twice_is_left_out() -> None:
    # Shona has names for few currencies, and none for most.
    fewer = {fact.key for fact in facts(("en", "sn")) if fact.subject == "currency"}
    assert fewer < {fact.key for fact in facts(("en",)) if fact.subject == "currency"}
    for language in LANGUAGES:
        words = wording(language)
        for subject in ("currency", "language", "month", "weekday"):
            answers = {fact.answer for fact in facts(LANGUAGES) if fact.subject == subject}
            assert len({words.names[subject][answer] for answer in answers}) == len(answers)


@pytest.mark.parametrize("language", ["xx", "not a language", ""])
def test_an_unknown_language_is_refused(language: str) -> None:
    with pytest.raises(UserError, match="choose one that CLDR has a locale for"):
        wording(language)


def test_a_language_without_month_names_is_refused() -> None:
    with pytest.raises(UserError, match="CLDR has no names of months"):
        wording("jbo")


@pytest.mark.parametrize("benchmark", ["cldr4", "cldr10"])
def test_one_right_answer_and_no_option_twice(folder: Path, benchmark: str) -> None:
    chosen = choose_facts(SMALL)
    for language in LANGUAGES:
        words, rows = wording(language), questions(folder, benchmark, language)
        assert len(rows) == SMALL.questions == len(chosen.tests[benchmark])
        for row, (fact, codes) in zip(rows, chosen.tests[benchmark], strict=True):
            texts = options(row)
            assert len(set(texts)) == len(texts) == len(codes)
            assert texts["ABCDEFGHIJ".index(row["answer"])] == words.answer(fact)
            assert arguable_answers(fact) & set(codes) == {fact.answer}
            assert row["question"] == words.question(fact)


def test_the_layouts_are_those_of_the_published_benchmarks(folder: Path) -> None:
    four, ten = questions(folder, "cldr4", "yo"), questions(folder, "cldr10", "yo")
    assert {"sample_id", "subject", "subject_category", "question", "answer", "cultural_sensitivity_label"} < set(
        four[0]
    )
    assert {"question_id", "question", "answer", "answer_index", "category"} < set(ten[0])
    assert all(row["answer"] == "ABCDEFGHIJ"[row["answer_index"]] for row in ten)
    assert {len(options(row)) for row in four} == {4}
    assert {3, 10} <= {len(options(row)) for row in ten} <= set(range(3, 11))


@pytest.mark.parametrize(("benchmark", "key"), [("cldr4", "sample_id"), ("cldr10", "question_id")])
def test_a_question_has_one_id_in_all_languages(folder: Path, benchmark: str, key: str) -> None:
    rows = {language: questions(folder, benchmark, language) for language in LANGUAGES}
    assert len({row[key] for row in rows["en"]}) == SMALL.questions
    for language in LANGUAGES:
        assert [(row[key], row["answer"]) for row in rows[language]] == [(r[key], r["answer"]) for r in rows["en"]]


@pytest.mark.parametrize("benchmark", ["cldr4", "cldr10"])
def test_the_examples_ask_for_facts_that_no_test_asks_for(benchmark: str) -> None:
    chosen = choose_facts(DemoSettings())
    examples = chosen.examples[benchmark]
    assert Counter(fact.subject for fact, _ in examples) == dict.fromkeys(TEST_SHARES, EXAMPLES)
    assert not {fact for fact, _ in examples} & {fact for fact, _ in chosen.tests[benchmark]}
    tables = benchmarks(chosen)[benchmark]
    assert {len(table) for (_, split), table in tables.items() if split == "dev"} == {len(examples)}
    key = "sample_id" if benchmark == "cldr4" else "question_id"
    assert not {*tables["yo", "dev"][key]} & {*tables["yo", "test"][key]}


def test_high_resource_languages_are_frequent_and_low_ones_rare(folder: Path) -> None:
    counts = Counter(pl.read_parquet(folder / "corpus.parquet")["language"].to_list())
    low, mid, high = (min(counts[c] for c in TIERS[t][0]) for t in ("low", "mid", "high"))
    assert set(counts) == set(LANGUAGES)
    assert high >= 2 * mid > 2 * low > 0
    assert "yo" in TIERS["low"][0] and len(TIERS["low"][0]) >= 4


def test_every_fact_is_stated_in_every_language(folder: Path) -> None:
    """What is measured is knowledge: it has to be there to be learnt."""
    texts = pl.read_parquet(folder / "corpus.parquet")
    for language in LANGUAGES:
        words = wording(language)
        text = "\n".join(texts.filter(language=language)["text"])
        for fact in choose_facts(SMALL).known:
            question, answer = words.question(fact), words.answer(fact)
            told = (words.statement(fact), f"{question}\n{answer}", f"{question}\nAnswer: {answer}")
            assert any(line in text for line in told) or language == "en"


def listed(text: str) -> tuple[str, frozenset[str]]:
    """A multiple-choice text's question line and its set of options."""
    lines = text.split("\n")
    found = {line[3:] for line in lines[1:] if line[:1] in "ABCDEFGHIJ" and line[1:3] == ". "}
    return lines[0], frozenset(found)


def test_no_test_question_stands_in_the_corpus_with_its_options(folder: Path) -> None:
    seen = {listed(text) for text in pl.read_parquet(folder / "corpus.parquet")["text"]}
    assert any(found for _, found in seen)
    for benchmark in ("cldr4", "cldr10"):
        for language in LANGUAGES:
            asked = {(row["question"], frozenset(options(row))) for row in questions(folder, benchmark, language)}
            assert not asked & seen


def test_no_tested_fact_stands_in_an_instruction_set(folder: Path) -> None:
    chosen = choose_facts(SMALL)
    tested = {fact for fact, _ in chosen.asked}
    assert len(tested) == SMALL.questions and not tested & set(chosen.untested)
    asked = {wording(language).question(fact) for language in LANGUAGES for fact in tested}
    for name in SETS:
        lines = (folder / "sft" / name / "train.jsonl").read_text(encoding="utf-8")
        for text in (text for line in lines.splitlines() for text in strings(json.loads(line))):
            assert text.split("\n")[0] not in asked


def strings(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    values = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return [text for inner in values for text in strings(inner)]


def test_the_instruction_sets_are_three_layouts(folder: Path) -> None:
    rows = {name: datasets.load_dataset(str(folder / "sft" / name), split="train") for name in SETS}
    assert {table.num_rows for table in rows.values()} == {SMALL.sft_rows}
    assert rows["cldr-alpaca"].column_names == ["instruction", "input", "output"]
    assert all(row["instruction"] and row["output"] for row in rows["cldr-alpaca"])
    roles = Counter(turn["from"] for row in rows["cldr-sharegpt"] for turn in row["conversations"])
    assert set(roles) == {"system", "human", "gpt"} and roles["human"] == roles["gpt"] > SMALL.sft_rows
    assert {tuple(t["role"] for t in row["messages"]) for row in rows["cldr-messages"]} == {("user", "assistant")}


def test_the_instruction_sets_are_mostly_english() -> None:
    sets = instruction_sets(choose_facts(SMALL), SMALL.model_copy(update={"sft_rows": 400}))
    english = wording("en")
    answers = {
        name for subject in ("currency", "language", "month", "weekday") for name in english.names[subject].values()
    }
    replies = [row["messages"][1]["content"].removeprefix("Answer: ") for row in sets["cldr-messages"]]
    share = sum(reply in answers for reply in replies) / sum(len(reply) > 1 for reply in replies)
    assert 0.85 < share < 0.97


def test_the_same_seed_gives_the_same_files_and_another_one_does_not(folder: Path, tmp_path: Path) -> None:
    write_demo_data(tmp_path / "again", SMALL)
    first = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    again = sorted(p.relative_to(tmp_path / "again") for p in (tmp_path / "again").rglob("*") if p.is_file())
    assert first == again
    assert all((folder / path).read_bytes() == (tmp_path / "again" / path).read_bytes() for path in first)
    other = corpus(choose_facts(SMALL), SMALL.model_copy(update={"seed": 1}))
    assert not other.equals(pl.read_parquet(folder / "corpus.parquet"))


def test_too_many_territories_or_questions_are_refused() -> None:
    with pytest.raises(UserError, match=r"--territories 300: CLDR has .* ask for fewer"):
        choose_facts(DemoSettings(territories=300))
    with pytest.raises(UserError, match=r"--questions 400: .* on currency, where there are 40 facts"):
        choose_facts(DemoSettings(questions=400))


def test_the_program_writes_the_folder_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flags = ["--rounds", "4", "--sft-rows", "10", "--questions", "20"]
    make_demo_data.main(["--output", str(tmp_path / "a"), *flags])
    assert {path.name for path in (tmp_path / "a").iterdir()} == {"corpus.parquet", "sft", "benchmarks"}

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("calgrid.data.demo.benchmarks", stop)
    with pytest.raises(KeyboardInterrupt):
        make_demo_data.main(["--output", str(tmp_path / "b"), *flags])
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_wrong_option_is_as_frequent_as_the_answer_it_is() -> None:
    """Else the frequent answer would be told by its frequency alone."""
    from calgrid.data.demo import options as draw

    rng, known = random.Random(0), choose_facts(SMALL).known
    languages = [fact for fact in known if fact.subject == "language"]
    frequent, count = Counter(fact.answer for fact in languages).most_common(1)[0]
    others = [fact for fact in languages if frequent not in arguable_answers(fact)]
    rare = next(a for a, n in Counter(fact.answer for fact in languages).items() if n == 1)
    drawn = Counter(code for fact in others for _ in range(50) for code in draw(rng, fact, known, 4))
    assert count > 1 and drawn[frequent] > 1.3 * drawn[rare]
