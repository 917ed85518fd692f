"""Selection of learning rates."""

import json
import math

import polars as pl
import pytest

import select_lr as program
from calgrid.cell import Cell
from calgrid.errors import UserError
from calgrid.store.paths import train_record
from calgrid.store.selection import read_rule, read_selection, select


def losses(**rates):
    """Loss of each learning rate, by seed: `losses(**{"1e-5": [2.0, 2.1]})`."""
    return {Cell("m", "s", "0.1", lr, str(i)): loss for lr, found in rates.items() for i, loss in enumerate(found)}


def chosen(frame):
    return frame.filter("selected")["lr"].unique().to_list()


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        ({"5e-6": [2.2], "1e-5": [2.1], "1e-4": [2.3]}, "1e-5"),
        ({"1e-4": [2.0, 2.4], "1e-5": [2.1, 2.1]}, "1e-5"),  # the mean over the seeds decides
        ({"1e-4": [2.0], "5e-6": [2.0], "1e-5": [2.0]}, "5e-6"),  # a tie goes to the smaller rate
        ({"1e-4": [math.nan], "1e-5": [9.0]}, "1e-5"),
        ({"1e-4": [1.0, math.nan], "1e-5": [9.0, 9.0]}, "1e-5"),  # one diverged seed rules a rate out
        ({"1e-4": [-math.inf], "1e-5": [9.0]}, "1e-5"),
    ],
)
def test_least_finite_validation_loss(rates, expected):
    frame = select(losses(**rates))
    assert chosen(frame) == [expected]
    assert len(frame) == sum(map(len, rates.values()))
    assert frame.filter("selected")["seed"].to_list() == [str(i) for i in range(len(rates[expected]))]


def test_each_arm_has_its_own_rate():
    cells = {
        Cell("m", "s", "0.0", "1e-5", "0"): 1.0,
        Cell("m", "s", "0.0", "1e-4", "0"): 2.0,
        Cell("m", "s", "0.1", "1e-5", "0"): 2.0,
        Cell("m", "s", "0.1", "1e-4", "0"): 1.0,
    }
    selected = select(cells).filter("selected").select("smoothing", "lr").rows()
    assert selected == [("0.0", "1e-5"), ("0.1", "1e-4")]


def test_a_fixed_rate_is_taken_whatever_the_loss():
    assert chosen(select(losses(**{"1e-5": [1.0], "1e-4": [2.0]}), "0.0001")) == ["1e-4"]


@pytest.mark.parametrize(
    ("rates", "rule", "message"),
    [
        ({"1e-5": [math.nan], "1e-4": [math.inf]}, "validation_loss", "model m, SFT set s, smoothing 0.1: no finite"),
        ({"1e-5": [1.0]}, "1e-4", "no training with the learning rate 0.0001"),
        ({"1e-5": [1.0], "1e-4": [math.nan]}, "1e-4", "no finite validation loss at 1e-4"),
        ({"1e-5": [1.0]}, "best", "learning rate 'best': write 'validation_loss' or a number"),
    ],
)
def test_refusals(rates, rule, message):
    with pytest.raises(UserError, match=message):
        select(losses(**rates), rule)


def write(root, cell, record):
    path = root / train_record(cell.path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(record)
    return str(path)


def test_program(tmp_path):
    records = {
        "1e-5": '{"validation_loss": 2.5}',
        "1e-4": '{"validation_loss": NaN}',
        "5e-5": '{"validation_loss": null}',
    }
    paths = [write(tmp_path, Cell("m", "s", "0.1", lr, "0"), text) for lr, text in records.items()]
    output = tmp_path / "selection.parquet"
    program.main(["--train-json", *paths, "--output", str(output)])
    assert pl.read_parquet(output).schema == {
        **dict.fromkeys(("model", "sft", "smoothing", "lr", "seed"), pl.String),
        "validation_loss": pl.Float64,
        "selected": pl.Boolean,
    }
    assert read_selection(output) == {("m", "s", "0.1"): [Cell("m", "s", "0.1", "1e-5", "0")]}
    assert read_rule(output) == "validation_loss"
    program.main(["--train-json", paths[0], "--lr", "1e-5", "--output", str(output)])
    assert read_rule(output) == "1e-5"


@pytest.mark.parametrize("record", ["{}", '{"validation_loss": "low"}', "[]", '{"validation_loss": true}'])
def test_a_record_without_a_loss(tmp_path, record):
    path = write(tmp_path, Cell("m", "s", "0.1", "1e-5", "0"), record)
    with pytest.raises(UserError, match=r"train.json: validation_loss is .*, expected a number"):
        program.main(["--train-json", path, "--output", str(tmp_path / "x.parquet")])


def test_a_path_that_names_no_cell(tmp_path):
    (tmp_path / "train.json").write_text(json.dumps({"validation_loss": 1.0}))
    with pytest.raises(UserError, match="not the path of a cell"):
        program.main(["--train-json", str(tmp_path / "train.json"), "--output", str(tmp_path / "x.parquet")])
