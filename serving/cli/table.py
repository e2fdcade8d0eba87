"""The table of predictions that people read."""

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from common.text import printable
from serving.client.predict import Prediction


def show(predictions: Sequence[Prediction]) -> None:
    """Print predictions as a table.

    No file name is cut: a terminal folds it, and lines that go to a file or a pipe are as wide as they need to be.
    """
    console, table = Console(emoji=False), prediction_table(predictions)
    if not console.is_terminal:
        console.width = console.measure(table, options=console.options.update(width=sys.maxsize)).maximum
    console.print(table)


def are_labelled(predictions: Sequence[Prediction]) -> bool:
    """Do all pictures lie in folders named by the model's classes?"""
    answers = [prediction.answer for prediction in predictions if prediction.answer]
    classes = {label.lower() for answer in answers for label in answer["probabilities"]}
    return all(prediction.path.parent.name.lower() in classes for prediction in predictions)


def prediction_table(predictions: Sequence[Prediction]) -> Table:
    """Make a row per picture; where pictures lie in class folders, with their true class beside the prediction."""
    labelled = are_labelled(predictions)
    timed = any(prediction.seconds is not None for prediction in predictions)
    table = Table()
    table.add_column("picture", overflow="fold")
    for heading in (*(["is"] if labelled else []), "prediction", "probability", *(["ms"] if timed else [])):
        table.add_column(heading)
    for prediction in predictions:
        if prediction.answer is None:
            label, probability = f"[red]{escape(printable(prediction.problem or ''))}[/red]", ""
        else:
            label = escape(printable(prediction.answer["label"]))
            label = label if not labelled or prediction.right else f"[yellow]{label}[/yellow]"
            probability = f"{prediction.answer['probability']:.4f}"
        truth = [escape(printable(prediction.path.parent.name.lower()))] if labelled else []
        row = [escape(printable(str(prediction.path))), *truth, label, probability]
        if timed:
            row.append("" if prediction.seconds is None else f"{1000 * prediction.seconds:.0f}")
        table.add_row(*row)
    return table
