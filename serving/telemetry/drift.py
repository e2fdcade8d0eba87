"""Drift of users' pictures, as `GET /drift` answers it: from the workers' counters, by the alert's own thresholds.

The windows are the alert's: the last 6 hours and the last day, or as long as the server has been counting. A snapshot
of the counters is kept for each ten minutes, and a window is the difference between the newest and one of before.
"""

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from common.psi import DESIGN_EFFECT, LARGE, critical, judge, least_pictures, psi
from common.verdicts import Verdict

HOURS = (6, 24)
EVERY_S = 600.0
CLASS = "predicted_class"
NOT_READY = {"verdict": Verdict.NOT_READY, "reason": "The workers' counters cannot be read now."}
NO_REFERENCE = "The release has no reference: `catsdogs reference` makes one."


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The workers' counters at one moment: users' pictures by bin of each feature that the reference has."""

    time: float
    model: Mapping[str, str] = field(default_factory=dict)
    reference_pictures: int = 0
    shares: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    counts: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


def read_snapshot(text: str, now: float) -> Snapshot:
    """Return what the workers' metrics say."""
    values: dict[str, dict[tuple[str, str], float]] = {}
    model: dict[str, str] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = sample.labels
            if family.name == "catsdogs_model_info":
                model = {name: labels[name] for name in ("name", "version", "sha256")}
            elif labels.get("traffic", "user") == "user":
                key = labels.get("feature", CLASS), labels.get("bin", labels.get("class", ""))
                values.setdefault(family.name, {})[key] = sample.value
    shares = {
        **values.get("catsdogs_drift_reference_ratio", {}),
        **values.get("catsdogs_drift_reference_class_ratio", {}),
    }
    counts = {**values.get("catsdogs_drift_bin", {}), **values.get("catsdogs_predictions", {})}
    by_feature: dict[str, list[str]] = {}
    for feature, name in sorted(shares):
        by_feature.setdefault(feature, []).append(name)
    pictures = values.get("catsdogs_drift_reference_pictures", {})
    return Snapshot(
        now,
        model,
        int(next(iter(pictures.values()), 0)),
        {feature: tuple(shares[feature, name] for name in names) for feature, names in by_feature.items()},
        {
            feature: tuple(int(counts.get((feature, name), 0)) for name in names)
            for feature, names in by_feature.items()
        },
    )


class History:
    """Snapshots of the last day, the oldest first."""

    def __init__(self) -> None:
        self.snapshots: deque[Snapshot] = deque()

    def restart(self, snapshot: Snapshot) -> None:
        """Begin again where counters went down: TorchServe's half was started anew, and counts from zero."""
        if self.snapshots and is_anew(self.snapshots[-1], snapshot):
            last = self.snapshots[-1].time
            self.snapshots.clear()
            self.snapshots.append(Snapshot(last))

    def add(self, snapshot: Snapshot) -> None:
        """Keep a snapshot, and of those older than the longest window the newest alone."""
        self.restart(snapshot)
        self.snapshots.append(snapshot)
        while len(self.snapshots) > 1 and self.snapshots[1].time <= snapshot.time - max(HOURS) * 3600:
            self.snapshots.popleft()

    def start(self, hours: float, now: float) -> Snapshot:
        """Return the newest snapshot that is so old, or the oldest."""
        old = [snapshot for snapshot in self.snapshots if snapshot.time <= now - hours * 3600]
        return old[-1] if old else self.snapshots[0]


def is_anew(before: Snapshot, after: Snapshot) -> bool:
    """Whether the counters were started anew between two snapshots."""
    if before.model and after.model and before.model != after.model:
        return True
    # The same network in an archive with another reference: bins are no longer the same ones.
    if before.shares and after.shares and before.shares != after.shares:
        return True
    return any(
        count < old
        for feature, counts in before.counts.items()
        for old, count in zip(counts, after.counts.get(feature, counts), strict=False)
    )


def drift(history: History, newest: Snapshot) -> dict[str, Any]:
    """Return the answer of `GET /drift`.

    Args:
        history: has a snapshot that is at most as new.
    """
    windows = []
    for hours in HOURS:
        start = history.start(hours, newest.time)
        counts = {feature: since(counts, start.counts.get(feature)) for feature, counts in newest.counts.items()}
        windows.append({"hours": hours, "since": iso(start.time), "counts": counts})
    return document(newest.model, newest.reference_pictures, newest.shares, windows)


def since(counts: Sequence[int], before: Sequence[int] | None) -> list[int]:
    return [count - old for count, old in zip(counts, before or [0] * len(counts), strict=True)]


def document(
    model: Mapping[str, str],
    reference_pictures: int,
    shares: Mapping[str, Sequence[float]],
    windows: Iterable[Mapping[str, Any]],
) -> dict[str, Any]:
    """Return the verdict on windows that have `hours`, `since` and the pictures' `counts` by feature and bin."""
    if not shares or not reference_pictures:
        verdict, reason = (Verdict.INCONCLUSIVE, NO_REFERENCE) if model else NOT_READY.values()
        return {"verdict": verdict, "reason": reason, "model": dict(model)}
    judged = [judged_window(window, shares, reference_pictures) for window in windows]
    drifted = [window for window in judged if window["verdict"] == Verdict.BREACH]
    # A day holds more pictures than its last hours: what they are too few for it may show.
    decisive = drifted[0] if drifted else judged[-1]
    return {
        "verdict": decisive["verdict"],
        "reason": reason_of(decisive),
        "model": dict(model),
        "reference_pictures": reference_pictures,
        "large": LARGE,
        "design_effect": DESIGN_EFFECT,
        "windows": judged,
    }


def judged_window(
    window: Mapping[str, Any], shares: Mapping[str, Sequence[float]], reference_pictures: int
) -> dict[str, Any]:
    features = {
        feature: judged_feature(counts, shares[feature], reference_pictures)
        for feature, counts in window["counts"].items()
    }
    verdicts = {feature["verdict"] for feature in features.values()}
    worst = next(each for each in (Verdict.BREACH, Verdict.INCONCLUSIVE, Verdict.PASS) if each in verdicts)
    return {"hours": window["hours"], "since": window["since"], "verdict": worst, "features": features}


def judged_feature(counts: Sequence[int], shares: Sequence[float], reference_pictures: int) -> dict[str, Any]:
    pictures, bins = sum(counts), len(shares)
    value = psi(counts, shares)
    return {
        "verdict": judge(value, bins, pictures, reference_pictures) if bins > 1 else Verdict.PASS,
        "psi": round(value, 6),
        "chance": round(critical(bins, pictures, reference_pictures), 6) if pictures and bins > 1 else None,
        "pictures": pictures,
        "pictures_needed": least_pictures(bins, reference_pictures) if bins > 1 else 0,
        "counts": list(counts),
        "reference": list(shares),
    }


def reason_of(window: Mapping[str, Any]) -> str:
    """Return a sentence about the window that decides."""
    by_verdict: dict[str, list[str]] = {}
    for name, feature in window["features"].items():
        by_verdict.setdefault(feature["verdict"], []).append(name)
    if drifted := by_verdict.get(Verdict.BREACH):
        return f"These differ from the reference over {window['hours']} hours: {', '.join(drifted)}."
    if open_ := by_verdict.get(Verdict.INCONCLUSIVE):
        few = [window["features"][name] for name in open_]
        needed = [feature["pictures_needed"] for feature in few]
        if None in needed:
            return "The reference has too few pictures: make one of more by `catsdogs reference`."
        pictures = min(feature["pictures"] for feature in few)
        return (
            f"There are {pictures} pictures since {window['since']}; {max(needed)} are needed to exclude a large drift."
        )
    return f"Nothing differs from the reference over {window['hours']} hours."


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(math.floor(seconds), UTC).isoformat().replace("+00:00", "Z")
