"""Report of the cost: monitoring-cost.json and monitoring-cost.md."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from common.verdicts import Verdict
from handler.files import write_atomic
from loadtest.monitoring_cost.pairs import (
    LEAST_RATIO,
    Pair,
    clients_of,
    objections,
    ratio_of,
    verdict_of,
    with_clients,
)
from loadtest.monitoring_cost.sides import MEANING
from loadtest.report.words import percent, plain, plural
from loadtest.stages.report import Setting, row

HEADS = (
    "clients",
    "answers per second, on / off",
    "ratio",
    "CPU ms per answer, on / off",
    "ratio by CPU time",
    "pairs",
)


def write(pairs: Sequence[Pair], folder: Path, setting: Setting) -> Verdict:
    """Write the report, and return its verdict."""
    folder.mkdir(parents=True, exist_ok=True)
    verdict = verdict_of(pairs)
    values = {
        "schema_version": 1,
        "verdict": verdict,
        "reasons": objections(pairs),
        "setting": dataclasses.asdict(setting),
        "pairs": [dataclasses.asdict(pair) for pair in pairs],
    }
    write_atomic(folder / "monitoring-cost.json", json.dumps(values, indent=1).encode() + b"\n")
    write_atomic(folder / "monitoring-cost.md", markdown(pairs, setting).encode())
    return verdict


def markdown(pairs: Sequence[Pair], setting: Setting) -> str:
    """Return the report in Markdown: the machine, the verdict, the ratios."""
    rounds = plural(len({pair.turn for pair in pairs}), "round")
    head = (
        f"{setting.processor}, {plural(setting.cores, 'core')}; the host gave {percent(setting.stolen)} of the"
        f" processor time to other machines. {rounds}, both servers started anew in each. git"
        f" {setting.git or 'unknown'}."
    )
    reasons = objections(pairs)
    result = f"{verdict_of(pairs)}: the least ratio is {LEAST_RATIO}, for the whole 95 % interval of the median pair."
    if reasons:
        why = "\n".join(f"- {reason}" for reason in reasons)
        result = (
            "INVALID: these rounds allow no verdict on throughput. Measure again on a quiet machine. CPU time depends"
            " less on other load. Scrapes and heartbeats fall on fewer answers on a busy machine, so that the ratio by"
            f" CPU time is too low rather than too high.\n\n{why}"
        )
    return plain("\n\n".join([head, MEANING, result, table(pairs)])) + "\n"


def table(pairs: Sequence[Pair]) -> str:
    lines = [row(*HEADS), row(*["---"] * len(HEADS))]
    for clients in clients_of(pairs):
        own = with_clients(pairs, clients)
        rates = " / ".join(f"{median(getattr(pair, side).rate for pair in own):.1f}" for side in ("on", "off"))
        cpu = " / ".join(f"{median(getattr(pair, side).cpu_ms for pair in own):.2f}" for side in ("on", "off"))
        by_rate, by_cpu = ratio_of([pair.by_rate for pair in own]), ratio_of([pair.by_cpu for pair in own])
        lines.append(row(str(clients), rates, f"**{by_rate}**", cpu, f"{by_cpu}", str(len(own))))
    return "\n".join(lines)
