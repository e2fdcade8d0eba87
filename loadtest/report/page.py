"""Self-contained HTML pages, from the templates beside this file."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from loadtest.report import words

FILTERS = (words.duration, words.percent, words.rate, words.times, words.size, words.plural, words.unbroken)


def render(template: str, **values: Any) -> str:
    """
    Args:
        template: its file's name.
        values: what it shows; text in them is escaped.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update({function.__name__: function for function in FILTERS})
    return environment.get_template(template).render(values)
