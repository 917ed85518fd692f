"""Post-hoc calibration: temperatures against scipy and a plain loop, split, content-free prompts, table and figure."""

import xml.etree.ElementTree as ElementTree
from itertools import product

import numpy as np
import polars as pl
import pytest
from scipy.optimize import minimize_scalar

import calibrate_posthoc as program
import draw_temperature_transfer as figure_program
import make_content_free as content_free_program
import select_lr as select_program
import write_posthoc_table as table_program
from calgrid import calibration
from calgrid.cell import Cell
from calgrid.data import content_free
from calgrid.data.sources import lowest
from calgrid.errors import UserError
from calgrid.figures import temperature_transfer
from calgrid.measure import posthoc
from calgrid.scoring import confidence
from calgrid.store import files, reading
from calgrid.store.selection import read_selection
from calgrid.tables import posthoc as posthoc_table
from support.synthetic_store import Store, scores

LANGUAGES = ("en", "de", "sw", "yo")
TIERS = {"high": ("en", "de"), "low": ("sw", "yo")}


def questions(seed=0, n=400, k=5, sharpness=2.0, groups=3):
    """Random questions of 2 to k options whose answers follow softmax(values / (sharpness x (1 + group)))."""
    random = np.random.default_rng(seed)
    n_options = random.integers(2, k + 1, n)
    group = random.integers(0, groups, n)
    truth = np.where(np.arange(k) < n_options[:, None], random.normal(0, 1.5, (n, k)), -np.inf)
    answers = (truth + random.gumbel(size=(n, k))).argmax(axis=1)
    values = np.where(np.isfinite(truth), truth, 0) * (sharpness * (1 + group))[:, None] - 40.0
    return values, answers, n_options, group


def mean_nll(t, values, answers, n_options):
    """One question after the other, as it is written in the paper."""
    total = 0.0
    for v, y, k in zip(values, answers, n_options, strict=True):
        z = v[:k] / t
        total += np.log(np.exp(z - z.max()).sum()) + z.max() - z[y]
    return total / len(values)


@pytest.mark.parametrize("seed", range(4))
def test_temperature_is_what_scipy_finds(seed):
    values, answers, n_options, group = questions(seed)
    found = posthoc.temperature(values, answers, n_options, group)
    for g in range(3):
        part = values[group == g], answers[group == g], n_options[group == g]
        best = minimize_scalar(
            lambda log_t, part=part: mean_nll(np.exp(log_t), *part), bounds=(-7, 7), method="bounded",
            options={"xatol": 1e-9},
        )  # fmt: skip
        assert found[g] == pytest.approx(np.exp(best.x), rel=1e-4)
        assert mean_nll(found[g], *part) <= best.fun + 1e-12
    assert np.all(np.diff(found) > 0)  # the later groups are sharper


def test_groups_are_fitted_as_if_alone():
    values, answers, n_options, group = questions()
    found = posthoc.temperature(values, answers, n_options, group)
    for g in range(3):
        where = group == g
        alone = posthoc.temperature(values[where], answers[where], n_options[where])
        assert found[g] == pytest.approx(alone[0], rel=1e-8)


@pytest.mark.parametrize("factor", [0.1, 3.0, 50.0])
def test_temperature_scales_with_the_scores(factor):
    values, answers, n_options, group = questions()
    plain = posthoc.temperature(values, answers, n_options, group)
    assert posthoc.temperature(values * factor, answers, n_options, group) == pytest.approx(plain * factor, rel=1e-7)
    assert posthoc.temperature(values + 17.0, answers, n_options, group) == pytest.approx(plain, rel=1e-7)


def test_padding_is_ignored():
    values, answers, n_options, group = questions()
    plain = posthoc.temperature(values, answers, n_options, group)
    dirty = np.where(calibration.option_mask(n_options, values.shape), values, 1e6)
    wide = np.pad(dirty, ((0, 0), (0, 2)), constant_values=-3)
    assert posthoc.temperature(wide, answers, n_options, group) == pytest.approx(plain, rel=1e-9)


def test_a_calibrated_model_has_a_temperature_of_one():
    values, answers, n_options, _ = questions(n=40_000, sharpness=1.0, groups=1)
    assert posthoc.temperature(values, answers, n_options)[0] == pytest.approx(1, abs=0.03)


def test_where_no_temperature_is_best_it_is_a_bound():
    values = np.array([[2.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    two = np.array([2, 2, 2])
    assert posthoc.temperature(values, [0, 1, 0], two)[0] == posthoc.LEAST  # all right
    assert posthoc.temperature(values, [1, 0, 1], two)[0] == posthoc.MOST  # all wrong
    assert posthoc.temperature(np.zeros((3, 2)), [1, 0, 1], two)[0] == posthoc.MOST  # no signal
    mixed = posthoc.temperature(np.tile(values, (2, 1)), [0, 1, 0, 1, 0, 0], np.full(6, 2), [0, 0, 0, 1, 1, 1])
    assert mixed[0] == posthoc.LEAST
    assert mixed[1] == pytest.approx(posthoc.MOST)


def test_what_can_not_be_fitted_is_refused():
    with pytest.raises(ValueError, match="group 0 has no question"):
        posthoc.temperature([[1.0, 2.0]], [0], [2], [1])
    with pytest.raises(ValueError, match="the answer of question 0 is option 2, but it has"):
        posthoc.temperature([[1.0, 2.0, 0.0], [1.0, 2.0, 0.0]], [2, 0], [2, 3])
    with pytest.raises(ValueError, match="not finite"):
        posthoc.temperature([[1.0, np.nan]], [0], [2])


def test_the_split_goes_by_the_id_alone():
    ids = [f"abstract_algebra/test/{i}" for i in range(5000)]
    side = dict(zip(ids, posthoc.split(ids), strict=True))
    assert 0.47 < np.mean(list(side.values())) < 0.53
    backwards = ids[::-1][:100]
    assert posthoc.split(backwards).tolist() == [side[name] for name in backwards]
    third = posthoc.split(ids, 0.3)
    assert 0.27 < third.mean() < 0.33
    assert not (third & ~posthoc.split(ids, 0.5)).any()  # a smaller share is a part of a larger one


def test_a_sample_by_max_questions_is_on_both_sides():
    ids = [f"q{i}" for i in range(5000)]
    sample = [ids[i] for i in lowest(ids, 400)]
    assert 0.4 < posthoc.split(sample).mean() < 0.6


def test_no_question_is_on_both_sides_over_42_languages(monkeypatch):
    languages = [f"l{number:02}" for number in range(42)]
    frame = scores(Cell("m"), languages, 60, 4, 4)
    fitted, measured = set(), set()
    real = posthoc.temperature
    values, _ = confidence.option_values(frame, "choice")
    row = {tuple(v): name for v, name in zip(values, frame["question_id"], strict=True)}
    monkeypatch.setattr(
        posthoc, "temperature", lambda v, *rest: fitted.update(row[tuple(x)] for x in v) or real(v, *rest)
    )
    found = posthoc.measure(frame, ["choice"], 10)
    measured = set(frame["question_id"]) - fitted
    assert fitted == {name for name in set(frame["question_id"]) if posthoc.split([name])[0]}
    assert found.filter(grouping="language")["n_questions"].unique().to_list() == [len(measured)]
    assert found.filter(grouping="pooled")["n_questions"].unique().to_list() == [42 * len(measured)]


def test_measured_values_are_those_of_a_plain_computation():
    frame = scores(Cell("m", "s", "0.0", "1e-5", "0"), LANGUAGES, 300, 3, 6).sort("language", "question_id")
    found = posthoc.measure(frame, ["perplexity", "choice"], 15, transfer_language="en", tiers=TIERS)
    fit = posthoc.split(frame["question_id"])
    language = frame["language"].to_numpy()
    answers = frame["answer"].to_numpy().astype(int)
    for method in ("perplexity", "choice"):
        values, n_options = confidence.option_values(frame, method)
        own = {
            code: posthoc.temperature(values[w], answers[w], n_options[w])[0]
            for code in LANGUAGES
            for w in [fit & (language == code)]
        }
        pooled = posthoc.temperature(values[fit], answers[fit], n_options[fit])[0]
        temperatures = {
            "none": np.ones(len(frame)),
            "temperature_language": np.array([own[code] for code in language]),
            "temperature_transfer": np.full(len(frame), own["en"]),
            "temperature_pooled": np.full(len(frame), pooled),
        }
        members = {("language", code): language == code for code in LANGUAGES}
        members |= {("tier", tier): np.isin(language, codes) for tier, codes in TIERS.items()}
        members["pooled", "all"] = np.ones(len(frame), bool)
        for (name, t), ((grouping, member), inside) in product(temperatures.items(), members.items()):
            where = ~fit & inside
            row = found.filter(confidence_method=method, calibration=name, grouping=grouping, member=member)
            p = calibration.distribution(values[where] / t[where, None], n_options[where])
            c, hits = calibration.confidence(p), calibration.correct(p, answers[where])
            assert row["n_questions"].to_list() == [where.sum()]
            expected = {
                "accuracy": hits.mean(),
                "entropy": calibration.entropy(p).mean(),
                "confidence": c.mean(),
                "nll": calibration.nll(p, answers[where]).mean(),
                "brier": calibration.brier(p, answers[where]).mean(),
                "ece": calibration.ece(c, hits, 15),
                "rms": calibration.rms(c, hits, 15),
                "sce": calibration.sce(p, answers[where], n_options[where], 15),
                "expected_ece": calibration.expected_ece(c, 15),
            }
            for metric, value in expected.items():
                assert row[metric][0] == pytest.approx(value, rel=1e-9), (name, grouping, member, metric)
            if len(np.unique(t[where])) == 1:
                assert row["temperature"][0] == pytest.approx(t[where][0], rel=1e-9)
            else:
                assert row["temperature"].to_list() == [None]
    own_fits = found.filter(calibration="temperature_language", grouping="language", confidence_method="choice")
    assert dict(own_fits.select("language", "n_fit").rows()) == {
        code: (fit & (language == code)).sum() for code in LANGUAGES
    }
    pooled_rows = found.filter(grouping="pooled", confidence_method="choice")
    n_fit = dict(pooled_rows.select("calibration", "n_fit").rows())
    assert n_fit == {
        "none": 0,
        "temperature_language": fit.sum(),
        "temperature_transfer": (fit & (language == "en")).sum(),
        "temperature_pooled": fit.sum(),
    }


def test_scaling_serves_an_overconfident_model_and_moves_no_answer():
    frame = scores(Cell("m", "s", "0.0", "1e-5", "0"), LANGUAGES, 600, 4, 4).sort("language", "question_id")
    found = posthoc.measure(frame, ["perplexity"], 15, transfer_language="en").filter(grouping="pooled")
    by = {row["calibration"]: row for row in found.iter_rows(named=True)}
    for name in ("temperature_language", "temperature_pooled"):
        assert by[name]["nll"] < by["none"]["nll"]
        assert by[name]["ece"] < by["none"]["ece"] / 2
    assert len({row["accuracy"] for row in by.values()}) == 1


def test_a_benchmark_without_the_transfer_language_has_no_such_rows():
    frame = scores(Cell("m"), ["de", "yo"], 60, 4, 4)
    found = posthoc.measure(frame, ["choice"], 10, transfer_language="en")
    assert set(found["calibration"]) == {"none", "temperature_language", "temperature_pooled"}


def test_a_language_on_one_side_alone_is_named():
    frame = scores(Cell("m"), ["de", "yo"], 60, 4, 4)
    one = frame.filter((pl.col("language") == "de") | (pl.col("question_id") == "q00000"))
    side = "measured" if posthoc.split(["q00000"])[0] else "fitted"
    message = f"language 'yo': none of its questions is in the part that is {side}; score more questions, or change"
    with pytest.raises(UserError, match=message):
        posthoc.measure(one, ["choice"], 10)


# Content-free prompts


def prompts(languages, subjects=(None,), kinds=(3, 4, 5, 6)):
    """Scores of content-free prompts: the model prefers early letters, by another degree for each text."""
    rows = [
        {
            "language": language,
            "question_id": f"{text}, {k} options, {subject}",
            "subject": subject,
            "category": None,
            "answer": 0,
            "n_options": k,
            "letter_logprob": [-tilt * (1 + (subject == "law")) * place for place in range(k)],
        }
        for language in languages
        for subject in subjects
        for k in kinds
        for text, tilt in (("N/A", 0.5), ("[MASK]", 1.0))
    ]
    schema = {"n_options": pl.UInt8, "answer": pl.UInt8, "subject": pl.String, "category": pl.String}
    return pl.DataFrame(rows, schema_overrides=schema)


def test_contextual_calibration_divides_by_the_mean_prior():
    frame = scores(Cell("m"), ["de", "yo"], 80, 3, 6).sort("language", "question_id")
    values, n_options = confidence.option_values(frame, "choice")
    prior, n_prompts = posthoc.content_free_prior(frame, prompts(["de", "yo"]), "choice")
    assert set(n_prompts) == {2}
    found = calibration.distribution(posthoc.contextual(values, n_options, prior), n_options)
    for i, k in enumerate(n_options):
        p = np.exp(values[i, :k]) / np.exp(values[i, :k]).sum()
        tilts = [np.exp(-tilt * np.arange(k)) for tilt in (0.5, 1.0)]
        corrected = p / np.mean([tilt / tilt.sum() for tilt in tilts], axis=0)
        assert found[i, :k] == pytest.approx(corrected / corrected.sum())
    measured = posthoc.measure(frame, ["perplexity", "choice"], 10, content_free=prompts(["de", "yo"]))
    contextual = measured.filter(calibration="contextual")
    assert set(contextual["confidence_method"]) == {"choice"}  # of letters alone
    assert contextual["temperature"].null_count() == len(contextual)
    assert set(contextual["n_fit"]) == {2}


def test_few_shot_prompts_go_with_their_subject():
    frame = scores(Cell("m"), ["de"], 60, 4, 4).with_columns(
        subject=pl.Series(["law", "physics", "geography"] * 20), category=pl.lit(None, pl.String)
    )
    prior, _ = posthoc.content_free_prior(frame, prompts(["de"], ("law", "physics", "geography"), (4,)), "choice")
    law = (frame["subject"] == "law").to_numpy()
    assert (prior[law, 0] > prior[~law].max()).all()
    with pytest.raises(UserError, match=r"language 'de', question 'q00002': no content-free prompt with 4 options"):
        posthoc.content_free_prior(frame, prompts(["de"], ("law", "physics"), (4,)), "choice")


def prepared(tmp_path):
    frame = pl.DataFrame(
        {
            "question_id": ["1", "2", "3"],
            "subject": ["law", "law", "physics"],
            "category": [None, None, None],
            "cultural_sensitivity": [None, None, None],
            "question": ["a", "b", "c"],
            "options": [["x", "y", "z", "u"], ["x", "y"], ["x", "y", "z", "u"]],
            "answer": [1, 0, 3],
        },
        schema_overrides={"category": pl.String, "cultural_sensitivity": pl.String, "answer": pl.UInt8},
    )
    origin = {"source": "s", "revision": "r", "source_commit": "c", "rows": 3, "sha256": "0" * 64}
    path = tmp_path / "yo.parquet"
    files.write_parquet(frame, path, origin)
    return frame, path


def test_content_free_prompts_have_every_number_of_options(tmp_path):
    frame, path = prepared(tmp_path)
    outputs = tmp_path / "out.parquet", tmp_path / "out.json"
    flags = ["--text=N/A", "--text=[MASK]", "--output", str(outputs[0]), "--manifest", str(outputs[1])]
    content_free_program.main(["--questions", str(path), *flags])
    found = pl.read_parquet(outputs[0])
    assert found.schema == frame.schema
    assert sorted(found["question_id"]) == [
        *("N/A, 2 options", "N/A, 4 options", "[MASK], 2 options", "[MASK], 4 options"),
    ]
    for row in found.iter_rows(named=True):
        assert row["question_id"] == f"{row['question']}, {len(row['options'])} options"
        assert set(row["options"]) == {row["question"]}
        assert row["subject"] is None
    assert files.data_origin(outputs[0])["sha256"] == files.read_json(outputs[1])["sha256"]
    by_topic = content_free.content_free(frame, ["N/A"], by_topic=True)
    assert sorted(by_topic["question_id"]) == ["N/A, 2 options, law", "N/A, 4 options, law", "N/A, 4 options, physics"]


# Programs


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A store with selected cells, calibrated post hoc; benchmark `four` has content-free prompts."""
    grid = Store(tmp_path_factory.mktemp("store"), n_questions=80, smoothing=("0.0", "0.1"), lr=("1e-5",))
    grid.build_scores()
    records = [str(path) for path in grid.path("results/models").rglob("train.json")]
    select_program.main(["--train-json", *records, "--output", str(grid.selection)])
    free = grid.path("free.parquet")
    prompts(LANGUAGES).write_parquet(free)
    paths = []
    for (name, _, _), cell in product(grid.benchmarks, grid.cells):
        paths.append(grid.path(f"results/posthoc/benchmark={name}/{cell.path}/posthoc.parquet"))
        program.main(
            [
                *("--scores", str(grid.path(f"results/scores/benchmark={name}/{cell.path}/all.parquet"))),
                *(["--content-free", str(free)] if name == "four" else []),
                *("--languages", *LANGUAGES, "--tiers", "high=en,de", "low=sw,yo"),
                *("--benchmark", name, "--cell", cell.path, "--output", str(paths[-1])),
            ]
        )
    return grid, paths


def test_the_program_writes_every_calibration(built):
    _, paths = built
    found = pl.read_parquet(paths[0], hive_partitioning=False)
    assert len(found) == (4 + 5) * (1 + 4 + 2)  # calibrations x groups
    assert found.columns[:6] == ["grouping", "language", "member", "confidence_method", "calibration", "temperature"]
    assert files.read_provenance(paths[0])["benchmark"] == "four"
    assert files.read_provenance(paths[0])["cell"]["sft"] == "base"


def test_the_table(built, tmp_path):
    grid, paths = built
    flags = ["--models", *grid.models, "--sft", *grid.sft, "--smoothings", "0.0", "0.1", "--benchmarks", "ten", "four"]
    table_program.main(
        [
            *flags,
            *("--tiers", "high=en,de", "low=sw,yo", "--confidence-methods", "perplexity", "choice"),
            *("--selection", str(grid.selection), "--posthoc", *map(str, paths), "--output-dir", str(tmp_path)),
        ]
    )
    text = (tmp_path / "posthoc.tex").read_text()
    assert text.count(r"\begin{table}") == 2
    assert text.count("contextual &") == 4  # of the letters, for each model and SFT set
    assert r"\multicolumn{3}{c}{ten} & \multicolumn{3}{c}{four}" in text
    assert "$T$ of en" in text
    assert "of English (en)" in text
    rows = pl.read_csv(tmp_path / "posthoc.csv", schema_overrides={"smoothing": pl.String, "lr": pl.String})
    measured = reading.read_metrics(paths)
    arm = {"benchmark": "ten", "model": "tiny-a", "sft": "tulu3", "smoothing": "0.0", "confidence_method": "choice"}
    low = measured.filter(**arm, grouping="language", calibration="temperature_transfer").filter(
        pl.col("language").is_in(["sw", "yo"])
    )
    (row,) = rows.filter(**arm, calibration="temperature_transfer", member="low").iter_rows(named=True)
    assert row["ece"] == pytest.approx(low["ece"].mean())
    assert row["n_questions"] == low["n_questions"].sum()
    assert row["n_languages"] == 2
    (row,) = rows.filter(**arm, calibration="none", aggregation="pooled").iter_rows(named=True)
    pooled = measured.filter(**arm, grouping="pooled", calibration="none")
    assert row["ece"] == pytest.approx(pooled["ece"][0])
    shown = rows.filter("shown", pl.col("sft") != "base", aggregation="pooled", confidence_method="choice")
    for _, block in shown.group_by("benchmark", "model", "sft"):
        best = block.filter("bold")["ece"].round(3)
        assert best.to_list() == [block["ece"].round(3).min()] * len(best)
    assert not rows.filter("bold", ~pl.col("shown")).height


def test_an_arm_without_measurements_is_named(built):
    grid, paths = built
    selected = read_selection(grid.selection)
    arms = [("tiny-a", "tulu3", "0.1")]
    some = reading.read_metrics(path for path in paths if "smoothing=0.1" not in str(path))
    with pytest.raises(UserError, match=r"model tiny-a, SFT set tulu3, smoothing 0.1 on benchmark four; give it with"):
        posthoc_table.numbers(arms, selected, some, benchmarks=["four"], methods=["choice"], tiers=TIERS)
    none = reading.read_metrics(path for path in paths if "tulu3" not in str(path))
    with pytest.raises(UserError, match=r"model tiny-a, SFT set tulu3 on benchmark four; give it with --posthoc"):
        temperature_transfer.transfer(
            ["tiny-a"], ["tulu3"], selected, none, benchmark="four", method="choice", tiers=TIERS
        )  # fmt: skip


def test_the_figure(built, tmp_path):
    grid, paths = built
    output = [tmp_path / "figure.svg", tmp_path / "figure.png"]
    figure_program.main(
        [
            *("--benchmark", "four", "--models", *grid.models, "--sft", *grid.sft, "--tiers", "low=sw", "high=en,de"),
            *("--selection", str(grid.selection), "--posthoc", *map(str, paths), "--output", *map(str, output)),
        ]
    )
    svg = "{http://www.w3.org/2000/svg}"
    root = ElementTree.parse(output[0]).getroot()
    texts = ["".join(node.itertext()) for node in root.iter(f"{svg}text")]
    for model, sft in product(grid.models, grid.sft):
        assert f"{model}, {sft}" in texts
    for expected in ("before", "its own temperature", "that of English (en)", "that of all, pooled", "ECE", "other"):
        assert expected in texts, expected
    places = [texts.index(language) for language in ("sw", "de", "en", "yo")]  # by tier: low, high, other
    assert places == sorted(places)
    assert not any("undefined" in text or "null" in text for text in texts)
    assert output[1].read_bytes().startswith(b"\x89PNG")


def test_the_figures_numbers(built):
    grid, paths = built
    found = temperature_transfer.transfer(
        ["tiny-a"], ["tulu3"], read_selection(grid.selection), reading.read_metrics(paths),
        benchmark="four", method="choice", tiers=TIERS,
    )  # fmt: skip
    assert len(found) == 4 * 4
    assert found["language"].unique(maintain_order=True).to_list() == ["de", "en", "sw", "yo"]
    en = found.filter(language="en")
    own, english = (en.filter(calibration=f"temperature_{name}")["ece"][0] for name in ("language", "transfer"))
    assert own == english
