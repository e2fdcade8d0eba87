"""Drift of the pictures by the population stability index (PSI), and an estimate of the accuracy without labels.

An alert takes a PSI that is large, significant and lasting (common/psi.py).
"""

from dataclasses import dataclass

from common.psi import DESIGN_EFFECT, LARGE, LEAST_SHARE, SMOOTHING, Z
from monitoring.rules.model import Alert, Group, Record, Target

WINDOWS = ("6h", "1d")
LEAST_PICTURES = 200
"""Pictures below which the mean uncertainty says nothing."""


@dataclass(frozen=True, slots=True)
class Binned:
    """A counter of pictures by bin, and the gauge of the reference's shares."""

    counter: str
    reference: str
    bins: str
    """The label of the bins."""
    by: str
    """The labels of the result."""
    matchers: tuple[str, ...] = ()
    feature: str | None = None
    """The name of the feature, where no label has it."""

    @property
    def labels(self) -> dict[str, str]:
        return {"feature": self.feature} if self.feature else {}


FEATURES = Binned("catsdogs_drift_bin_total", "catsdogs_drift_reference_ratio", "feature, bin", "feature")
CLASSES = Binned(
    "catsdogs_predictions_total",
    "catsdogs_drift_reference_class_ratio",
    "class",
    "",
    ('traffic="user"',),
    "predicted_class",
)


def recorded(target: Target, name: str, *matchers: str) -> str:
    """Return the selector of a series that these rules record for this service."""
    service = f'service="{target.service}"'
    return f"{name}{{{','.join((service, *matchers))}}}"


def psi(target: Target, binned: Binned, window: str) -> str:
    """Return the query of the PSI of the window's pictures against the reference."""
    counts = f"sum by ({binned.bins}) (increase({target.series(binned.counter, *binned.matchers)}[{window}]))"
    on = f"on ({binned.by})"
    expected = f"avg by ({binned.bins}) ({target.series(binned.reference)})"
    pictures = f"((sum by ({binned.by}) ({counts}) > 0) + {SMOOTHING})"
    share = f"clamp_min(({counts} + {SMOOTHING} * {expected}) / {on} group_left () {pictures}, {LEAST_SHARE})"
    reference = f"clamp_min({expected}, {LEAST_SHARE})"
    return f"sum by ({binned.by}) (({share} - {reference}) * ln({share} / {reference}))\n"


def critical(target: Target, binned: Binned, window: str) -> str:
    """Return the query of the PSI that chance exceeds once in 100,000 windows.

    The quantile of chi2 is Wilson and Hilferty's approximation, within 2 % for 9 degrees of freedom.
    """
    freedom = f"(count by ({binned.by}) (avg by ({binned.bins}) ({target.series(binned.reference)})) - 1)"
    quantile = f"{freedom} * (1 - 2 / (9 * {freedom}) + {Z} * sqrt(2 / (9 * {freedom}))) ^ 3"
    counter = target.series(binned.counter, *binned.matchers)
    pictures = f"sum by ({binned.by}) (increase({counter}[{window}]))"
    reference = f"scalar(avg({target.series('catsdogs_drift_reference_pictures')}))"
    return f"({quantile}) * ({DESIGN_EFFECT} / ({pictures} > 0) + 1 / {reference})\n"


def accuracy(target: Target, window: str) -> str:
    """Return the query of the estimated accuracy: the mean probability of the predicted class (CBPE)."""
    name = "catsdogs_prediction_uncertainty_ratio"
    total, count = (f"sum(increase({target.series(f'{name}_{part}')}[{window}]))" for part in ("sum", "count"))
    return f"1 - {total} / ({count} >= {LEAST_PICTURES})\n"


def records(target: Target) -> tuple[Record, ...]:
    labels = {"service": target.service, **target.labels}
    series = [
        Record(f"catsdogs:drift_{name}:{window}", query(target, binned, window), labels | binned.labels)
        for window in WINDOWS
        for binned in (FEATURES, CLASSES)
        for name, query in (("psi", psi), ("psi_critical", critical))
    ]
    return (*series, Record(f"catsdogs:accuracy_estimate:{WINDOWS[0]}", accuracy(target, WINDOWS[0]), labels))


def drift(target: Target) -> Alert:
    def drifted(window: str) -> str:
        measured = recorded(target, f"catsdogs:drift_psi:{window}")
        return f"({measured} > {LARGE} and {measured} > {recorded(target, f'catsdogs:drift_psi_critical:{window}')})"

    return Alert(
        "CatsdogsInputDrift",
        "\nor\n".join(drifted(window) for window in WINDOWS) + "\n",
        "ticket",
        "The pictures' {{ $labels.feature }} differs from the reference: PSI {{ $value | humanize }}.",
        "Predictions may be wrong more often than the model card says; the server works. First step: label a hundred "
        "recent pictures, and compare the accuracy with the model card's.",
        lasting="1h",
    )


def inaccurate(target: Target, floor: float) -> Alert:
    return Alert(
        "CatsdogsAccuracyEstimateLow",
        f"{recorded(target, f'catsdogs:accuracy_estimate:{WINDOWS[0]}')} < {floor:g}\n",
        "ticket",
        f"The model is uncertain: the estimated accuracy is {{{{ $value | humanizePercentage }}}}, below {floor:.0%}.",
        "Users get more wrong labels. The estimate holds only while the model is calibrated. First step: check whether "
        "CatsdogsInputDrift fires. If not, send labelled pictures with catsdogs validate.",
        lasting="30m",
    )


def groups(target: Target, floor: float) -> tuple[Group, ...]:
    """Return the recorded PSI and accuracy, and their alerts. `floor` is the objective of accuracy."""
    alerts = (drift(target), inaccurate(target, floor))
    return (Group("catsdogs-drift", (*records(target), *alerts), "1m"),)
