"""The row about the model: drift of the pictures, and the accuracy that it is believed to have."""

from common.psi import LARGE
from monitoring.board.panel import Panel, Row, named, quantile, recorded
from monitoring.objectives import Objectives
from monitoring.rules.drift import WINDOWS

DRIFT = WINDOWS[0]
PSI, CRITICAL = recorded(f"catsdogs:drift_psi:{DRIFT}"), recorded(f"catsdogs:drift_psi_critical:{DRIFT}")
ESTIMATE = recorded(f"catsdogs:accuracy_estimate:{DRIFT}")
DRIFTED = f"count({PSI} > {LARGE} and {PSI} > {CRITICAL})"
DOUBTED = f"{ESTIMATE} and on () {DRIFTED}"
"""The estimated accuracy where it may not hold; without data while nothing drifts."""


def drift(objectives: Objectives) -> Row:
    classes, reference = "catsdogs_predictions_total", "catsdogs_drift_reference_class_ratio"
    users = named(classes, 'traffic="user"')
    uncertainty = "catsdogs_prediction_uncertainty_ratio"
    return Row(
        "Drift and accuracy",
        (
            Panel(
                "Drift of the pictures (PSI)",
                "none",
                {"{{feature}}": PSI},
                f"Difference of the last {DRIFT} from the reference. Above {LARGE} it is large.",
                line=LARGE,
            ),
            Panel(
                "Drift, as a multiple of chance",
                "none",
                {"{{feature}}": f"{PSI} / {CRITICAL}"},
                "PSI, divided by what chance exceeds once in 100,000 windows. Above 1 it is significant.",
                line=1,
            ),
            Panel(
                "Predicted classes",
                "percentunit",
                {
                    "{{class}}": f"sum by (class) (increase({users}[{DRIFT}])) / on () group_left () "
                    f"(sum(increase({users}[{DRIFT}])) > 0)",
                    "{{class}}, reference": f"avg by (class) ({named(reference)})",
                },
                f"Share of each predicted class in the last {DRIFT}, and in the reference.",
            ),
            Panel(
                "Estimated accuracy (CBPE)",
                "percentunit",
                {"estimate": f"{ESTIMATE} unless on () {DRIFTED}", "calibration in doubt": DOUBTED},
                "Mean probability of the predicted class. It holds only while the model is calibrated. The line in "
                "doubt takes over where a feature drifts: `catsdogs validate` then measures with labelled pictures.",
                line=objectives.accuracy.objective,
                good="high",
            ),
            Panel(
                "Features that drift",
                "none",
                {"features": f"{DRIFTED} or vector(0)"},
                "Features with large and significant drift. Above 0 the estimate of the accuracy may not hold.",
                line=1,
            ),
            Panel(
                "Uncertainty",
                "percentunit",
                {f"p{share * 100:g}": quantile(share, uncertainty) for share in (0.5, 0.9, 0.99)},
                "1 less the probability of the predicted class.",
            ),
        ),
    )
