"""Terminal output that shows names as they are: in rich, [b] and :cat: would be markup."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


def plain_console(*, stderr: bool = False, quiet: bool = False) -> Console:
    """A console in which no text is markup; a `status` of it takes a `Text`."""
    return Console(stderr=stderr, quiet=quiet, markup=False, emoji=False)


def progress_bar(console: Console) -> Progress:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}", markup=False),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
