"""The model card's section on robustness: where the release's probability is not to be trusted, and its accuracy."""

from training.evaluation.markdown import Figures, decimal, escaped, interval, percent, section, table


def robustness_section(robustness: Figures) -> str:
    """Return the section; nothing where a release was not measured."""
    precisions = robustness.get("precisions", {})
    rows = [
        (escaped(source), precision, condition, *_cells(figures, robustness["trusted_ece"]))
        for source in next(iter(precisions.values()), {})
        for precision, sources in precisions.items()
        for condition, figures in sources[source].items()
    ]
    header = ["pictures", "precision", "condition", "accuracy", "95 % interval", "n"]
    header += ["mean probability", "ECE", "95 % interval", "trusted"]
    return section("Where its probability is not to be trusted", f"{_text(robustness)}{table(header, rows)}", rows)


def not_trusted(robustness: Figures) -> dict[str, list[str]]:
    """Return the conditions whose calibration error is above the limit in a source and precision, with these."""
    found: dict[str, list[str]] = {}
    for precision, sources in robustness.get("precisions", {}).items():
        for source, conditions in sources.items():
            for condition, figures in conditions.items():
                if figures["ece"] > robustness["trusted_ece"]:
                    found.setdefault(condition, []).append(f"{source} in {precision}")
    return found


def _cells(figures: Figures, limit: float) -> tuple[str, ...]:
    return (
        percent(figures["share"]),
        interval(figures),
        str(figures["count"]),
        percent(figures["probability"]),
        decimal(figures["ece"]),
        f"{decimal(figures['ece_low'])} to {decimal(figures['ece_high'])}",
        "yes" if figures["ece"] <= limit else "**no**",
    )


def _text(robustness: Figures) -> str:
    limit = f"{100 * robustness.get('trusted_ece', 0):g} %"
    wrong = not_trusted(robustness)
    verdict = (
        f"Do not trust its probability on pictures that are: {', '.join(wrong)}."
        if wrong
        else "Its probability was within the limit in each condition."
    )
    changes = "; ".join(f"{name}: {text}" for name, text in robustness.get("conditions", {}).items())
    sample = f" At most {robustness['limit']} pictures of each source were taken." if robustness.get("limit") else ""
    return (
        f"{verdict} The limit is an expected calibration error (ECE) of\n{limit} on the changed test pictures, in any "
        f"source and precision. A mean probability above the accuracy is overconfident.\n\n"
        f"{changes}.{sample} ECE is above zero by chance alone, the more so the fewer pictures there are; its interval "
        "is a bootstrap's.\n\n"
    )
