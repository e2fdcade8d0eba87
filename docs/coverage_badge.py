"""The badge of the tests' coverage, docs/coverage.svg: make coverage

python -m docs.coverage_badge build/coverage/coverage.json docs/coverage.svg           write it
python -m docs.coverage_badge build/coverage/coverage.json docs/coverage.svg --check   does it still hold?

The badge is a file of the repository, so that no service draws it and no job needs the right to publish it. The check
allows two points of difference, since a server's timing decides whether a few lines run.
"""

import argparse
import json
import re
import sys
from pathlib import Path

TOLERANCE = 2
COLOURS = ((90, "#2e7d32"), (75, "#827717"), (0, "#c62828"))
SVG = """<svg xmlns="http://www.w3.org/2000/svg" width="104" height="20" role="img" aria-label="coverage {percent} %">
<title>coverage {percent} %</title>
<rect width="62" height="20" rx="3" fill="#555"/>
<rect x="58" width="46" height="20" rx="3" fill="{colour}"/>
<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" text-anchor="middle">
<text x="30" y="14">coverage</text>
<text x="82" y="14">{percent} %</text>
</g>
</svg>
"""


def measured(report: Path) -> float:
    """Return the share of lines and branches that ran, in percent, from the report of `coverage json`.

    Raises:
        ValueError: the file is no such report.
    """
    try:
        return float(json.loads(report.read_bytes())["totals"]["percent_covered"])
    except (ValueError, LookupError, TypeError) as error:
        raise ValueError(f"{report} is no report of `coverage json`: make coverage writes one.") from error


def draw(percent: int) -> str:
    """Return the badge as SVG."""
    colour = next(colour for least, colour in COLOURS if percent >= least)
    return SVG.format(percent=percent, colour=colour)


def shown(badge: str) -> int:
    """Return the figure of a badge.

    Raises:
        ValueError: it has none.
    """
    match = re.search(r"<title>coverage (\d+) %</title>", badge)
    if match is None:
        raise ValueError("The badge has no figure: make coverage writes it anew.")
    return int(match[1])


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Write the badge of the tests' coverage, or check it.")
    parser.add_argument("report", type=Path, help="report of `coverage json`")
    parser.add_argument("badge", type=Path, help="SVG of the badge")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with status 1 if it no longer holds")
    options = parser.parse_args(arguments)
    try:
        percent = measured(options.report)
        if not options.check:
            options.badge.write_text(draw(int(percent)))
            return 0
        difference = abs(shown(options.badge.read_text()) - percent)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    if difference > TOLERANCE:
        print(f"Coverage is {percent:.1f} %, and {options.badge} says otherwise: commit it anew after make coverage.")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
