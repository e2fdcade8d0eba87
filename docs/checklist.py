"""The page of the checklist, from checklist.yaml: what a course and similar projects ask for, and where it is here."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
DATA = Path(__file__).with_suffix(".yaml")
# What replaces rows of the page once its files are in the tree.
DELIVERY = DATA.with_name("checklist-delivery.yaml")
ANSWERS = ("yes", "partly", "no")
KINDS = ("file", "page", "test", "make", "verb", "workflow")
HEAD = """# Checklist

What a well-known course and similar projects ask for, and where it is here: a file, a command, a test, or "no" with the
reason. `make docs` makes this page from `docs/checklist.yaml`, and a test fails if a link leads nowhere.
"""


@dataclass(frozen=True, slots=True)
class Link:
    """A place where a box is answered."""

    kind: str
    target: str

    @classmethod
    def parse(cls, text: str) -> "Link":
        kind, _, target = text.partition(":")
        if kind not in KINDS or not target:
            raise ValueError(f"{text} is no link: it begins with one of {', '.join(KINDS)}, and a colon.")
        return cls(kind, target)

    @property
    def path(self) -> str | None:
        """The file of this repository to which it leads, if it is one."""
        if self.kind == "workflow":
            return f".github/workflows/{self.target.partition('#')[0]}"
        return self.target.partition("::")[0] if self.kind in ("file", "page", "test") else None

    def markdown(self, beside: Path) -> str:
        """Return it as Markdown for a page in a folder of the site, which has no pages but its own."""
        if self.path is None:
            return f"`make {self.target}`" if self.kind == "make" else f"`catsdogs {self.target}`"
        if self.path.endswith(".md") and not self.path.startswith("docs/"):
            return f"`{self.path}`"
        return f"[{self.text}]({os.path.relpath(ROOT / self.path, beside)})"

    @property
    def text(self) -> str:
        if self.kind == "test":
            return self.target.partition("::")[0].removeprefix("tests/")
        return self.target.removeprefix("docs/")


@dataclass(frozen=True, slots=True)
class Row:
    """A box of a list, and its answer."""

    box: str
    answer: str
    how: str
    links: tuple[Link, ...]

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> "Row":
        # YAML reads yes and no as truth values.
        answer = {True: "yes", False: "no"}.get(values["answer"], values["answer"])
        if answer not in ANSWERS:
            raise ValueError(f"{values['box']}: the answer is one of {', '.join(ANSWERS)}.")
        return cls(values["box"], answer, values["how"], tuple(Link.parse(text) for text in values.get("links", [])))


@dataclass(frozen=True, slots=True)
class Checklist:
    """A list of boxes from one source."""

    name: str
    about: str
    rows: tuple[Row, ...]


def read(data: Path = DATA, delivery: Path = DELIVERY) -> list[Checklist]:
    """Read the lists; rows of `delivery` take the place of those with the same box, if it is enabled."""
    later = yaml.safe_load(delivery.read_text())
    others = {row["box"]: Row.parse(row) for row in later["rows"]} if later["enabled"] else {}
    lists = []
    for values in yaml.safe_load(data.read_text())["lists"]:
        rows = tuple(others.pop(row["box"]) if row["box"] in others else Row.parse(row) for row in values["rows"])
        if len(rows) != values.get("boxes", len(rows)):
            raise ValueError(f"{values['name']} has {values['boxes']} boxes, and {len(rows)} rows.")
        lists.append(Checklist(values["name"], values["about"], rows))
    if others:
        raise ValueError(f"{delivery.name}: no list has {', '.join(others)}")
    return lists


def counts(rows: Sequence[Row]) -> str:
    number = Counter(row.answer for row in rows)
    return f"{len(rows)} boxes: {', '.join(f'{number[answer]} {answer}' for answer in ANSWERS)}."


def checklist(beside: Path = Path(__file__).parent / "reference") -> str:
    """Return the page."""
    lists = read()
    parts = [HEAD, *(f"- [{each.name}](#{anchor(each.name)})" for each in lists)]
    for each in lists:
        parts += [
            f"\n## {each.name}\n",
            f"{each.about} {counts(each.rows)}\n",
            "| box | | where |",
            "| --- | --- | --- |",
        ]
        for row in each.rows:
            where = " ".join([row.how, ", ".join(link.markdown(beside) for link in row.links)]).strip()
            parts.append(f"| {row.box} | {row.answer} | {where} |")
    return "\n".join(parts) + "\n"


def anchor(heading: str) -> str:
    return "".join(letter for letter in heading.lower() if letter.isalnum() or letter in "- ").replace(" ", "-")
