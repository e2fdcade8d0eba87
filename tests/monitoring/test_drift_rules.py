"""Drift and accuracy in PromQL: the PSI is numpy's, and alerts are large, significant and lasting, by promtool."""

from pathlib import Path

import numpy as np
import pytest

from common.psi import DESIGN_EFFECT, SMOOTHING, critical
from common.psi import psi as our_psi
from tests.monitoring.fleet import Pod
from tests.monitoring.support import Alerts, evaluate, needs_promtool

pytestmark = needs_promtool
EVERY_S = 300
EVEN = [1.0] * 10
SHIFTED = [0.2, 0.3, 0.4, 0.5, 0.8, 1.0, 1.3, 1.6, 1.9, 2.0]
FEATURE = "brightness"
DRIFT_RULES = "catsdogs-drift"
DRIFT: Alerts = {("ticket", "CatsdogsInputDrift", FEATURE)}


def watched(counts: list[float], pictures: float, hours: float) -> Pod:
    """Return a pod that got so many pictures an hour, of which one feature is distributed like this."""
    pod = Pod()
    for _ in range(round(hours * 3600 / EVERY_S) + 1):
        each = pictures * EVERY_S / 3600 / sum(counts)
        pod.pictures([count * each for count in counts], (FEATURE,))
        pod.scrape()
    return pod


def psi(counts: list[float], reference: list[float]) -> float:
    expected = np.array(reference)
    measured = (np.array(counts) + SMOOTHING * expected) / (sum(counts) + SMOOTHING)
    return float(np.sum((measured - expected) * np.log(measured / expected)))


@pytest.mark.parametrize(
    "counts", [EVEN, SHIFTED, [*[0.0] * 5, *[1.0] * 5]], ids=["as the reference", "shifted", "with empty bins"]
)
def test_the_psi_is_numpys(counts: list[float], tmp_path: Path) -> None:
    pictures = [6000 * count / sum(counts) for count in counts]
    assert our_psi(pictures, [0.1] * 10) == pytest.approx(psi(pictures, [0.1] * 10), abs=1e-12)
    query = f'catsdogs:drift_psi:6h{{feature="{FEATURE}"}}'
    pod = watched(counts, 1000, 6)
    evaluate(
        tmp_path, pod.series(), EVERY_S, groups=DRIFT_RULES, values={("6h", f"sum({query})"): psi(pictures, [0.1] * 10)}
    )


def test_the_critical_value_is_that_of_chi_square(tmp_path: Path) -> None:
    pod = watched(EVEN, 12000, 6)
    query = f'sum(catsdogs:drift_psi_critical:6h{{feature="{FEATURE}"}})'
    exact = 39.34 * (DESIGN_EFFECT / 72000 + 1 / 2000)  # chi2 with 9 degrees of freedom at 1 - 1e-5
    evaluate(
        tmp_path,
        pod.series(),
        EVERY_S,
        groups=DRIFT_RULES,
        values={
            ("6h", f"abs({query} / {exact} - 1) < bool 0.03"): 1.0,
            ("6h", f"{query} / {critical(10, 72000, 2000)!r}"): 1.0,
        },
    )


@pytest.mark.parametrize(
    ("counts", "pictures", "expected"),
    [
        pytest.param(SHIFTED, 2000, DRIFT, id="many shifted pictures"),
        pytest.param(SHIFTED, 50, set(), id="too few to tell"),
        pytest.param([0.85, 0.9, 0.95, 1, 1, 1, 1, 1.05, 1.1, 1.15], 100000, set(), id="significant and small"),
        pytest.param(EVEN, 2000, set(), id="as the reference"),
    ],
)
def test_drift_is_told_where_it_is_large_and_significant(
    counts: list[float], pictures: float, expected: Alerts, tmp_path: Path
) -> None:
    evaluate(tmp_path, watched(counts, pictures, 3).series(), EVERY_S, groups=DRIFT_RULES, alerts={"3h": expected})


def test_drift_is_told_after_an_hour_of_it(tmp_path: Path) -> None:
    evaluate(
        tmp_path, watched(SHIFTED, 6000, 2).series(), EVERY_S, groups=DRIFT_RULES, alerts={"55m": set(), "115m": DRIFT}
    )


def test_without_a_reference_there_is_no_drift(tmp_path: Path) -> None:
    series = watched(SHIFTED, 2000, 3).series()
    bare = {name: samples for name, samples in series.items() if "reference" not in name}
    evaluate(tmp_path, bare, EVERY_S, groups=DRIFT_RULES, alerts={"3h": set()})


def test_other_classes_than_the_references_are_drift(tmp_path: Path) -> None:
    pod = Pod()
    for _ in range(37):
        pod.count("catsdogs_predictions_total", 500, **{"class": "cat"}, traffic="user")
        pod.count("catsdogs_predictions_total", 20, **{"class": "dog"}, traffic="user")
        pod.scrape()
    evaluate(
        tmp_path,
        pod.series(),
        EVERY_S,
        groups=DRIFT_RULES,
        alerts={"3h": {("ticket", "CatsdogsInputDrift", "predicted_class")}},
    )


@pytest.mark.parametrize(
    ("uncertainty", "pictures", "expected"),
    [
        pytest.param(0.3, 100, {("ticket", "CatsdogsAccuracyEstimateLow")}, id="unsure"),
        pytest.param(0.02, 100, set(), id="sure"),
        pytest.param(0.3, 3, set(), id="too few to tell"),
    ],
)
def test_a_model_that_is_unsure_is_told(uncertainty: float, pictures: int, expected: Alerts, tmp_path: Path) -> None:
    pod = Pod()
    for _ in range(37):
        pod.observe("catsdogs_prediction_uncertainty_ratio", pictures, uncertainty)
        pod.scrape()
    values = {("3h", "sum(catsdogs:accuracy_estimate:6h)"): 1 - uncertainty} if pictures == 100 else None
    evaluate(tmp_path, pod.series(), EVERY_S, groups=DRIFT_RULES, alerts={"3h": expected}, values=values)
