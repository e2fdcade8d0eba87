"""The model card's section on unsure answers: the threshold, what it does on test pictures and on other things."""

from dataclasses import asdict

from training.evaluation.markdown import Figures, escaped, section, table, with_interval
from training.evaluation.metrics import proportion


def unsure_section(unsure: Figures) -> str:
    """Return the section; nothing where a release has no thresholds."""
    precisions = unsure.get("precisions", {})
    rows = []
    for precision, facts in precisions.items():
        for name, counts in {"val": facts["val"], **facts["test"]}.items():
            source = "val" if name == "val" else f"test, {escaped(name)}"
            rows.append((precision, source, _threshold(facts["threshold"]), *_shares(counts)))
    header = ["precision", "pictures", "unsure below", "not unsure", "wrong among these", "wrong of all"]
    text = (
        f"An answer is unsure if its probability is below the threshold. The threshold was chosen on the val split:\n"
        f"the smallest one at which at most {100 * unsure.get('max_risk', 0):g} % of the other answers are wrong. The "
        f"test pictures had no say in it.\n\n{table(header, rows)}{_curve(precisions)}{_others(unsure)}"
    )
    return section("Unsure answers", text, rows)


def _threshold(threshold: float | None) -> str:
    return "none reaches it" if threshold is None else f"{threshold:g}"


def _shares(counts: Figures) -> tuple[str, str, str]:
    if not counts["count"]:
        return ("", "", "")
    return (
        _share(counts["sure"], counts["count"]),
        _share(counts["wrong"], counts["sure"]),
        _share(counts["wrong_of_all"], counts["count"]),
    )


def _share(part: int, whole: int) -> str:
    return with_interval(asdict(proportion(part, whole))) if whole else ""


def _curve(precisions: Figures) -> str:
    rows = [
        (precision, f"{point['threshold']:g}", *_shares(point)[:2])
        for precision, facts in precisions.items()
        for point in facts["curve"]
    ]
    header = ["precision", "threshold", "not unsure", "wrong among these"]
    return f"\n\nThe risk-coverage curve on the val split:\n\n{table(header, rows)}"


def _others(unsure: Figures) -> str:
    others = unsure.get("others") or {}
    rows = [
        (escaped(kind), precision, _share(facts["unsure"], measured["count"]))
        for kind, measured in others.items()
        for precision, facts in measured.items()
        if precision != "count"
    ]
    if not rows:
        return ""
    return (
        "\n\nOf pictures that show none of the classes, so that every answer is wrong, this share was called unsure:"
        "\n\n"
        f"{table(['pictures of', 'precision', 'unsure'], rows)}\n\n"
        "An answer that is not unsure is therefore no proof that the picture shows one of the classes."
    )
