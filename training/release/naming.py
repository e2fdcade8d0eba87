"""A release's name and folder: each follows from the other, and cats and dogs alone have a name of their own."""

from collections.abc import Sequence
from pathlib import Path

from handler.files import UserError

STORE = Path("model-store")
CLASSES, NAME = ["cat", "dog"], "catsdogs"


def default_name(classes: Sequence[str]) -> str:
    """Return the name of a model that was given none.

    Raises:
        UserError: it is of other classes than cats and dogs.
    """
    if list(classes) != CLASSES:
        some = ", ".join(classes[:3]) + (", ..." if len(classes) > 3 else "")
        raise UserError(
            f"A model of {some} needs a name, which clients address it by: name it by --name, for example --name pets."
        )
    return NAME


def place(name: str | None, out: Path | None, classes: Sequence[str]) -> tuple[str, Path]:
    """Return the name and the folder of a release, of which the user named both, one or none.

    Raises:
        UserError: neither was named, and the classes are not cats and dogs.
    """
    if out is None:
        name = name or default_name(classes)
        return name, STORE / name
    return name or out.absolute().name, out
