"""The board's estimate of the accuracy: marked as in doubt while a feature drifts, by promtool."""

import json
from pathlib import Path

import pytest

from monitoring.board.model import DOUBTED
from tests.monitoring.support import evaluate, needs_promtool, rendered
from tests.monitoring.test_queries import panels

pytestmark = needs_promtool


def queries() -> dict[str, str]:
    """Return the queries of the panel by their legend, as Grafana sends them."""
    (panel,) = (
        panel for panel in panels(json.loads(rendered()["board.json"])) if panel["title"] == "Estimated accuracy (CBPE)"
    )
    return {target["legendFormat"]: target["expr"].replace("$namespace", "pets") for target in panel["targets"]}


@pytest.mark.parametrize(("psi", "doubted"), [(0.01, False), (0.5, True)])
def test_the_estimate_is_in_doubt_while_a_feature_drifts(tmp_path: Path, psi: float, doubted: bool) -> None:
    trusted, doubtful = queries()["estimate"], queries()["calibration in doubt"]
    assert DOUBTED.replace("$namespace", "pets") == doubtful
    labels = 'namespace="pets",service="catsdogs"'
    evaluate(
        tmp_path,
        {
            f"catsdogs:accuracy_estimate:6h{{{labels}}}": [0.97],
            f'catsdogs:drift_psi:6h{{{labels},feature="brightness"}}': [psi],
            f'catsdogs:drift_psi_critical:6h{{{labels},feature="brightness"}}': [0.1],
        },
        60,
        groups="none of them",
        values={
            ("0s", f"sum({doubtful}) or vector(0)"): 0.97 if doubted else 0.0,
            ("0s", f"sum({trusted}) or vector(0)"): 0.0 if doubted else 0.97,
        },
    )
