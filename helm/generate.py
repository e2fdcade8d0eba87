"""Make the chart's schema, its defaults, the page of its values, and the changes in Chart.yaml.

values.yaml -> values.schema.json, templates/_defaults.tpl and docs/reference/chart-values.md, from its defaults and
comments; CHANGELOG.md -> the changes in Chart.yaml, for Artifact Hub.

    python helm/generate.py      (part of `make chart`)

The comment above a value starts with the value's name; its last line may be `@schema {...}`: JSON Schema that adds to
what the default's type says. Its `enum: runtimes` stands for the names of all runtimes, or none. Every map is closed
but one whose @schema has additionalProperties, which is shown as a single value. Tools that do this exist (helm-docs,
helm-values-schema-json); they are Go programs, and `make test` promises to need Python alone.
"""

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from handler.runtimes.choice import all_runtimes

CHART = Path(__file__).parent
TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
CHANGES = "  artifacthub.io/changes: |\n"
# What a change may be beside an addition: the word that its sentence starts with.
KINDS = {
    "Changed": "changed",
    "Deprecated": "deprecated",
    "Removed": "removed",
    "Fixed": "fixed",
    "Security": "security",
}


@dataclass(frozen=True, slots=True)
class Value:
    """A leaf of values.yaml, or a map that holds more of them."""

    path: tuple[str, ...]
    default: Any
    sentence: str
    schema: dict[str, Any]
    children: tuple["Value", ...] = ()


def comment_above(lines: list[str], line: int) -> list[str]:
    """The block of comment lines that ends above `line`, counted from 0, without their #."""
    first = line
    while first and lines[first - 1].lstrip().startswith("#"):
        first -= 1
    return [text.lstrip().removeprefix("#").strip() for text in lines[first:line]]


def read(text: str) -> tuple[Value, ...]:
    """
    Raises:
        ValueError: a value's comment is missing or does not start with its name, or its type cannot be told.
    """
    lines = text.splitlines()

    def values(node: yaml.MappingNode, default: dict[str, Any], above: tuple[str, ...]) -> Iterator[Value]:
        for key, child in node.value:
            path = (*above, key.value)
            yield value(path, child, default[key.value], comment_above(lines, key.start_mark.line))

    def value(path: tuple[str, ...], node: yaml.Node, default: Any, comment: list[str]) -> Value:
        added: dict[str, Any] = {}
        if comment and comment[-1].startswith("@schema "):
            added = yaml.safe_load(comment.pop().removeprefix("@schema "))
            if added.get("enum") == "runtimes":
                added["enum"] = ["", *(runtime.name for runtime in all_runtimes())]
        name, sentence = path[-1], " ".join(comment)
        if isinstance(default, dict) and default and "additionalProperties" not in added:
            assert isinstance(node, yaml.MappingNode)
            return Value(path, default, sentence, added, tuple(values(node, default, path)))
        if not re.match(rf"{re.escape(name)}\b", sentence):
            raise ValueError(f"values.yaml: the comment above {'.'.join(path)} must start with {name}.")
        schema = {"type": TYPES[type(default)], **added}
        if schema["type"] == "array" and "items" not in schema:
            raise ValueError(f"values.yaml: @schema of {'.'.join(path)} must say what its items are.")
        if schema["type"] == "object" and "additionalProperties" not in schema:
            raise ValueError(f"values.yaml: @schema of {'.'.join(path)} must have additionalProperties.")
        return Value(path, default, sentence, schema)

    root = yaml.compose(text)
    assert isinstance(root, yaml.MappingNode)
    return tuple(values(root, yaml.safe_load(text), ()))


def or_blank(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema, extended to accept a key without a value, which means the default."""
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    choices = {"enum": [*schema["enum"], None]} if "enum" in schema else {}
    return {**schema, "type": [*kinds, "null"], **choices}


def schema_of(values: tuple[Value, ...]) -> dict[str, Any]:
    """A closed object of these."""
    properties = {}
    for value in values:
        described = {"description": value.sentence} if value.sentence else {}
        own = schema_of(value.children) if value.children else value.schema
        properties[value.path[-1]] = {**described, **or_blank(own)}
    return {"type": "object", "additionalProperties": False, "properties": properties}


def schema(text: str) -> str:
    """values.schema.json."""
    root = schema_of(read(text))
    # What a parent chart puts beside this chart's own values.
    root["properties"] |= {
        "enabled": {
            "type": ["boolean", "null"],
            "description": "enabled is for the condition of a parent chart; nothing here reads it.",
        },
        "global": {"type": "object", "description": "global is a parent chart's; nothing here reads it."},
    }
    return json.dumps({"$schema": "http://json-schema.org/draft-07/schema#", **root}, indent=2) + "\n"


def tree(values: tuple[Value, ...]) -> dict[str, Any]:
    """Return the defaults by key; those of a leaf stand in a list, so that a map that is a leaf is told from others."""
    return {value.path[-1]: tree(value.children) if value.children else [value.default] for value in values}


def defaults(text: str) -> str:
    """templates/_defaults.tpl."""
    lines = json.dumps(tree(read(text)), indent=1)
    assert "{{" not in lines, "Helm would read the default as a template."
    return (
        "{{- /* The defaults of values.yaml, made from it by `make chart`: change that, not this. */ -}}\n"
        f'{{{{- define "catsdogs.defaults" -}}}}\n{lines}\n{{{{- end -}}}}\n'
    )


def rows(values: tuple[Value, ...]) -> Iterator[str]:
    for value in values:
        if value.children:
            yield from rows(value.children)
            continue
        default = json.dumps(value.default, ensure_ascii=False)
        cells = (f"`{'.'.join(value.path)}`", f"`{default}`", value.sentence)
        yield "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def page(text: str) -> str:
    """Return docs/reference/chart-values.md: every value with its default and meaning."""
    head = (
        "# Chart values\n\nThe values of the Helm chart, from `helm/values.yaml`. Misspelt and mistyped values are "
        "errors. This page is made by `make chart`."
    )
    return "\n".join([head, "", "| value | default | meaning |", "| --- | --- | --- |", *rows(read(text)), ""])


def changes(changelog: str) -> list[dict[str, str]]:
    """Return the changes of the newest version, as Artifact Hub lists them."""
    newest = re.split(r"^## .*\n", changelog, maxsplit=2, flags=re.MULTILINE)[1]
    sentences = [" ".join(item.split()) for item in re.split(r"^- ", newest, flags=re.MULTILINE)[1:]]
    return [{"kind": KINDS.get(sentence.partition(":")[0], "added"), "description": sentence} for sentence in sentences]


def with_changes(chart: str, changelog: str) -> str:
    """Chart.yaml, whose end is made anew."""
    before, _, _ = chart.partition(CHANGES)
    made = [
        f"    - kind: {change['kind']}\n      description: {json.dumps(change['description'])}\n"
        for change in changes(changelog)
    ]
    return before + CHANGES + "".join(made)


def main() -> int:
    text = (CHART / "values.yaml").read_text()
    try:
        made = {
            "values.schema.json": schema(text),
            "templates/_defaults.tpl": defaults(text),
            "../docs/reference/chart-values.md": page(text),
            "Chart.yaml": with_changes((CHART / "Chart.yaml").read_text(), (CHART / "CHANGELOG.md").read_text()),
        }
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    for name, content in made.items():
        (CHART / name).write_text(content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
