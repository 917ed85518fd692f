"""Metrics of a cell from its scores, and what is refused in scores."""

from dataclasses import asdict

import numpy as np
import polars as pl
import pytest

import measure_cell as program
from calgrid import calibration
from calgrid.cell import Cell
from calgrid.errors import UserError
from calgrid.measure.cell import measure
from calgrid.measure.questions import judge
from calgrid.scoring import confidence, stored
from calgrid.store import files, reading
from support.synthetic_store import SCORE_SCHEMA, Store

CELL = "model=m/sft=s/smoothing=0.1/lr=1e-5/seed=0"


def question(**changes):
    row = {
        "language": "en",
        "question_id": "q1",
        "answer": 0,
        "n_options": 3,
        "prompt_tokens": 9,
        "logprob_sum": [-2.0, -6.0, -3.0],
        "logprob_min": [-1.0, -2.0, -3.0],
        "n_tokens": [1, 4, 1],
        "n_bytes": [2, 12, 1],
        "letter_logprob": [-1.0, -0.5, -2.0],
    }
    return {**row, **changes}


def write(tmp_path, *rows, shard="all"):
    path = tmp_path / f"benchmark=b/{CELL}/{shard}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(list(rows), schema=SCORE_SCHEMA).write_parquet(path)
    return path


def softmax(values):
    return np.exp(values) / np.exp(values).sum()


@pytest.mark.parametrize(
    ("method", "values"),
    [
        ("perplexity", [-2.0, -1.5, -3.0]),
        ("sum", [-2.0, -6.0, -3.0]),
        ("min", [-1.0, -2.0, -3.0]),
        ("choice", [-1.0, -0.5, -2.0]),
        ("bytes", [-1.0, -0.5, -3.0]),
    ],
)
def test_confidence_methods(tmp_path, method, values):
    path = write(tmp_path, question(), question(question_id="q2", n_options=2, **{
        name: question()[name][:2] for name in ("logprob_sum", "logprob_min", "n_tokens", "n_bytes", "letter_logprob")
    }))  # fmt: skip
    scores = stored.read_scores([path], ["en"])
    logits, n_options = confidence.option_values(scores, method)
    p = calibration.distribution(logits, n_options)
    assert p[0] == pytest.approx(softmax(np.array(values)))
    assert p[1] == pytest.approx([*softmax(np.array(values[:2])), 0.0])
    judged = judge(scores, method)
    assert judged.confidence[0] == pytest.approx(softmax(np.array(values)).max())
    assert judged.correct.tolist() == [bool(np.argmax(values) == 0), bool(np.argmax(values[:2]) == 0)]


ATTRIBUTES = stored.QUESTION_ATTRIBUTES
TIERS = {"high": ["en", "de"], "low": ["sw", "yo"]}


def plain(scores, method, n_bins):
    """Each metric by its plain function of `calibration`."""
    values, n_options = confidence.option_values(scores, method)
    p, answers = calibration.distribution(values, n_options), scores["answer"].to_numpy().astype(int)
    c, hits = calibration.confidence(p), calibration.correct(p, answers, n_options)
    return {
        "n_questions": len(scores),
        "n_languages": scores["language"].n_unique(),
        "accuracy": hits.mean(),
        "entropy": calibration.entropy(p).mean(),
        "confidence": c.mean(),
        "overconfidence": calibration.overconfidence(c, hits),
        "nll": calibration.nll(p, answers).mean(),
        "brier": calibration.brier(p, answers).mean(),
        "ece": calibration.ece(c, hits, n_bins),
        "expected_ece": calibration.expected_ece(c, n_bins),
        "mce": calibration.mce(c, hits, n_bins),
        "sce": calibration.sce(p, answers, n_options, n_bins),
        "ace": calibration.ace(p, answers, n_options, n_bins),
        "rms": calibration.rms(c, hits, n_bins),
        "mad": calibration.mad(c, hits, n_bins),
        "rms_gce": calibration.rms_gce(c, hits),
        "smooth_ece": calibration.smooth_ece(c, hits),
        "debiased_squared_error": calibration.debiased_squared_error(c, hits, n_bins),
        "tie_share": calibration.tied(p).mean(),
    }


def of_group(scores, grouping, language, member):
    """The questions of a group, by what its name says."""
    if language != "all":
        scores = scores.filter(language=language)
    if grouping in ("pooled", "language"):
        return scores
    if grouping == "tier":
        return scores.filter(pl.col("language").is_in(TIERS[member]))
    return scores.filter(pl.col(grouping.removesuffix("_by_language")).cast(str) == member)


@pytest.mark.parametrize("rounded", [False, True], ids=["", "with ties"])
@pytest.mark.parametrize("name", ["four", "ten"])
def test_each_group_is_measured_as_if_it_were_alone(tmp_path, name, rounded):
    grid = Store(tmp_path, models=("m",), sft=(), n_questions=250).build_scores()
    scores = stored.read_scores(grid.scores(name), grid.languages, attributes=ATTRIBUTES)
    if rounded:  # a few values only: ties within questions, between them and over the edges of equal-mass bins
        scores = scores.with_columns(pl.col("letter_logprob").list.eval(pl.element().round(0)))
    found = measure(scores, [30, 10, 15, 7], TIERS, ["choice", "perplexity"])
    groupings = found["grouping"].unique(maintain_order=True).to_list()
    expected = ["pooled", "language", "tier", "category", "category_by_language", "subject", "cultural_sensitivity"]
    assert groupings == (expected if name == "four" else [*expected, "n_options"])
    assert found.select("grouping", "language", "member", "confidence_method", "n_bins").is_duplicated().sum() == 0
    for row in found.iter_rows(named=True):
        part = of_group(scores, row["grouping"], row["language"], row["member"])
        for metric, value in plain(part, row["confidence_method"], row["n_bins"]).items():
            assert row[metric] == pytest.approx(value, abs=1e-12), (metric, row)


def test_questions_without_a_label_are_in_no_group_of_labels(tmp_path):
    grid = Store(tmp_path, models=("m",), sft=(), n_questions=30).build_scores()
    scores = stored.read_scores(grid.scores("four"), grid.languages, attributes=ATTRIBUTES)
    found = measure(scores, [30], {"high": ["en"], "low": ["yo"]}, ["choice"])
    labelled = found.filter(grouping="cultural_sensitivity")
    assert labelled["n_questions"].sum() == scores["cultural_sensitivity"].is_not_null().sum() < len(scores)
    assert dict(found.filter(grouping="tier").select("member", "n_languages").iter_rows()) == {"high": 1, "low": 1}
    alone = measure(scores.with_columns(category=pl.lit("STEM"), subject=pl.lit(None, pl.String)), [30], {}, ["sum"])
    assert set(alone["grouping"]) == {"pooled", "language", "cultural_sensitivity"}  # one category is no grouping


def test_the_program_measures_the_languages_that_it_is_told(tmp_path):
    grid = Store(tmp_path, models=("m",), sft=(), n_questions=30).build_scores()
    (path,) = grid.scores("ten")
    output, cell = tmp_path / "metrics.parquet", Cell("m").path
    flags = [
        "--scores",
        str(path),
        "--languages",
        "yo",
        "en",
        "--measured-bins",
        "15",
        "5",
        "--tiers",
        "high=en",
        "low=sw,yo",
    ]
    program.main([*flags, "--benchmark", "ten", "--cell", cell, "--output", str(output)])
    found = pl.read_parquet(output)
    assert set(found.filter(grouping="language")["language"]) == {"en", "yo"}
    assert set(found["n_bins"]) == {5, 15}
    assert set(found["confidence_method"]) == {"perplexity", "sum", "min", "choice", "bytes"}
    assert found.filter(grouping="tier", confidence_method="sum", n_bins=5)["member"].to_list() == ["high", "low"]
    expected = measure(
        stored.read_scores([path], ["en", "yo"], attributes=ATTRIBUTES), [15, 5], {"high": ["en"], "low": ["yo"]}
    )
    assert found.equals(expected)
    assert files.read_provenance(output)["cell"]["model"] == "m"


def test_ties_are_reported(tmp_path):
    path = write(tmp_path, question(letter_logprob=[-1.0, -1.0, -1.0]), question(question_id="q2"))
    found = measure(stored.read_scores([path], ["en"], attributes=ATTRIBUTES), [30], {}, ["choice"])
    assert found["tie_share"].to_list() == [0.5, 0.5]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"logprob_sum": [-1.0, float("nan"), -1.0]}, "logprob_sum is .*nan.*, expected finite values"),
        ({"logprob_min": [-1.0, -float("inf"), -1.0]}, "logprob_min is .*inf.*, expected finite values"),
        ({"letter_logprob": [-1.0, None, -1.0]}, "letter_logprob is .*None.*, expected finite values"),
        ({"letter_logprob": None}, "letter_logprob is None, expected one value an option"),
        ({"logprob_sum": [-1.0, -2.0]}, "logprob_sum is .*, expected one value an option"),
        ({"n_tokens": [1, 0, 2]}, "n_tokens is .*, expected a positive count"),
        ({"answer": 3}, "answer is 3, expected the index of an option"),
        ({"n_options": 1}, "n_options is 1, expected at least 2 options"),
    ],
)
def test_bad_scores_name_file_language_and_question(tmp_path, changes, message):
    path = write(tmp_path, question(), question(question_id="q7", **changes))
    with pytest.raises(UserError, match=f"all.parquet: language 'en', question 'q7': {message}"):
        stored.read_scores([path], ["en"])


def test_a_language_without_questions_is_an_error(tmp_path):
    path = write(tmp_path, question())
    with pytest.raises(UserError, match=r"language 'yo' has no questions in .*all.parquet"):
        stored.read_scores([path], ["en", "yo"])


def test_a_question_in_two_shards_is_an_error(tmp_path):
    paths = [write(tmp_path, question(), shard=shard) for shard in ("high", "low")]
    with pytest.raises(UserError, match="language 'en', question 'q1' occurs more than once"):
        stored.read_scores(paths, ["en"])


def test_unreadable_files(tmp_path):
    with pytest.raises(UserError, match="no such file; the stage that writes it has not run"):
        reading.read_table(tmp_path / "none.parquet")
    (tmp_path / "half.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(UserError, match=r"half.parquet: not readable as Parquet"):
        reading.read_table(tmp_path / "half.parquet")
    pl.DataFrame({"language": ["en"]}).write_parquet(tmp_path / "other.parquet")
    with pytest.raises(UserError, match=r"other.parquet: no column"):
        stored.read_scores([tmp_path / "other.parquet"], ["en"])
    with pytest.raises(UserError, match="no benchmark="):
        reading.benchmark_of(tmp_path / "other.parquet")
    with pytest.raises(UserError, match="not the path of a cell"):
        reading.cell_of(tmp_path / "other.parquet")


def test_a_damaged_shard_is_refused(tmp_path):
    (path,) = Store(tmp_path, models=("m",), sft=(), benchmarks=(("four", 4, 4),)).build_scores().scores("four")
    whole = path.read_bytes()
    for damaged in (whole[:-1], whole[:5000], whole[:400] + bytes([whole[400] ^ 1]) + whole[401:], b""):
        path.write_bytes(damaged)
        with pytest.raises(
            UserError, match=r"all.parquet: (damaged|not readable as Parquet) .*; delete it and run again"
        ):
            stored.read_scores([path], ["en"])


def test_the_shard_of_another_cell_is_refused(tmp_path):
    grid = Store(tmp_path, models=("m",), sft=(), benchmarks=(("four", 4, 4),)).build_scores()
    (path,) = grid.scores("four")
    for made_by, message in (
        ({"cell": asdict(Cell("other"))}, "its provenance says model 'other': a file of another place"),
        ({"cell": asdict(Cell("m")), "benchmark": "ten"}, "its provenance says benchmark 'ten'"),
    ):
        files.write_parquet(pl.read_parquet(path, hive_partitioning=False), path, made_by)
        with pytest.raises(UserError, match=message):
            stored.read_scores([path], ["en"])
        with pytest.raises(UserError, match=message):
            reading.read_metrics([path])


def test_values_of_paths_stay_strings(tmp_path):
    """`1e-5`, `0.0` and a seed `01` come back as they stand in the path, in the file's name too."""
    cell = Cell("7", "s", "0.0", "1e-5", "01")
    path = tmp_path / f"results/metrics/benchmark=b/{cell.path}.parquet"
    path.parent.mkdir(parents=True)
    pl.DataFrame({"language": ["en"], "ece": [0.1]}).write_parquet(path)
    assert reading.cell_of(path) == cell
    row = reading.read_metrics([path]).row(0, named=True)
    assert row == {"language": "en", "ece": 0.1, "benchmark": "b", **vars(cell)}


def test_one_line_of_polars_reads_every_score(tmp_path):
    """The query that the README shows: cell fields as strings, whether base cells are among them or not."""
    grid = Store(tmp_path, models=("m",), sft=("s",), n_questions=3).build_scores()
    fields = ("benchmark", "model", "sft", "smoothing", "lr", "seed")
    for pattern in ("results/scores/**/*.parquet", "results/scores/*/*/sft=s/**/*.parquet"):
        scores = pl.scan_parquet(
            grid.root / pattern, hive_partitioning=True, hive_schema=dict.fromkeys(fields, pl.String)
        )
        assert scores.filter(pl.col("smoothing") == "0.1").select(pl.len()).collect().item() == 2 * 2 * 4 * 3
        assert {scores.collect_schema()[field] for field in fields} == {pl.String}
