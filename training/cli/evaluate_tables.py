"""The results of evaluate for people: tables and sentences."""

from typing import Any

from rich.table import Table


def rules_table(rules: dict[str, Any]) -> Table:
    """Return the accuracy of each resize rule."""
    table = Table("rule", "accuracy", "95 % interval", "n", title="val split, at usual aspects")
    for name, figures in rules["rules"].items():
        table.add_row(name, *_percents(figures["share"], figures), str(figures["count"]))
    return table


def sizes_table(measured: dict[str, Any], title: str = "val split") -> Table:
    """Return accuracy and cost of each input size."""
    table = Table("size", "accuracy", "95 % interval", "ms per picture", title=title)
    for row in measured["sizes"]:
        figures = row["accuracy"]
        table.add_row(str(row["size"]), *_percents(figures["share"], figures), f"{row['milliseconds']:.2f}")
    return table


def report_table(report: dict[str, Any]) -> Table:
    """Return the figures of each slice."""
    table = Table("slice", "accuracy", "95 % interval", "n", "balanced", "ECE", title=f"{report['split']} split")
    for name, figures in report["slices"].items():
        shares = (f"{100 * figures[key]:.2f} %" for key in ("balanced_accuracy", "ece"))
        table.add_row(name, *_percents(figures["accuracy"], figures), str(figures["count"]), *shares)
    return table


def report_lines(report: dict[str, Any]) -> list[str]:
    """Return what the table does not tell: confusions, classes not judged, the temperature."""
    lines = [
        f"{name}: {pair['truth']} taken for {pair['verdict']}, {pair['count']} of {pair['of']} times"
        for name, figures in report["slices"].items()
        for pair in figures.get("worst_pairs", [])[:3]
    ]
    if few := report["not_judged"]:
        names = ", ".join(f"{name} ({count})" for name, count in few.items())
        lines.append(f"cannot be judged, with fewer than 10 pictures in {report['split']}: {names}")
    temperature = report["temperature"]
    errors = ", ".join(f"{name} {100 * row['ece_scaled']:.2f} %" for name, row in report["slices"].items())
    same = ", the split under test itself" * temperature["fitted_on_the_split_under_test"]
    fitted = f"{temperature['fitted_on']}{same} ({temperature['count']} pictures, shrunk towards 1)"
    return [*lines, f"temperature {temperature['value']:.3f}, fitted on {fitted}: ECE {errors}"]


def _percents(share: float, figures: dict[str, Any]) -> tuple[str, str]:
    return f"{100 * share:.2f} %", f"{100 * figures['low']:.2f} % to {100 * figures['high']:.2f} %"
