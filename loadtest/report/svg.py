"""A matplotlib figure as SVG inside a page: its colours and font are the page's, so they follow light and dark."""

import html
import io
import re
from typing import Any

import matplotlib
from markupsafe import Markup
from matplotlib.figure import Figure

# Colours that stand for the page's, by its names for them; see report.css.
INK, SOFT, LINE, GROUND = "#010101", "#010102", "#010103", "#010104"
LATENCY, SERVICE, WRONG, SHADE = "#010105", "#010106", "#010107", "#010108"
NAMES = {
    INK: "ink",
    SOFT: "soft",
    LINE: "line",
    GROUND: "card",
    LATENCY: "accent",
    SERVICE: "second",
    WRONG: "wrong",
    SHADE: "shade",
}
# matplotlib names each of its hundreds of keys in a type of its own.
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": SOFT,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "figure.facecolor": "none",
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "lines.solid_capstyle": "round",
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": SOFT,
    "ytick.labelcolor": SOFT,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
}
NOTHING = {"Creator": None, "Date": None, "Format": None, "Type": None}


def inline(figure: Figure, name: str, alternative: str) -> Markup:
    """
    Args:
        figure: drawn in the colours above, within `matplotlib.rc_context(STYLE)`.
        name: of its own in the page; it begins every id.
        alternative: what the plot shows, for those who do not see it.
    """
    written = io.StringIO()
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": name}):
        figure.savefig(written, format="svg", metadata=NOTHING)
    text = written.getvalue()
    box = re.search(r'viewBox="([^"]+)"', text)
    assert box is not None
    body = text[text.index(">", box.end()) + 1 :]
    # Its style would apply to the whole page.
    body = re.sub(r"<style.*?</style>", "", body, count=1, flags=re.DOTALL)
    body = re.sub(r"font-family:[^;\"]*;?", "", body)
    body = re.sub(r'\bid="', f'id="{name}-', body)
    body = re.sub(r'(xlink:href="#|url\(#)', lambda m: m[1].removeprefix("xlink:") + f"{name}-", body)
    body = re.sub(r'\bd="[^"]*"', lambda m: re.sub(r"(\.\d\d)\d+", r"\1", " ".join(m[0].split())), body)
    for colour, variable in NAMES.items():
        body = body.replace(colour, f"var(--{variable})")
    label = html.escape(alternative)
    return Markup(f'<svg viewBox="{box[1]}" role="img" aria-label="{label}">{body}')  # noqa: S704
