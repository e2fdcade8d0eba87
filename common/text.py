"""Text that a stranger may have written, made safe for a terminal and a log."""

MOST = 4000


def printable(text: str, most: int = MOST) -> str:
    """Return the text with every character that is not printable escaped, and cut where it is too long.

    A server's words may hold escape sequences that recolour, rename or type into a terminal, line ends that forge a
    line of a log, and marks that turn the direction of writing.
    """
    shown = "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text[:most])
    return shown + "…" * (len(text) > most)


def printable_lines(text: str) -> str:
    """Return the text with every character that is not printable escaped, apart from line ends.

    For sentences that name files: a file's name may hold escape sequences.
    """
    return "\n".join(printable(line, len(line)) for line in text.split("\n"))
