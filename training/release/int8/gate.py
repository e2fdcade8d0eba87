"""Is the int8 network as good as the fp32 one? Judged on the pictures of the test split, which both answered."""

from typing import Any

from common.binomial import min_sample_size
from common.paired import loss_bounds
from common.verdicts import Verdict
from handler.runtimes.runtime import Logits
from training.evaluation.metrics import Ints, calibration_error

# Of accuracy, and of the expected calibration error.
MAX_LOSS = 0.005
MAX_ECE_INCREASE = 0.005
CONFIDENCE = 0.95
# Fewer pictures could not show it even if both networks were right on the same ones.
MIN_PICTURES = min_sample_size(1 - MAX_LOSS, (1 + CONFIDENCE) / 2)


def judge(labels: Ints, reference: Logits, candidate: Logits) -> dict[str, Any]:
    """Return the verdict on int8, a sentence on it, and its figures.

    Args:
        labels: int64 (n,), n >= 1.
        reference: probabilities by the fp32 network, (n, classes).
        candidate: probabilities by the int8 network.
    """
    right, kept = reference.argmax(axis=1) == labels, candidate.argmax(axis=1) == labels
    lost, won, count = int((right & ~kept).sum()), int((kept & ~right).sum()), len(labels)
    low, high = loss_bounds(lost, won, count, CONFIDENCE)
    ece, ece_fp32 = (calibration_error(labels, p.astype("float64")) for p in (candidate, reference))
    figures = {
        "pictures": count,
        "only_fp32_right": lost,
        "only_int8_right": won,
        "loss_lower_bound": low,
        "loss_upper_bound": high,
        "max_loss": MAX_LOSS,
        "confidence": CONFIDENCE,
        "ece": ece,
        "ece_fp32": ece_fp32,
        "max_ece_increase": MAX_ECE_INCREASE,
    }
    return {"verdict": str(_verdict(figures)), "sentence": _sentence(figures), "gate": figures}


def too_few(count: int) -> dict[str, Any]:
    """Return the verdict where there are too few pictures to judge by."""
    sentence = f"int8 was not tried: it takes {MIN_PICTURES} test pictures to show that it loses nothing, not {count}."
    return {"verdict": str(Verdict.INCONCLUSIVE), "sentence": sentence}


def _verdict(figures: dict[str, Any]) -> Verdict:
    calibrated = figures["ece"] - figures["ece_fp32"] <= MAX_ECE_INCREASE
    if figures["loss_lower_bound"] > MAX_LOSS or not calibrated:
        return Verdict.BREACH
    return Verdict.PASS if figures["loss_upper_bound"] <= MAX_LOSS else Verdict.INCONCLUSIVE


def _sentence(figures: dict[str, Any]) -> str:
    return (
        f"Of {figures['pictures']} test pictures, fp32 alone gets {figures['only_fp32_right']} right and int8 alone "
        f"{figures['only_int8_right']}: with {100 * CONFIDENCE:.0f} % confidence int8 loses at most "
        f"{100 * figures['loss_upper_bound']:.2f} points of accuracy ({100 * MAX_LOSS:.1f} are allowed). The expected "
        f"calibration error is {figures['ece']:.4f}, that of fp32 {figures['ece_fp32']:.4f} "
        f"({MAX_ECE_INCREASE} more are allowed)."
    )
