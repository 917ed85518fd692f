"""The frame of tests and intervals against plain computations, and what the program refuses."""

import numpy as np
import polars as pl
import pytest
import scipy.stats
from statsmodels.stats.multitest import multipletests

import compare_arms as program
from calgrid import calibration
from calgrid.cell import Cell
from calgrid.errors import UserError
from calgrid.measure import bootstrap
from calgrid.measure.metrics import MEANS, METRICS
from calgrid.measure.questions import judge
from calgrid.measure.significance import FAMILY, INTERVALS, TESTS
from calgrid.scoring import stored
from calgrid.scoring.confidence import CONFIDENCE_METHODS
from calgrid.store import reading

BASE_ARM, PLAIN, SMOOTHED = ("tiny-a", "base", "none"), ("tiny-a", "tulu3", "0.0"), ("tiny-a", "tulu3", "0.2")


@pytest.fixture(scope="module")
def grid(built_store):
    return built_store(sft=("tulu3",), lr=("1e-5",), seeds=("0", "1"), n_questions=40, benchmarks=(("four", 3, 4),))


@pytest.fixture(scope="module")
def tests(grid):
    return pl.read_parquet(grid.significance("four"))


@pytest.fixture(scope="module")
def intervals(grid):
    return pl.read_parquet(grid.intervals("four"))


@pytest.fixture(scope="module")
def measured(grid):
    return reading.read_metrics(grid.metrics("four")).filter(n_bins=30)


def cells(grid, arm):
    model, sft, smoothing = arm
    return [Cell(model)] if sft == "base" else [Cell(model, sft, smoothing, "1e-5", seed) for seed in grid.seeds]


def found(frame, arm, **where):
    """The one row of an arm."""
    rows = frame.filter(**dict(zip(("model", "sft", "smoothing"), arm, strict=True)), **where)
    assert len(rows) == 1
    return rows.row(0, named=True)


def assert_agrees(row, oracle, n):
    assert row["n"] == n
    assert row["statistic"] == pytest.approx(oracle.statistic, rel=1e-8)
    assert row["p"] == pytest.approx(oracle.pvalue, rel=1e-8)
    assert (row["low"], row["high"]) == pytest.approx(tuple(oracle.confidence_interval()), abs=1e-9)


def by_language(measured, cells, metric, method):
    """The mean over the cells of each language's value."""
    rows = measured.filter(grouping="language", confidence_method=method)
    values = [rows.filter(**vars(cell)).sort("language") for cell in cells]
    return np.mean([frame[metric].to_numpy() for frame in values], axis=0)


def judged(grid, cell, language):
    paths = reading.by_cell(grid.scores("four"), "four")[cell]
    return judge(stored.read_scores(paths, [language]), "perplexity")


def of_questions(grid, arm, language, metric):
    """The mean over the seeds of each question's value; both stores are sorted by question."""
    functions = {
        "accuracy": lambda q: calibration.correct(q.probabilities, q.answers, q.n_options),
        "entropy": lambda q: calibration.entropy(q.probabilities),
        "nll": lambda q: calibration.nll(q.probabilities, q.answers),
    }
    return np.mean([functions[metric](judged(grid, cell, language)) for cell in cells(grid, arm)], axis=0)


def test_the_rows_are_complete(grid, tests, intervals):
    assert dict(tests.schema) == TESTS
    assert dict(intervals.schema) == INTERVALS
    arms = tests.select("model", "smoothing", "against").unique().sort("model", "smoothing", "against")
    against = [("0.0", "base"), ("0.1", "0.0"), ("0.1", "base"), ("0.2", "0.0"), ("0.2", "base")]
    assert arms.rows() == [(model, *pair) for model in ("tiny-a", "tiny_b") for pair in against]
    counts = dict(tests.group_by("test").len().iter_rows())
    languages, comparisons, smoothed = len(grid.languages), 10, 4
    methods = len(CONFIDENCE_METHODS)
    assert counts == {
        "languages": comparisons * methods * len(METRICS),
        "questions": comparisons * (1 + languages) * len(MEANS),
        "bootstrap": comparisons * (2 + languages) * len(bootstrap.BOOTSTRAPPED),
        "seeds": smoothed * methods * 2 * len(METRICS),  # a base model has no seeds
    }
    of_questions = tests.filter(pl.col("test").is_in(["questions", "bootstrap"]))
    assert of_questions["confidence_method"].unique().to_list() == ["perplexity"]
    assert not tests.select("model", "sft", "smoothing", *FAMILY, "language").is_duplicated().any()
    assert not tests["difference"].is_null().any()


@pytest.mark.parametrize(("against", "reference"), [("0.0", PLAIN), ("base", BASE_ARM)])
@pytest.mark.parametrize(("metric", "method"), [("ece", "perplexity"), ("smooth_ece", "bytes"), ("accuracy", "choice")])
def test_over_languages(grid, tests, measured, against, reference, metric, method):
    first, second = (by_language(measured, cells(grid, arm), metric, method) for arm in (SMOOTHED, reference))
    row = found(tests, SMOOTHED, test="languages", metric=metric, confidence_method=method, against=against)
    assert (row["aggregation"], row["language"]) == ("mean_over_languages", "all")
    assert row["difference"] == pytest.approx((first - second).mean(), abs=1e-12)
    assert row["effect"] == pytest.approx((first - second).mean() / (first - second).std(ddof=1), rel=1e-8)
    assert_agrees(row, scipy.stats.ttest_rel(first, second), 4)


@pytest.mark.parametrize("kind", ["independent", "welch"])
def test_over_languages_unpaired(grid, tests, measured, tmp_path, kind):
    run(grid, tmp_path, **{"t-test": [kind]})
    changed = pl.read_parquet(tmp_path / "out.parquet")
    first, second = (by_language(measured, cells(grid, arm), "ece", "sum") for arm in (SMOOTHED, PLAIN))
    where = {"against": "0.0", "metric": "ece", "confidence_method": "sum"}
    oracle = scipy.stats.ttest_ind(first, second, equal_var=kind == "independent")
    assert_agrees(found(changed, SMOOTHED, test="languages", **where), oracle, 4)
    for test in ("questions", "seeds"):  # the flag is of the test over languages
        assert changed.filter(test=test).drop("p_holm").equals(tests.filter(test=test).drop("p_holm"))


@pytest.mark.parametrize(("against", "reference"), [("0.0", PLAIN), ("base", BASE_ARM)])
@pytest.mark.parametrize("metric", ["accuracy", "entropy", "nll"])
def test_over_questions(grid, tests, against, reference, metric):
    differences = {}
    for language in grid.languages:
        first, second = (of_questions(grid, arm, language, metric) for arm in (SMOOTHED, reference))
        differences[language] = first - second
        where = {"test": "questions", "aggregation": "language", "language": language}
        row = found(tests, SMOOTHED, metric=metric, against=against, **where)
        assert_agrees(row, scipy.stats.ttest_rel(first, second), 40)
    pooled = found(tests, SMOOTHED, metric=metric, against=against, test="questions", aggregation="pooled")
    of_question = np.mean(list(differences.values()), axis=0)  # every language has every question
    assert pooled["difference"] == pytest.approx(of_question.mean(), abs=1e-12)
    assert_agrees(pooled, scipy.stats.ttest_rel(of_question, np.zeros(40)), 40)


@pytest.mark.parametrize("aggregation", ["pooled", "mean_over_languages", "language"])
@pytest.mark.parametrize("metric", ["ece", "sce", "rms_gce", "accuracy"])
def test_bootstrap(grid, tests, intervals, measured, aggregation, metric):
    """Both arms by the module, each by hand; the differences are paired by the same resamples."""
    weights, column = bootstrap.resample(40, 200), bootstrap.BOOTSTRAPPED.index(metric)
    arms = []
    for arm in (SMOOTHED, PLAIN):
        seeds = []
        for cell in cells(grid, arm):
            parts = [bootstrap.Part(judged(grid, cell, name), np.arange(40)) for name in sorted(grid.languages)]
            of_language, pooled = bootstrap.bootstrap(parts, weights, 30)
            chosen = {"pooled": pooled, "mean_over_languages": bootstrap.mean(of_language), "language": of_language[3]}
            seeds.append(chosen[aggregation])
        averaged = bootstrap.mean(seeds)
        arms.append((averaged.observed[column], averaged.resampled[:, column]))
    language = "yo" if aggregation == "language" else "all"
    place = {"aggregation": aggregation, "language": language, "metric": metric}
    (value, resampled), (other, others) = arms
    row = found(tests, SMOOTHED, test="bootstrap", against="0.0", **place)
    z = (value - other) / (resampled - others).std(ddof=1)
    assert (row["n"], row["difference"]) == (40, pytest.approx(value - other, abs=1e-12))
    assert row["statistic"] == pytest.approx(z, rel=1e-6)
    assert row["p"] == pytest.approx(2 * scipy.stats.norm.sf(abs(z)), rel=1e-4)
    interval = found(intervals, SMOOTHED, **place)
    assert interval["value"] == pytest.approx(value, abs=1e-12)
    ends = scipy.stats.norm.interval(0.95, value, resampled.std(ddof=1))
    assert (interval["low"], interval["high"]) == pytest.approx(ends, rel=1e-6)
    if aggregation != "pooled":  # and the value is what the metrics file has
        values = by_language(measured, cells(grid, SMOOTHED), metric, "perplexity")
        expected = values.mean() if aggregation == "mean_over_languages" else values[3]
        assert interval["value"] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("grouping", ["pooled", "language"])
def test_over_seeds(grid, tests, measured, grouping):
    aggregation = {"pooled": "pooled", "language": "mean_over_languages"}[grouping]
    rows = measured.filter(model="tiny-a", sft="tulu3", confidence_method="min", grouping=grouping)
    means = rows.group_by("smoothing", "seed").agg(pl.col("rms").mean()).sort("seed")
    first, second = (means.filter(smoothing=smoothing)["rms"].to_numpy() for smoothing in ("0.2", "0.0"))
    row = found(tests, SMOOTHED, test="seeds", aggregation=aggregation, metric="rms", confidence_method="min")
    assert (row["against"], row["difference"]) == ("0.0", pytest.approx((first - second).mean(), abs=1e-12))
    assert_agrees(row, scipy.stats.ttest_rel(first, second), 2)


def test_p_is_corrected_within_each_family(tests):
    families = tests.partition_by(FAMILY)
    chosen = [family for family in families if family["metric"][0] in ("ece", "entropy")]
    some = {(family["test"][0], family["against"][0]): family for family in chosen}  # statsmodels is slow
    assert {test for test, _ in some} == {"languages", "questions", "bootstrap", "seeds"}
    for family in some.values():
        expected = multipletests(family["p"].to_numpy(), method="holm")[1]
        assert family["p_holm"].to_numpy() == pytest.approx(expected, abs=1e-12)
    sizes = {(f["test"][0], f["aggregation"][0], f["against"][0]): len(f) for f in chosen}
    assert sizes["questions", "language", "base"] == 2 * 3 * 4  # models, smoothings and languages
    assert sizes["bootstrap", "pooled", "0.0"] == 2 * 2
    assert tests.filter(pl.col("p_holm") < pl.col("p")).is_empty()
    assert tests.filter(pl.col("p").is_null())["p_holm"].null_count() == tests["p"].null_count()


def test_intervals_are_of_every_arm_and_base_model(grid, intervals):
    arms = intervals.select("model", "sft", "smoothing").unique().sort("model", "sft", "smoothing").rows()
    tuned = [("tulu3", smoothing) for smoothing in grid.smoothing]
    assert arms == [(model, *arm) for model in ("tiny-a", "tiny_b") for arm in [("base", "none"), *tuned]]
    assert len(intervals) == len(arms) * (2 + len(grid.languages)) * len(bootstrap.BOOTSTRAPPED)
    sizes = intervals.select("aggregation", "n_questions", "n_languages").unique().sort("aggregation").rows()
    assert sizes == [("language", 40, 1), ("mean_over_languages", 160, 4), ("pooled", 160, 4)]
    assert intervals.filter((pl.col("low") < pl.col("value")) & (pl.col("value") < pl.col("high"))).equals(intervals)
    base = found(intervals, BASE_ARM, aggregation="language", language="sw", metric="ece")
    q = judged(grid, Cell("tiny-a"), "sw")
    hits = calibration.correct(q.probabilities, q.answers)
    assert base["value"] == pytest.approx(calibration.ece(calibration.confidence(q.probabilities), hits, 30), abs=1e-12)


def run(grid, folder, **changes):
    flags = {
        "benchmark": ["four"],
        "selection": [str(grid.selection)],
        "metrics": [*map(str, grid.metrics("four"))],
        "scores": [*map(str, grid.scores("four"))],
        "resamples": ["100"],
        "intervals": [str(folder / "intervals.parquet")],
        "output": [str(folder / "out.parquet")],
        **changes,
    }
    program.main([word for name, values in flags.items() for word in (f"--{name}", *values)])


@pytest.fixture
def small(built_store):
    options = {"models": ("m",), "sft": ("s",), "smoothing": ("0.0", "0.1"), "lr": ("1e-5",), "n_questions": 12}
    return lambda **changes: built_store(benchmarks=(("four", 4, 4),), **{**options, **changes})


def rewrite(path, change):
    change(pl.read_parquet(path, hive_partitioning=False)).write_parquet(path)


def without(language, question):
    return lambda scores: scores.filter(~((pl.col("language") == language) & (pl.col("question_id") == question)))


def scores_of(grid, part):
    return next(path for path in grid.scores("four") if part in str(path))


def test_one_language_has_no_p_over_languages(small):
    tests = pl.read_parquet(small(languages=("en",)).significance("four"))
    over_languages = tests.filter(test="languages")
    assert over_languages["n"].unique().to_list() == [1]
    assert over_languages["p"].null_count() == over_languages["p_holm"].null_count() == len(over_languages)
    assert over_languages["difference"].null_count() == 0
    assert tests.filter(test="questions", metric="entropy")["p"].null_count() == 0
    assert tests.filter(test="seeds").is_empty()


def test_a_grid_without_smoothing_is_compared_with_the_base_model_alone(small):
    grid = small(smoothing=("0.0",))
    assert pl.read_parquet(grid.significance("four"))["against"].unique().to_list() == ["base"]
    assert pl.read_parquet(grid.intervals("four"))["smoothing"].unique().sort().to_list() == ["0.0", "none"]


def test_languages_may_lack_questions_that_others_have(small, tmp_path):
    grid = small(languages=("en", "yo"))
    for path in grid.scores("four"):
        rewrite(path, without("yo", "q00003"))
    run(grid, tmp_path)
    intervals = pl.read_parquet(tmp_path / "intervals.parquet")
    sizes = intervals.select("language", "aggregation", "n_questions").unique().sort("language", "aggregation").rows()
    of_all = [("all", "mean_over_languages", 23), ("all", "pooled", 23)]
    assert sizes == [*of_all, ("en", "language", 12), ("yo", "language", 11)]
    tests = pl.read_parquet(tmp_path / "out.parquet").filter(metric="entropy", against="0.0")
    counts = dict(tests.filter(test="bootstrap", aggregation="language").select("language", "n").iter_rows())
    assert counts == {"en": 12, "yo": 11}
    pooled = tests.filter(test="questions", aggregation="pooled").row(0, named=True)
    assert pooled["n"] == 12
    smoothed, plain = (
        np.concatenate([of_questions(grid, ("m", "s", smoothing), name, "entropy") for name in grid.languages])
        for smoothing in ("0.1", "0.0")
    )
    assert pooled["difference"] == pytest.approx((smoothed - plain).mean(), abs=1e-12)


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_an_infinite_nll_has_no_test_and_spoils_no_other(small, tmp_path):
    """A sum over many tokens can leave the right answer a probability of 0."""
    grid = small(languages=("en", "yo"))
    first = pl.int_range(pl.len()) == 0  # in English
    impossible = pl.col("logprob_sum").list.eval(pl.element() - 1e5 * (pl.int_range(pl.len()) == 0))
    sums = pl.when(first).then(impossible).otherwise("logprob_sum").cast(pl.List(pl.Float32))
    answer = pl.when(first).then(0).otherwise("answer").cast(pl.UInt8)
    for path in grid.scores("four"):
        rewrite(path, lambda scores: scores.with_columns(logprob_sum=sums, answer=answer))
    grid.build_metrics()
    run(grid, tmp_path)
    tests = pl.read_parquet(tmp_path / "out.parquet")
    infinite = (pl.col("metric") == "nll") & pl.col("language").is_in(["all", "en"])
    infinite &= pl.col("confidence_method") == "perplexity"
    assert tests.filter(infinite)["p"].is_null().all()
    assert not tests.filter(metric="entropy")["p"].is_null().any()
    intervals = pl.read_parquet(tmp_path / "intervals.parquet")
    of_nll = intervals.filter(infinite)
    assert of_nll["value"].is_infinite().all()
    assert of_nll["low"].is_null().all()
    assert not intervals.filter(~infinite)["low"].is_null().any()


def test_refuses_files_of_another_benchmark(grid, tmp_path):
    strange = [str(path).replace("benchmark=four", "benchmark=ten") for path in grid.scores("four")]
    with pytest.raises(UserError, match="a file of benchmark 'ten', expected 'four' alone"):
        run(grid, tmp_path, scores=strange)
    with pytest.raises(UserError, match="a file of benchmark 'ten', expected 'four' alone"):
        run(grid, tmp_path, metrics=strange)


@pytest.mark.parametrize("cell", ["model=tiny_b/sft=tulu3/smoothing=0.1", "model=tiny_b/sft=base"])
@pytest.mark.parametrize("what", ["scores", "metrics"])
def test_names_a_selected_cell_without_files(grid, tmp_path, what, cell):
    left = [str(path) for path in getattr(grid, what)("four") if cell not in str(path)]
    with pytest.raises(UserError, match=rf"no {what} of the selected cell {cell}.*give its files? among --{what}"):
        run(grid, tmp_path, **{what: left})


def test_names_bins_that_were_not_measured(grid, tmp_path):
    with pytest.raises(UserError, match="--metrics: none has 7 bins; measure them with --measured-bins 7"):
        run(grid, tmp_path, **{"n-bins": ["7"]})


def test_refuses_metrics_that_lack_a_language(small, tmp_path):
    """Its value must not be paired with another language's."""
    grid = small(languages=("en", "yo"))
    path = next(path for path in grid.metrics("four") if "smoothing=0.1" in str(path))
    rewrite(path, lambda metrics: metrics.filter(pl.col("language") != "yo"))
    with pytest.raises(UserError, match=r"smoothing=0.1.*: no metrics of language 'yo', which other cells have"):
        run(grid, tmp_path)


def test_refuses_different_questions(small, tmp_path):
    grid = small()
    path = scores_of(grid, "smoothing=0.1")
    rewrite(path, without("en", "q00001"))
    with pytest.raises(UserError, match=r"smoothing 0.1: other questions in language 'en' than model=m/sft=base"):
        run(grid, tmp_path)


def test_refuses_a_question_that_the_base_model_lacks(small, tmp_path):
    grid = small()
    path = scores_of(grid, "sft=base")
    rewrite(path, lambda scores: scores.filter(pl.col("question_id") != "q00001"))
    with pytest.raises(UserError, match=r"question 'q00001' is not among the scores of the base model m; score both"):
        run(grid, tmp_path)
