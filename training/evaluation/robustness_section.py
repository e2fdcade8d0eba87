"""The model card's section on robustness: where the release's probability is not to be trusted, and its accuracy."""

from training.evaluation.markdown import Figures, decimal, escaped, interval, percent, section, table

YES, UNCLEAR, NO = VERDICTS = ("yes", "not shown", "no")
# Fewer show nothing good: even if all n are right, the share of errors may be as high as 3/n (95 %).
LEAST_PICTURES = 100


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


def judged(robustness: Figures) -> dict[str, str]:
    """Return the verdict on each condition, the worst one over its sources and precisions: see `verdict`."""
    worst: dict[str, str] = {}
    for sources in robustness.get("precisions", {}).values():
        for conditions in sources.values():
            for condition, figures in conditions.items():
                found = verdict(figures, robustness["trusted_ece"])
                worst[condition] = max(found, worst.get(condition, found), key=VERDICTS.index)
    return worst


def verdict(figures: Figures, limit: float) -> str:
    """Return whether the calibration error is shown to be within the limit, by its 95 % interval.

    It is not shown by fewer than LEAST_PICTURES: a resample of few pictures without a mistake has none either.
    """
    if figures["ece_low"] > limit:
        return NO
    return YES if figures["ece_high"] <= limit and figures["count"] >= LEAST_PICTURES else UNCLEAR


def _cells(figures: Figures, limit: float) -> tuple[str, ...]:
    return (
        percent(figures["share"]),
        interval(figures),
        str(figures["count"]),
        percent(figures["probability"]),
        decimal(figures["ece"]),
        f"{decimal(figures['ece_low'])} to {decimal(figures['ece_high'])}",
        f"**{NO}**" if (found := verdict(figures, limit)) == NO else found,
    )


def _text(robustness: Figures) -> str:
    verdicts = judged(robustness)
    named = {kind: [name for name, found in verdicts.items() if found == kind] for kind in VERDICTS}
    sentences = [
        f"Do not trust its probability on pictures that are: {', '.join(named[NO]) or 'none of these'}.",
        f"Not shown either way: {', '.join(named[UNCLEAR])}." if named[UNCLEAR] else "",
        f"Shown to be within the limit: {', '.join(named[YES])}." if named[YES] else "",
    ]
    counts = [
        figures["count"]
        for sources in robustness.get("precisions", {}).values()
        for conditions in sources.values()
        for figures in conditions.values()
    ]
    few = f" Fewer than {LEAST_PICTURES} pictures are never `yes`." if min(counts, default=0) < LEAST_PICTURES else ""
    changes = "; ".join(f"{name}: {text}" for name, text in robustness.get("conditions", {}).items())
    sample = f" At most {robustness['limit']} pictures of each source were taken." if robustness.get("limit") else ""
    return (
        f"{' '.join(filter(None, sentences))}\n\nThe limit is an expected calibration error (ECE) of "
        f"{100 * robustness.get('trusted_ece', 0):g} %, in each source and precision: trusted is `no` if the\n"
        "interval lies above it, and `yes` if the interval lies below. A mean probability above the accuracy is too "
        f"sure.{few}\n\n{changes}.{sample} ECE is above zero by chance alone, the more so the fewer pictures there "
        "are; its interval is a bootstrap's.\n\n"
    )
