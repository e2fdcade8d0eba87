"""Is a model worth a release? It must be better than always answering the most common class."""

from typing import Any

from handler.files import UserError
from training.evaluation.metrics import Proportion, proportion


def refuse_poor(report: dict[str, Any]) -> None:
    """Judge what `evaluate` measured on the test split, over all slices together.

    Raises:
        UserError: the lower bound of the accuracy's 95 % interval is not above the most common class's share.
    """
    accuracy, common, share = measure_worth(report)
    if accuracy.low > share:
        return
    raise UserError(
        f"The model is right on {accuracy} of the test pictures, which does not show that it is better than always "
        f"answering {common} ({100 * share:.2f} %). Train it on more pictures or with another config, or test it on "
        "more; to export it as it is: --allow-poor"
    )


def measure_worth(report: dict[str, Any]) -> tuple[Proportion, str, float]:
    """The accuracy over all slices, the most common class in test, and its share."""
    slices = report["slices"].values()
    whole = proportion(sum(figures["right"] for figures in slices), sum(figures["count"] for figures in slices))
    counts = [sum(row) for row in zip(*(map(sum, figures["confusion"]) for figures in slices), strict=True)]
    common = max(range(len(counts)), key=counts.__getitem__)
    return whole, report["classes"][common], counts[common] / whole.count
