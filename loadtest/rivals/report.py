"""Report of the comparison: rivals.json, rivals.md and rivals.png. Figures are medians over the rounds."""

import dataclasses
import json
import math
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from common.cores import usable_cores
from common.verdicts import Verdict
from handler.files import write_atomic
from loadtest.judge.machine import instruction_sets, processor, stolen_share, tested_revision
from loadtest.report.words import NOTHING, TIMES, duration, percent, plain, plural
from loadtest.rivals.peers import OURS, Row
from loadtest.rivals.rounds import (
    COMPARED,
    LIMIT,
    NO_CLIENTS,
    Measured,
    is_unsteady,
    lowest_ratio,
    objections,
    ours,
    rates,
    ratio,
    ratios,
    rows,
    unsteady,
)

# The number of clients whose figures are shown in full, and drawn.
SHOWN = 8
WIDTH, BAR = 7.6, 0.55


@dataclass(frozen=True, slots=True)
class Setting:
    """The machine, and how the servers were asked."""

    processor: str
    instruction_sets: list[str]
    cores: int
    stolen: float
    """Share of the processor time that the host gave to other machines during the measurement."""
    python: str
    git: str | None
    batch: int
    """Batch size of our server, and of the handler without a server."""


def describe_setting(stolen_before: tuple[float, float], batch: int) -> Setting:
    """
    Args:
        stolen_before: the value of `loadtest.judge.machine.stolen` at the start.
    """
    return Setting(
        processor=processor(),
        instruction_sets=instruction_sets(),
        cores=usable_cores(),
        stolen=stolen_share(stolen_before),
        python=platform.python_version(),
        git=tested_revision(),
        batch=batch,
    )


def write(results: Sequence[Measured], folder: Path, setting: Setting, skipped: Sequence[str] = ()) -> Verdict:
    """Write the report, and return PASS where our rounds agree well enough for ratios, or INVALID.

    Args:
        skipped: sentences on the rows that could not be measured.
    """
    folder.mkdir(parents=True, exist_ok=True)
    reasons = objections(results)
    verdict = Verdict.INVALID if reasons else Verdict.PASS
    values = {
        "schema_version": 4,
        "verdict": verdict,
        "reasons": [plain(reason) for reason in reasons],
        "unsteady": [plain(sentence) for sentence in unsteady(results).values()],
        "skipped": list(skipped),
        "setting": dataclasses.asdict(setting),
        "ratios": [] if reasons else all_ratios(results),
        "measured": [dataclasses.asdict(result) for result in results],
    }
    text = json.dumps(values, indent=1).replace("NaN", "null")
    write_atomic(folder / "rivals.json", text.encode() + b"\n")
    write_atomic(folder / "rivals.md", markdown(results, reasons, setting, skipped).encode())
    draw(results, folder / "rivals.png")
    return verdict


def all_ratios(results: Sequence[Measured]) -> list[dict[str, Any]]:
    """Return the median ratio of each of our rows' rates to each other row's, by the number of clients.

    Where the other row's rounds differ too much, it is null, and "at least" has the lower bound.
    """
    return [
        {
            "ours": own.precision,
            "server": other.server,
            "precision": other.precision,
            **{
                f"{clients} clients": None
                if is_unsteady(results, other, clients)
                else round(ratio(results, own, other, clients), 3)
                for clients in COMPARED
            },
            "at least": {
                f"{clients} clients": round(lowest_ratio(results, own, other, clients), 3) for clients in COMPARED
            },
        }
        for own in ours(results)
        for other in rows(results)
        if other.server != OURS
    ]


def markdown(results: Sequence[Measured], reasons: Sequence[str], setting: Setting, skipped: Sequence[str] = ()) -> str:
    """Return the report in Markdown: the machine, then the ratios and all figures, or why there are none."""
    sets = ", ".join(setting.instruction_sets) or "no AVX2"
    head = (
        f"{setting.processor} ({sets}), {plural(setting.cores, 'core')}; the host gave {percent(setting.stolen)} of the"
        f" processor time to other machines. Batches of {setting.batch}. git {setting.git or 'unknown'}."
    )
    head = " ".join([head, *skipped])
    if reasons:
        why = "\n".join(f"- {reason}" for reason in reasons)
        parts = [head, f"INVALID: these rounds allow no verdict. Measure again on a quiet machine.\n\n{why}"]
        parts.append(rounds_table(results))
    else:
        parts = [head, *bounds_note(results), ratio_table(results), figures_table(results)]
    return plain("\n\n".join(parts)) + "\n"


def bounds_note(results: Sequence[Measured]) -> list[str]:
    """Return the rows that have a bound in place of a ratio, and why."""
    if not (sentences := list(unsteady(results).values())):
        return []
    note = (
        "Rows whose rounds differ by more than 25 % have no ratio. `at least` is our slowest round divided by their"
        " fastest."
    )
    return ["\n".join([note, "", *(f"- {sentence}" for sentence in sentences)])]


def line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def ratio_table(results: Sequence[Measured]) -> str:
    """Return our rates relative to each other row: the median ratio, with the lowest and highest of the rounds.

    Ratios at equal precision are bold.
    """
    columns = [(own, clients) for own in ours(results) for clients in COMPARED]
    heads = [f"{own.server} {own.precision}, {clients} clients" for own, clients in columns]
    lines = [line("relative to", "precision", *heads), line(*["---"] * (2 + len(heads)))]
    for other in rows(results):
        if other.server != OURS:
            cells = [ratio_cell(results, own, other, clients) for own, clients in columns]
            lines.append(line(*other, *cells))
    return "\n".join(lines)


def ratio_cell(results: Sequence[Measured], own: Row, other: Row, clients: int) -> str:
    if is_unsteady(results, other, clients):
        return f"at least {TIMES}{lowest_ratio(results, own, other, clients):.2f}"
    values = ratios(results, own, other, clients)
    middle = f"{TIMES}{median(values):.2f}"
    if own.precision == other.precision:
        middle = f"**{middle}**"
    return f"{middle} ({min(values):.2f} to {max(values):.2f})"


def figures_table(results: Sequence[Measured]) -> str:
    heads = ("server", "precision", "1 client, p50", f"{SHOWN} clients", "p50 / p99", "32 clients", "right")
    lines = [line(*heads, "start", "memory"), line(*["---"] * 9)]
    for row in rows(results):
        measured = [result for result in results if result.row == row]
        if row.server == LIMIT:
            lines.append(line(*row, NOTHING, median_rate(results, row, NO_CLIENTS), *[NOTHING] * 5))
            continue
        p50, p99 = (median(getattr(result.loop(SHOWN), field) for result in measured) for field in ("p50", "p99"))
        lines.append(
            line(
                *row,
                duration(median(result.loop(1).p50 for result in measured)),
                median_rate(results, row, SHOWN),
                f"{duration(p50)} / {duration(p99)}",
                median_rate(results, row, 32),
                percent(right(measured)),
                duration(median(result.start_s or math.nan for result in measured)),
                f"{median(result.memory_mib or math.nan for result in measured):.0f} MiB",
            )
        )
    return "\n".join(lines)


def right(measured: Sequence[Measured]) -> float:
    """Return the share of all answers of a row that name the picture's label."""
    loops = [loop for result in measured for loop in result.loops]
    return sum(loop.right for loop in loops) / max(1, sum(loop.answers for loop in loops))


def median_rate(results: Sequence[Measured], row: Row, clients: int) -> str:
    measured = rates(results, row, clients).values()
    return f"{median(measured):.1f}/s ({min(measured):.1f} to {max(measured):.1f})"


def rounds_table(results: Sequence[Measured]) -> str:
    """Return every row's answers per second in each round."""
    turns = sorted({result.turn for result in results})
    lines = [line("answers per second", "precision", "clients", *(f"round {turn + 1}" for turn in turns))]
    lines.append(line(*["---"] * (3 + len(turns))))
    for row in rows(results):
        for clients in COMPARED if row.server != LIMIT else (NO_CLIENTS,):
            measured = rates(results, row, clients)
            cells = [f"{measured[turn]:.1f}" if turn in measured else NOTHING for turn in turns]
            lines.append(line(*row, str(clients) if clients else NOTHING, *cells))
    return "\n".join(lines)


def draw(results: Sequence[Measured], path: Path) -> None:
    """Draw the throughput as bars, and each round as a point."""
    from matplotlib.figure import Figure

    shown = rows(results)
    figure = Figure(figsize=(WIDTH, BAR * len(shown) + 0.9), layout="constrained", dpi=150)
    axes: Any = figure.subplots()
    for place, row in enumerate(reversed(shown)):
        measured = list(rates(results, row, SHOWN).values())
        colour = "#2f6f4f" if row.server == OURS else "#c9c4ba"
        axes.barh(place, median(measured), height=0.62, color=colour)
        axes.plot(measured, [place] * len(measured), "o", color="#333333", markersize=3.5, alpha=0.7)
        label = f" {median(measured):.0f}"
        axes.annotate(label, (max(measured), place), xytext=(4, 0), textcoords="offset points", va="center")
    axes.set_yticks(range(len(shown)), [str(row) for row in reversed(shown)])
    axes.set_xlabel(f"photographs per second, {SHOWN} clients; points are rounds")
    axes.margins(x=0.09)
    axes.set_xlim(left=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="y", length=0)
    figure.savefig(path, metadata={"Software": None})
