"""Write the programs of docs/examples/clients into the page that shows them: `python -m docs.client_examples`."""

import re
from pathlib import Path

FOLDER = Path(__file__).parent / "examples" / "clients"
PAGE = FOLDER / "README.md"
# A heading of the page is the name of the file that the last block below it shows.
SHOWN = re.compile(r"(^## .*?`(?P<name>[\w.]+)`.*?^```(?!sh)\w+\n).*?(^```$)", re.DOTALL | re.MULTILINE)


def filled(page: str, folder: Path) -> str:
    """Return a page with each block of a program as its file is now."""
    return SHOWN.sub(lambda match: match[1] + (folder / match["name"]).read_text() + match[3], page)


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(), FOLDER))
