"""The report of `catsdogs drift`: one HTML page with its pictures inside."""

import base64
import io

import numpy as np
from jinja2 import Environment, StrictUndefined
from matplotlib.figure import Figure

from handler.components import PREFIX
from monitoring.drift.judgement import ALPHA, Judgement, Sample
from monitoring.drift.two_samples import Floats

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Drift: {{ judgement.verdict }}</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color-scheme: light }
table { border-collapse: collapse } td, th { padding: .2rem .8rem; text-align: right }
td:first-child { text-align: left }
tr.drifted { font-weight: bold } img { max-width: 100% }
</style>
<h1>Drift: {{ judgement.verdict }}</h1>
<p>{{ judgement.reason }}</p>
<p>{{ judgement.compared }} of {{ judgement.records }} records were compared with {{ judgement.reference_pictures }}
pictures of the reference. {{ judgement.left_out() }}</p>
{% if judgement.outcomes %}
<table>
<tr><th>test</th><th>difference</th><th>p</th><th>p, Holm</th><th>PSI</th></tr>
{% for name, outcome in judgement.outcomes.items() %}
<tr{% if outcome.adjusted <= alpha %} class="drifted"{% endif %}><td>{{ name | in_words }}</td>
<td>{{ "%.3f" | format(outcome.effect) }}</td><td>{{ "%.4f" | format(outcome.p) }}</td>
<td>{{ "%.4f" | format(outcome.adjusted) }}</td>
<td>{{ "%.3f" | format(judgement.psi[name]) if name in judgement.psi else "" }}</td></tr>
{% endfor %}
</table>
<p>Rows in bold differ significantly: their p-value is at most {{ alpha }} after Holm's correction. The difference is
the maximum mean discrepancy for all features, the Kolmogorov-Smirnov statistic for one feature, and the total variation
distance for the predicted classes.</p>
{% if inner %}
<p>The components are the directions in which the network's inner features vary most over the reference. They have no
name of their own: a difference in one means that the network sees other pictures than those of the reference.</p>
{% endif %}
{% for name, picture in pictures.items() %}
<h2>{{ name | in_words }}</h2>
<img alt="Distribution of {{ name | in_words }} in the reference and in the records"
src="data:image/svg+xml;base64,{{ picture }}">
{% endfor %}
{% endif %}
</html>
"""


def page(judgement: Judgement, reference: Sample, records: Sample) -> str:
    """Return the page. Text in it is escaped."""
    pictures = {}
    if judgement.outcomes:
        pictures = {
            name: histogram(reference.values[:, column], records.values[:, column])
            for column, name in enumerate(reference.names)
        }
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters["in_words"] = in_words
    inner = any(name.startswith(PREFIX) for name in pictures)
    return environment.from_string(PAGE).render(judgement=judgement, pictures=pictures, alpha=ALPHA, inner=inner)


def in_words(name: str) -> str:
    """Return the name of a feature as the page has it."""
    number = name.removeprefix(PREFIX)
    return name if number == name else f"component {number} of the network's inner features"


def histogram(reference: Floats, records: Floats) -> str:
    """Return both distributions of a feature, as SVG in base64."""
    figure = Figure(figsize=(7, 2.2), layout="constrained")
    axes = figure.add_subplot()
    low, high = np.quantile(np.concatenate([reference, records]), [0.005, 0.995])
    edges = np.linspace(low, high if high > low else low + 1, 31).tolist()
    for values, name, filled in ((reference, "reference", True), (records, "records", False)):
        weights = np.full(len(values), 1 / len(values))
        axes.hist(np.clip(values, low, high), edges, weights=weights, histtype="stepfilled" if filled else "step",
                  alpha=0.4 if filled else 1, label=name)  # fmt: skip
    axes.set_ylabel("share")
    axes.legend(frameon=False)
    written = io.BytesIO()
    figure.savefig(written, format="svg", metadata={"Date": None})
    return base64.b64encode(written.getvalue()).decode()
