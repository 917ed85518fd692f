"""The printed numbers: the files, what is refused, what follows from them, and the claims."""

import io
from contextlib import redirect_stdout

import polars as pl
import pytest

import check_paper
from calgrid.errors import UserError
from calgrid.paper import claims, consistency, published
from support.workflow import ROOT


@pytest.fixture(scope="module")
def printed():
    return published.read()


@pytest.fixture(scope="module")
def found(printed):
    return consistency.findings(printed)


@pytest.fixture
def folder(tmp_path):
    for path in published.FOLDER.glob("*.csv"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def test_the_files_are_those_that_were_given(shared_data):
    for name in (published.LANGUAGE_TABLES, published.OVERALL_TABLE):
        assert (published.FOLDER / name).read_bytes() == (shared_data / "paper" / name).read_bytes()


def test_rows_and_names(printed):
    assert len(printed.languages) == (42 + 29) * 30
    assert len(printed.overall) == 2 * 21
    assert set(printed.languages.filter(sft="base")["smoothing"]) == {"none"}
    assert set(printed.languages.filter(pl.col("sft") != "base")["smoothing"]) == {"0.0", "0.1", "0.2"}
    assert set(printed.overall["language"]) == {"all"}
    long = published.long(printed.languages)
    assert len(long) == 4 * len(printed.languages)
    row = long.filter(table=3, model="gemma2-2b", sft="alpaca", smoothing="0.0").rows_by_key("metric", named=True)
    assert {metric: value[0]["value"] for metric, value in row.items()} == {
        "accuracy": 0.287,
        "entropy": 1.484,
        "ece": 0.138,
        "rms_gce": 0.145,
    }


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        (
            published.LANGUAGE_TABLES,
            '"",0.268,1.886',
            '"",0.2G8,1.886',
            r"line 2: accuracy is '0\.2G8', expected a number",
        ),
        (published.LANGUAGE_TABLES, '"",0.268,1.886', '"",nan,1.886', "line 2: accuracy is 'nan', expected a number"),
        (
            published.LANGUAGE_TABLES,
            '"",0.268,1.886',
            '"",1.268,1.886',
            "line 2: accuracy is 1.268, expected at most 1;",
        ),
        (published.LANGUAGE_TABLES, '"",0.268,1.886', '"",0.268,2.1', "line 2: entropy is 2.1, expected at most log2"),
        (
            published.LANGUAGE_TABLES,
            "3,global_mmlu,am",
            "3,mmlu,am",
            "line 2: benchmark is 'mmlu', expected one of global",
        ),
        (published.LANGUAGE_TABLES, "3,global_mmlu,am", "3,global_mmlu,", "line 2: language is '', expected a name"),
        (published.LANGUAGE_TABLES, "alpaca,0.0", "alpaca,", "line 5: smoothing is '', expected a number in"),
        (
            published.LANGUAGE_TABLES,
            "alpaca,0.0",
            "alpaca,0.1",
            "benchmark is 'global_mmlu', expected each combination of",
        ),
        (
            published.LANGUAGE_TABLES,
            "alpaca,0.0",
            "alpaca,0.3",
            "table 3 has 30 rows of 1 languages, expected 31 of one",
        ),
        (published.LANGUAGE_TABLES, "accuracy", "acc", "column 'acc' is missing or unknown; expected table, benchmark"),
        (
            published.OVERALL_TABLE,
            "gemma2-2b,base",
            "gemma-2b,base",
            "line 2: model is 'gemma-2b', expected a row that the",
        ),
        (
            published.BENCHMARKS,
            "mmlu,42",
            "mmlu,41",
            r"benchmark global_mmlu has 42 languages, benchmarks.csv says 41;",
        ),
        (published.BENCHMARKS, "mmlu,42", "mmlu,4.2", "line 2: languages is '4.2', expected a number"),
    ],
)
def test_a_damaged_file_is_named(folder, name, old, new, message):
    text = (folder / name).read_text()
    assert old in text
    (folder / name).write_text(text.replace(old, new, 1))
    with pytest.raises(UserError, match=message) as error:
        published.read(folder)
    assert name in str(error.value)
    assert "restore" in str(error.value) or "column" in message


def test_a_missing_or_torn_file_is_named(folder):
    (folder / published.OVERALL_TABLE).write_text('table,"benchm\n1')
    with pytest.raises(UserError, match=r"table_2_overall.csv: "):
        published.read(folder)
    (folder / published.OVERALL_TABLE).unlink()
    with pytest.raises(UserError, match=r"table_2_overall.csv: no such file; restore data/paper from"):
        published.read(folder)


def test_entropy_is_in_bits(found):
    numbers = found["unit"].numbers
    assert numbers["global_mmlu.max"] == 1.956
    assert numbers["mmlu_prox.max"] > 3.1
    assert min(numbers["global_mmlu.above_nats"], numbers["mmlu_prox.above_nats"]) > 500


def test_the_overall_table_pools(found, printed):
    numbers = found["pooling"].numbers
    assert numbers["rows"] == numbers["ece.not_above"] == 21
    assert (numbers["entropy.same"], numbers["odd"]) == (19, 2)  # the two rows of mistral-7b on alpaca
    text = "\n".join(found["pooling"].lines)
    assert "ECE 0.051 against 0.053" in text
    assert "ECE 0.023 against 0.030" in text
    assert text.count("does not fit: mistral-7b on alpaca") == 2


def test_the_other_overall_table_follows_from_no_average(found):
    numbers = found["no_overall"].numbers
    assert numbers["mmlu_prox.entropy.outside"] == numbers["mmlu_prox.rows"] == 21
    assert numbers["mmlu_prox.accuracy.outside"] == 14
    assert "accuracy 0.137 against a mean of 0.114, entropy 1.361 against 3.134" in "\n".join(found["no_overall"].lines)


def test_the_rms_column(found):
    numbers = found["rms"].numbers
    assert round(100 * numbers["global_mmlu.below"]) == 31
    assert round(100 * numbers["mmlu_prox.below"]) == 20
    assert numbers["fall"] == pytest.approx(42**0.25, abs=0.05)
    assert (numbers["fits"], numbers["rows"]) == (2129, 2130)


def test_misprinted_labels(found, printed):
    numbers = found["labels"].numbers
    assert (numbers["smoothing"], numbers["language"], numbers["ordered"]) == (3, 30, 639)
    text = "\n".join(found["labels"].lines)
    assert "Table 62, 30 rows: printed as language rj; it stands between pt and sr, so it is ru" in text
    assert set(printed.languages.filter(printed_as="smoothing 0.1")["smoothing"]) == {"0.2"}


@pytest.mark.parametrize(
    ("claim", "benchmark", "share"),
    [
        ("tuning_raises_ece", "global_mmlu", 91),
        ("tuning_raises_ece", "mmlu_prox", 79),
        ("tuning_lowers_entropy", "global_mmlu", 100),
        ("tuning_lowers_entropy", "mmlu_prox", 87),
        ("smoothing_0.1_lowers_ece", "global_mmlu", 95),
        ("smoothing_0.1_lowers_ece", "mmlu_prox", 91),
        ("smoothing_0.2_lowers_ece", "global_mmlu", 92),
        ("smoothing_0.2_lowers_ece", "mmlu_prox", 86),
        ("smoothing_0.1_lowers_ece_significantly", "global_mmlu", 100),
        ("smoothing_0.1_lowers_ece_significantly", "mmlu_prox", 100),
    ],
)
def test_direction_of_the_claims(found, claim, benchmark, share):
    assert round(100 * found["claims"].numbers[f"{claim}.{benchmark}"]) == share


def test_accuracy_and_significance(found):
    numbers = found["claims"].numbers
    assert numbers["smoothing_0.1_keeps_accuracy.global_mmlu"] == pytest.approx(-0.001, abs=5e-4)
    assert numbers["smoothing_0.1_keeps_accuracy.mmlu_prox"] == pytest.approx(0.012, abs=5e-4)
    assert numbers["smoothing_0.1_lowers_ece_significantly.pairs"] == 18


def rows(metric, **values):
    """Numbers of one model and SFT set: {arm: values over languages}."""
    arms = {"base": ("base", "none"), "plain": ("s", "0.0"), "tenth": ("s", "0.1")}
    return pl.DataFrame(
        [
            ("b", f"l{i}", "m", *arms[arm], metric, value)
            for arm, numbers in values.items()
            for i, value in enumerate(numbers)
        ],
        schema=[*published.ROW, "metric", "value"],
        orient="row",
    )


def test_a_claim_by_hand():
    numbers = rows("ece", base=[0.1, 0.1, 0.1], plain=[0.2, 0.3, 0.1], tenth=[0.1, 0.35])
    weighed = claims.weigh(numbers).filter(model="m").rows_by_key("claim", named=True, unique=True)
    raises = weighed["tuning_raises_ece"]
    assert (raises["n"], raises["holds"]) == (3, True)
    assert raises["result"] == pytest.approx(2 / 3)  # no change is not a rise
    assert raises["mean_change"] == pytest.approx(0.1)
    lowers = weighed["smoothing_0.1_lowers_ece"]
    assert (lowers["n"], lowers["result"], lowers["holds"]) == (2, 0.5, False)  # a half is no majority
    assert weighed["smoothing_0.1_lowers_ece_significantly"]["holds"] is False
    assert "smoothing_0.2_lowers_ece" not in weighed


def test_no_test_and_wrong_direction():
    single = claims.weigh(rows("ece", plain=[0.2], tenth=[0.1])).filter(claim="smoothing_0.1_lowers_ece_significantly")
    assert single["holds"].to_list() == [None, None]
    assert single["result"].to_list() == [None, None]
    up = claims.weigh(rows("ece", plain=[0.2, 0.21, 0.2], tenth=[0.3, 0.32, 0.31]))
    tested = up.filter(claim="smoothing_0.1_lowers_ece_significantly", model="m").row(0, named=True)
    assert tested["result"] < 0.05
    assert tested["holds"] is False


def test_what_hardly_is():
    for change, holds in ((0.019, True), (0.021, False), (-0.021, False)):
        weighed = claims.weigh(rows("accuracy", plain=[0.5, 0.6], tenth=[0.5 + change, 0.6 + change]))
        assert weighed.filter(claim="smoothing_0.1_keeps_accuracy")["holds"].to_list() == [holds, holds]


def test_the_program_prints_what_the_documentation_shows():
    output = io.StringIO()
    with redirect_stdout(output):
        check_paper.main([])
    assert output.getvalue() in (ROOT / "docs/paper.md").read_text()


def test_the_program_reads_another_folder(folder):
    (folder / published.BENCHMARKS).unlink()
    with pytest.raises(UserError, match="no such file"):
        check_paper.main(["--paper", str(folder)])
