"""Report of the server's cost: stages.json, stages.md and stages.png. Figures are medians over the rounds."""

import dataclasses
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from common.cores import usable_cores
from handler.files import write_atomic
from loadtest.judge.machine import instruction_sets, processor, stolen_share, tested_revision
from loadtest.report.words import percent, plain, plural
from loadtest.stages.measure import CPU_STAGES, WALL_STAGES, Cost
from loadtest.stages.picture import draw

Results = Mapping[str, Sequence[Cost]]
"""The costs of each server, by its name, in all rounds."""


@dataclass(frozen=True, slots=True)
class Setting:
    """The machine, and what was served."""

    processor: str
    instruction_sets: list[str]
    cores: int
    stolen: float
    """Share of the processor time that the host gave to other machines during the measurement."""
    python: str
    git: str | None
    tiny: bool
    """Whether the network was one that costs nothing."""


def describe_setting(stolen_before: tuple[float, float], tiny: bool) -> Setting:
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
        tiny=tiny,
    )


def medians(costs: Sequence[Cost], clients: int) -> Cost:
    """Return the medians over the rounds of one server with so many clients."""
    rounds = [cost for cost in costs if cost.clients == clients]
    return Cost(
        clients=clients,
        requests=sum(cost.requests for cost in rounds),
        rate=median(cost.rate for cost in rounds),
        batch=median(cost.batch for cost in rounds),
        cpu_ms={stage: median(cost.cpu_ms[stage] for cost in rounds) for stage in CPU_STAGES},
        wall_ms={stage: median(cost.wall_ms[stage] for cost in rounds) for stage in WALL_STAGES},
    )


def write(results: Results, folder: Path, setting: Setting) -> None:
    """Write the report."""
    folder.mkdir(parents=True, exist_ok=True)
    values = {
        "schema_version": 1,
        "setting": dataclasses.asdict(setting),
        "measured": {name: [dataclasses.asdict(cost) for cost in costs] for name, costs in results.items()},
    }
    write_atomic(folder / "stages.json", json.dumps(values, indent=1).encode() + b"\n")
    write_atomic(folder / "stages.md", markdown(results, setting).encode())
    shown = {
        name: [medians(costs, clients) for clients in clients_of(costs)] for name, costs in results.items() if costs
    }
    draw(shown, folder / "stages.png")


def markdown(results: Results, setting: Setting) -> str:
    """Return the report in Markdown: the machine, then CPU time and wall time by stage."""
    sets = ", ".join(setting.instruction_sets) or "no AVX2"
    network = " The network is a stand-in that costs nothing." if setting.tiny else ""
    head = (
        f"{setting.processor} ({sets}), {plural(setting.cores, 'core')}; the host gave {percent(setting.stolen)} of the"
        f" processor time to other machines.{network} git {setting.git or 'unknown'}."
    )
    tables = [cpu_table(results), wall_table(results)]
    return plain("\n\n".join([head, *tables])) + "\n"


def cpu_table(results: Results) -> str:
    """Return CPU time per request by stage, and what of it the pipeline gets."""
    columns = columns_of(results)
    lines = [row("CPU ms per request", *titles(columns)), row(*["---"] * (1 + len(columns)))]
    lines += [row(stage, *(f"{cost.cpu_ms[stage]:.2f}" for _, cost in columns)) for stage in CPU_STAGES]
    lines.append(
        row("**server**, without the load generator", *(f"**{cost.server_cpu_ms:.2f}**" for _, cost in columns))
    )
    lines.append(row("pipeline's share of the server", *(f"{cost.share:.2f}" for _, cost in columns)))
    lines.append(row("pictures in a batch", *(f"{cost.batch:.1f}" for _, cost in columns)))
    return "\n".join(lines)


def wall_table(results: Results) -> str:
    columns = columns_of(results)
    lines = [row("wall ms per request", *titles(columns)), row(*["---"] * (1 + len(columns)))]
    lines += [row(stage, *(f"{cost.wall_ms[stage]:.1f}" for _, cost in columns)) for stage in WALL_STAGES]
    lines.append(row("answers per second", *(f"{cost.rate:.1f}" for _, cost in columns)))
    return "\n".join(lines)


def columns_of(results: Results) -> list[tuple[str, Cost]]:
    """Return the medians of each server by number of clients, servers side by side."""
    measured = {name: costs for name, costs in results.items() if costs}
    clients = clients_of(next(iter(measured.values())))
    return [(name, medians(costs, count)) for count in clients for name, costs in measured.items()]


def clients_of(costs: Sequence[Cost]) -> list[int]:
    """Return the numbers of clients that were measured, each once and in their order."""
    return list(dict.fromkeys(cost.clients for cost in costs))


def titles(columns: Sequence[tuple[str, Cost]]) -> list[str]:
    several = len({name for name, _ in columns}) > 1
    return [f"{plural(cost.clients, 'client')}{f', {name}' if several else ''}" for name, cost in columns]


def row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
