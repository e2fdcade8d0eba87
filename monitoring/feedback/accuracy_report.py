"""The plot of accuracy over time, as a PNG and in one HTML page."""

import base64
import io

from jinja2 import Environment, StrictUndefined
from matplotlib.figure import Figure as Plot

from monitoring.feedback.accuracy import CAVEAT, Accuracy

MARKERS = "osD^vP*X"
MAX_TICKS = 12
PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Accuracy from feedback</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color-scheme: light }
table { border-collapse: collapse } td, th { padding: .2rem .8rem; text-align: right } img { max-width: 100% }
</style>
<h1>Accuracy on pictures with feedback</h1>
<p>{{ caveat }}</p>
<p>{{ result.records }} records{{ ", labels after review" if result.reviewed else ", labels as users gave them" }}.
{% for reason, count in result.left_out.items() if count %}Left out, {{ reason }}: {{ count }}. {% endfor %}</p>
<img alt="Accuracy by {{ result.by }} and version, with 95 % intervals" src="data:image/png;base64,{{ picture }}">
<table>
<tr><th>{{ result.by }}</th><th>version</th><th>correct</th><th>n</th><th>accuracy</th><th>95 % interval</th></tr>
{% for figure in result.figures + result.versions %}
<tr><td>{{ figure.period }}</td><td>{{ figure.version }}</td><td>{{ figure.right }}</td><td>{{ figure.count }}</td>
<td>{{ "%.3f" | format(figure.share) }}</td>
<td>{{ "%.3f" | format(figure.interval[0]) }} to {{ "%.3f" | format(figure.interval[1]) }}</td></tr>
{% endfor %}
</table>
</html>
"""


def html(result: Accuracy) -> bytes:
    """Return the page with the plot inside. Text in it is escaped."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    picture = base64.b64encode(png(result)).decode()
    return environment.from_string(PAGE).render(result=result, caveat=CAVEAT, picture=picture).encode()


def png(result: Accuracy) -> bytes:
    """Return the plot: a point with its interval for each period and version."""
    plot = Plot(figsize=(8, 3.6), layout="constrained")
    axes = plot.add_subplot()
    periods = sorted({figure.period for figure in result.figures})
    for number, version in enumerate(figure.version for figure in result.versions):
        mine = [figure for figure in result.figures if figure.version == version]
        # Side by side where several versions served in one period.
        at = [periods.index(figure.period) + 0.12 * (number - (len(result.versions) - 1) / 2) for figure in mine]
        errors = [
            [max(0.0, figure.share - figure.interval[0]) for figure in mine],
            [max(0.0, figure.interval[1] - figure.share) for figure in mine],
        ]
        marker = MARKERS[number % len(MARKERS)]
        axes.errorbar(at, [figure.share for figure in mine], errors, fmt=f"{marker}-", capsize=3, label=version)
        for x, figure in zip(at, mine, strict=True):
            axes.annotate(f"n={figure.count}", (x, figure.interval[0]), (0, -9), textcoords="offset points",
                          ha="center", fontsize=7)  # fmt: skip
    step = -(-len(periods) // MAX_TICKS) or 1
    axes.set_xticks(range(0, len(periods), step), periods[::step], rotation=30, ha="right")
    axes.set_ylim(-0.08, 1.02)
    axes.set_ylabel("accuracy, 95 % interval")
    axes.set_title("Lower estimate: users report mistakes more often", fontsize=10)
    axes.grid(alpha=0.3)
    if result.versions:
        axes.legend(title="version", frameon=False)
    written = io.BytesIO()
    plot.savefig(written, format="png", dpi=120, metadata={"Software": None})
    return written.getvalue()
