"""The figure of the training curves: its numbers, and that the picture has marks, titles and axes."""

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

import draw_training_curves as program
from calgrid.cell import Cell
from calgrid.errors import UserError
from calgrid.figures import theme, training_curves
from calgrid.training.loss import smoothed_loss_floor

SVG = "{http://www.w3.org/2000/svg}"
STEPS = 400


def record(root: Path, smoothing: str, lr: str, seed: str = "0", model: str = "m", **changes) -> Path:
    path = root / Cell(model, "s", smoothing, lr, seed).path / "train.json"
    path.parent.mkdir(parents=True)
    floor = smoothed_loss_floor(float(smoothing), 1000)
    nll = [2 + int(seed) + 100 / step for step in range(1, STEPS + 1)]
    content = {
        "curve": [{"lr": 0.1, "loss": floor + value, "nll": value, "grad_norm": 1.0} for value in nll],
        "validation": [{"step": STEPS // 2, "loss": 2.5}, {"step": STEPS, "loss": 2.4 + int(seed)}],
        "smoothed_loss_floor": floor,
        **changes,
    }
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def records(tmp_path):
    return [record(tmp_path, smoothing, lr) for smoothing in ("0.1", "0.0") for lr in ("1e-4", "5e-6")]


def test_numbers(records):
    found = training_curves.training_curves(records)
    assert found["smoothing"].unique(maintain_order=True).to_list() == ["0.0", "0.1"]
    assert found["lr"].unique(maintain_order=True).to_list() == ["5e-6", "1e-4"]
    line = found.filter(smoothing="0.1", lr="5e-6")
    points = line.drop_nulls("nll")
    assert len(points) == 134  # stretches of 3 steps, the last of 1
    assert points["step"].to_list()[:2] == [2.0, 5.0]
    assert points["nll"][0] == pytest.approx(2 + (100 + 50 + 100 / 3) / 3)
    assert line["floor"][0] == pytest.approx(smoothed_loss_floor(0.1, 1000))
    assert line.drop_nulls("validation")["validation"].to_list() == [2.5, 2.4]
    assert found.filter(smoothing="0.0")["floor"].unique().to_list() == [0.0]


def test_seeds_are_averaged(tmp_path):
    found = training_curves.training_curves([record(tmp_path, "0.0", "1e-4", seed) for seed in ("0", "1")])
    assert found["nll"].drop_nulls()[-1] == pytest.approx(2.5 + 100 / STEPS)
    assert found["validation"].drop_nulls().to_list() == [2.5, 2.9]
    assert found["seeds"].unique().to_list() == [2]


def test_the_picture(records, tmp_path):
    output = [tmp_path / "figure.svg", tmp_path / "figure.png"]
    program.main(["--records", *map(str, records), "--output", *map(str, output)])
    root = ElementTree.parse(output[0]).getroot()
    texts = ["".join(node.itertext()) for node in root.iter(f"{SVG}text")]
    for expected in (
        "Training of m on s",
        "Nats a supervised token, means of 3 steps",
        "No smoothing",
        "Smoothing 0.1",
        "Loss as trained (nats)",
        "Without smoothing (nats)",
        "Step",
        "learning rate 5e-6",
        "learning rate 1e-4",
        f"floor {smoothed_loss_floor(0.1, 1000):.2f}",
    ):
        assert any(expected in text for text in texts), expected
    assert not any("undefined" in text or "null" in text or "e+" in text for text in texts)
    strokes = [node.get("stroke") for node in root.iter(f"{SVG}path")]
    for style in theme.STYLES[:2]:
        assert strokes.count(style.color) >= 2 * 2  # a line in each of the four panels
    assert output[1].read_bytes().startswith(b"\x89PNG")


def test_a_record_of_another_version_is_named(tmp_path):
    path = record(tmp_path, "0.0", "1e-4")
    path.write_text(json.dumps({"curve": []}))
    with pytest.raises(UserError, match=r"train.json: has no 'validation'; it was written by another version, train"):
        training_curves.training_curves([path])


def test_records_of_two_models_are_refused(tmp_path):
    paths = [str(record(tmp_path, "0.0", "1e-4", model=model)) for model in ("m", "n")]
    with pytest.raises(UserError, match="--records: of 2 pairs of model and SFT set; give those of one"):
        program.main(["--records", *paths, "--output", str(tmp_path / "figure.svg")])


def test_more_rates_than_can_be_told_apart_are_refused(tmp_path):
    paths = [record(tmp_path, "0.0", f"{n}e-4") for n in range(1, 8)]
    with pytest.raises(UserError, match="at most 6 learning rates, not 7"):
        training_curves.curves_chart(training_curves.training_curves(paths), "")
