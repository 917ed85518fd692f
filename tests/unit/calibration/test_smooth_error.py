"""The smooth calibration error against its plain definition and relplot."""

import importlib
import importlib.util
import math
import sys
import types
from unittest import mock

import numpy as np
import pytest
from scipy.optimize import brentq

from calgrid import calibration
from support.answers import (
    close,
)

# ---- Smooth calibration error


def plain_smooth_error(confidence, hits, width, points=4000):
    """smECE_s by its definition: midpoint quadrature of the Gaussian kernel and its reflections at 0 and 1."""
    t = (np.arange(points)[:, None] + 0.5) / points
    smoothed = np.zeros(points)
    for turn in range(-3, 4):
        for image in (confidence + 2 * turn, 2 * turn - confidence):
            smoothed += np.exp(-(((t - image) / width) ** 2) / 2) @ (hits - confidence)
    return np.abs(smoothed).mean() / (width * math.sqrt(2 * math.pi) * len(confidence))


def plain_smooth_ece(confidence, hits):
    return brentq(lambda width: plain_smooth_error(confidence, hits, width) - width, 2e-3, 0.99, xtol=1e-9)


def smooth_cases():
    rng = np.random.default_rng(5)
    uniform, skewed, tied = rng.random(60), rng.beta(5, 2, 150), rng.choice([0.25, 0.5, 0.6, 0.9], 150)
    with_ends = rng.choice([0.0, 0.3, 0.5, 1.0], 100)
    return {
        "calibrated": (uniform, rng.random(60) < uniform),
        "overconfident": (skewed, rng.random(150) < skewed**3),
        "ties": (tied, rng.random(150) < tied**2),
        "ends": (with_ends, rng.random(100) < 0.2 + 0.6 * with_ends),
        "one question": (np.array([0.3]), np.array([False])),
        "two of them": (np.array([0.2, 0.9]), np.array([True, False])),
    }


@pytest.mark.parametrize("case", smooth_cases())
def test_smooth_error_follows_its_definition(case):
    confidence, hits = smooth_cases()[case]
    assert calibration.smooth_ece(confidence, hits) == close(plain_smooth_ece(confidence, hits), 2**-14)


def test_smooth_error_at_a_given_width_follows_its_definition():
    """Values at the midpoints of cells, so that nothing is moved: smECE_s itself, not where it meets s."""
    rng = np.random.default_rng(6)
    cells = rng.integers(0, calibration.MESH, 50)
    confidence, hits = (cells + 0.5) / calibration.MESH, rng.random(50) < 0.5
    assert (calibration.mesh_index(confidence) == cells).all()
    exact = calibration.smooth_ece(confidence, hits)
    below, above = (plain_smooth_error(confidence, hits, exact + side * 2**-15) for side in (-1, 1))
    assert below >= exact - 2**-15 - 1e-9
    assert above <= exact + 2**-15 + 1e-9


def test_smooth_error_of_sets_of_questions_is_that_of_each_alone():
    cases = list(smooth_cases().values())
    residuals = [np.bincount(calibration.mesh_index(c), h - c, calibration.MESH) / len(c) for c, h in cases]
    together = calibration.smooth_errors(np.array(residuals))
    assert together == close([calibration.smooth_ece(*case) for case in cases], 2**-14)


def test_smooth_error_of_the_extremes_and_of_one_cell():
    assert calibration.smooth_ece([1.0, 0.0], [True, False]) == close(0, 2**-15)
    assert calibration.smooth_ece([1.0, 1.0], [False, False]) == close(1, 2**-15)
    # All right at one value, all wrong at the next: within a cell of the mesh they are one calibrated value.
    cell = (calibration.MESH / 2 + np.array([0.1, 0.9])) / calibration.MESH
    assert calibration.smooth_ece(np.repeat(cell, 50), np.repeat([True, False], 50)) < 1e-3
    assert plain_smooth_ece(np.repeat(cell, 50), np.repeat([True, False], 50)) > 5e-3


def relplot_metrics():
    """relplot.metrics without the package's own start, which loads plotting libraries and needs seconds."""
    package = types.ModuleType("relplot")
    package.__path__ = list(importlib.util.find_spec("relplot").submodule_search_locations)
    with mock.patch.dict(sys.modules, {"relplot": package}):
        return importlib.import_module("relplot.metrics")


def smooth_ece_as_relplot_has_it(confidence, hits, points=4000):
    """Kernels cut off at 0.5 and scaled by their density; 0 and 1 are not reflected, so that they count half."""
    t = (np.arange(points)[:, None] + 0.5) / points

    def error(width):
        smoothed, density = np.zeros(points), np.zeros(points)
        for image in (confidence, -confidence, 2 - confidence):
            once = np.ones(len(confidence)) if image is confidence else (image != 0) & (image != 1)
            kernel = np.exp(-(((t - image) / width) ** 2) / 2) * (np.abs(t - image) < 0.5)
            smoothed += kernel @ ((hits - confidence) * once)
            density += kernel @ once
        return np.abs(smoothed).sum() / density.sum()

    return brentq(lambda width: error(width) - width, 2e-3, 0.99, xtol=1e-9)


@pytest.mark.parametrize("case", smooth_cases())
def test_smooth_error_and_relplots(case):
    """Near each other but where relplot cuts its kernel off (errors above about 0.2) or a confidence is exactly 0 or 1.

    The 1e-3 beside that: relplot sums over 200 points, both ends in full where the integral takes half of them, adds
    1e-4 to the density, and stops at a width within 2^-10.
    """
    confidence, hits = smooth_cases()[case]
    oracle = relplot_metrics().smECE(confidence, hits.astype(float))
    assert smooth_ece_as_relplot_has_it(confidence, hits) == close(oracle, 1e-3)
    apart = abs(calibration.smooth_ece(confidence, hits) - oracle)
    assert apart > 0.02 if case in ("ends", "two of them") else apart < 1e-3
