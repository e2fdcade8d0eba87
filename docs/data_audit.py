"""The page of the data audit, from data_audit.json: what was corrected, the ceiling, and the release's accuracy."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

DATA = Path(__file__).with_suffix(".json")
SPLITS = ("train", "val", "test")
MEANINGS = {
    "neither": "shows neither a cat nor a dog",
    "both": "shows cats and dogs",
    "wrong label": "is labelled cat and shows a dog, or the other way round",
}
ACTIONS = {"neither": "removed", "both": "removed", "wrong label": "labelled otherwise"}
PAGE = """# Data audit

The labels of the training set are the names of its folders, and some are wrong. Two ImageNet networks chose the
suspicious pictures. A language model that sees pictures, not a person, then looked at each of them on contact sheets
and corrected what is wrong at first sight. [How to do this on your own
pictures](../how-to/prepare-pictures.md#find-and-correct-wrong-labels).

It looked at the 240 likeliest wrong labels by both networks, 192 outliers and 192 pictures with little of ImageNet's
cats and dogs by the first network, 96 pictures by both networks and 48 by the first that may show a second animal, and
138 that public lists of this set name. Drawings of a cat or a dog keep their labels, and so do pictures on which the
animal, or a second one, is hard to make out. So the counts are of what is plain to see, and may miss some: with its
default of 240 candidates of each kind, `catsdogs audit` lists 24 of the 30 contents that show neither, 9 of the 16 that
show both, and 1 of the 3 wrong labels. The others stood on the public lists.

The corrections are in `training/corrections.csv`, each with its reason. The pictures were not changed. This page is
made by `make docs` from `docs/data_audit.json`, which `catsdogs audit --corrections` wrote.

{overview}

![Examples of corrected pictures: no animal, both animals, wrong labels](../data-audit.png)

## Corrections

{corrections}

{checked}

## The ceiling

A network that is right on all other pictures is still counted as wrong on each wrong label. On a picture of no animal,
or of both, it is right by chance. The first figure counts all of these as wrong, the second as right.

{ceiling}

## Accuracy of the release, both ways

{release}

The released model was trained on the corrected pictures. What it goes on from, 0.2.0, was trained on them as they are.

{figures}
"""


def data_audit() -> str:
    """Return the page."""
    return page(json.loads(DATA.read_bytes()))


def page(facts: Mapping[str, Any]) -> str:
    """Return the page from the data of `catsdogs audit --corrections`."""
    release = facts["release"]
    return PAGE.format(
        overview=_overview(facts),
        corrections=_corrections(facts),
        checked=_unmatched(facts["unmatched"]),
        ceiling=_ceiling(facts["ceiling"]),
        release=f"{release['name']} {release['version']} on the test split, with Wilson's 95 % intervals.",
        figures=_figures(release["precisions"]),
    )


def table(header: list[str], rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [header, ["---"] * len(header), *rows])


def _overview(facts: Mapping[str, Any]) -> str:
    counts, duplicates = facts["pictures"], facts["duplicates"]
    rows = [
        ["pictures that can be used", *_numbers(counts)],
        ["with an exact copy", *_numbers({split: duplicates[split]["exact"] for split in SPLITS})],
        ["with a near-duplicate", *_numbers({split: duplicates[split]["near"] for split in SPLITS})],
    ]
    unusable = ", ".join(f"{code} {count}" for code, count in sorted(facts["quarantined"].items())) or "none"
    return f"{table(['', *SPLITS, 'all'], rows)}\n\nFiles that `prepare` set aside before the audit: {unusable}."


def _corrections(facts: Mapping[str, Any]) -> str:
    rows = [
        [MEANINGS.get(kind, kind), ACTIONS.get(kind, ""), *_numbers(counts)]
        for kind, counts in facts["corrections"].items()
    ]
    totals = {split: sum(counts[split] for counts in facts["corrections"].values()) for split in SPLITS}
    return table(["a picture that", "is", *SPLITS, "all"], [*rows, ["all", "", *_numbers(totals)]])


def _unmatched(count: int) -> str:
    if count == 0:
        return "Each row of the file matches a picture."
    return f"Rows of the file that match no picture of this manifest: {count}."


def _ceiling(ceiling: Mapping[str, Any]) -> str:
    rows = [
        [
            split,
            str(row["count"]),
            str(row["relabelled"]),
            str(row["removed"]),
            f"{_percent(row['low'])} to {_percent(row['high'])}",
        ]
        for split, row in ceiling.items()
    ]
    return table(["split", "pictures", "wrong labels", "no animal or both", "at most right"], rows)


def _figures(precisions: Mapping[str, Any]) -> str:
    rows = [
        [source, precision, _proportion(both["as_they_are"]), _proportion(both["corrected"])]
        for precision, sources in precisions.items()
        for source, both in sources.items()
    ]
    return table(["pictures", "precision", "labels as they are", "corrected"], sorted(rows))


def _numbers(counts: Mapping[str, int]) -> list[str]:
    return [*(f"{counts[split]:,}" for split in SPLITS), f"{sum(counts.values()):,}"]


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _proportion(row: Mapping[str, Any] | None) -> str:
    """Return a proportion with its interval; `row` is None where no picture is left."""
    if row is None:
        return "none left"
    return f"{_percent(row['share'])} ({100 * row['low']:.2f} to {100 * row['high']:.2f}, n = {row['count']})"
