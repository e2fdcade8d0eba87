"""Counters of feedback; monitoring/metrics.yaml says what each means."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from prometheus_client.core import CounterMetricFamily
from prometheus_client.metrics_core import Metric

from serving.feedback.entry import NEITHER
from serving.telemetry.requests import OTHER

REFUSALS = (
    "bad_feedback",
    "bad_token",
    "expired_token",
    "feedback_full",
    "feedback_unavailable",
    "incomplete",
    "internal",
    "method",
    "other_picture",
    "overloaded",
    "picture_refused",
    "too_many_bytes",
    "too_much_feedback",
    "unauthorized",
    "unknown_label",
    "unsupported_encoding",
)
# Classes whose pairs have series from the start, and pairs that have series of their own at most: a model of a thousand
# classes has a million pairs.
FEW_CLASSES = 10
MAX_PAIRS = 400


@dataclass(slots=True)
class FeedbackCounts:
    """Counters of one gateway. Not thread-safe: one event loop has them."""

    given: dict[tuple[str, str], int] = field(default_factory=dict)
    """Numbers of labels that were stored, by the class predicted and the label given."""
    refused: dict[str, int] = field(default_factory=lambda: dict.fromkeys((*REFUSALS, OTHER), 0))

    def count_given(self, predicted: str, given: str) -> None:
        pair = (predicted, given)
        if pair not in self.given and len(self.given) >= MAX_PAIRS:
            pair = (OTHER, OTHER)
        self.given[pair] = self.given.get(pair, 0) + 1

    def count_refused(self, code: str) -> None:
        self.refused[code if code in self.refused else OTHER] += 1

    def families(self, classes: Sequence[str]) -> Iterator[Metric]:
        """Return the metrics.

        Args:
            classes: of the model that is served.
        """
        given = CounterMetricFamily(
            "catsdogs_feedback", "Labels that were given to predictions.", labels=["predicted", "given"]
        )
        few = classes if len(classes) <= FEW_CLASSES else ()
        known = {(predicted, label): 0 for predicted in few for label in (*few, NEITHER)}
        for pair, count in {**known, **self.given}.items():
            given.add_metric(pair, count)
        yield given
        refused = CounterMetricFamily("catsdogs_feedback_refused", "Feedback that was refused.", labels=["code"])
        for code, count in self.refused.items():
            refused.add_metric([code], count)
        yield refused
