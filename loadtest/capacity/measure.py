"""The highest rate that keeps the objectives, of each protocol: each trial is a load test, a process of its own."""

import itertools
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from common.verdicts import WRONG_USAGE, Verdict
from handler.files import UserError
from loadtest.capacity.search import Ask, Load, Search, Tally
from loadtest.capacity.share import Share, share_of
from loadtest.capacity.trial import Capacity, Trial
from loadtest.generate.locust_process import command
from loadtest.judge.summary import Row, Summary
from loadtest.judge.verdict import late
from loadtest.report.words import duration, percent, plain
from loadtest.slo import MAX_LAG

# The worst comes last.
SEVERITY = (Verdict.PASS, Verdict.INCONCLUSIVE, Verdict.BREACH, Verdict.INVALID)


class NotReady(Exception):
    """No server is ready."""


def run(
    *,
    url: str,
    slo: Path,
    protocols: Sequence[str],
    out: Path,
    seed: int,
    slo_profile: str | None = None,
    p99: str | None = None,
    no_server: Callable[[], float] | None = None,
    min_share: float | None = None,
    **options: Any,
) -> int:
    """Search for the capacity of each protocol in turn, and return the exit status.

    The report is written anew after each trial.

    Args:
        p99: duration in place of the file's objectives.
        no_server: measures the no-server limit, in pictures per second; None where it is not asked for.
        min_share: of that limit, which each capacity must reach.
    """
    from loadtest.capacity.report import write
    from loadtest.slo import load, p99_within

    file = load(slo, slo_profile)
    objectives = p99_within(p99, file.objectives) if p99 else file.objectives
    arguments = {"url": url, "slo": slo, "slo_profile": slo_profile, "p99": p99, **options}
    capacities: list[Capacity] = []
    shares: dict[str, Share] = {}
    verdicts: list[Verdict] = []
    written = False

    def keep(so_far: Capacity) -> None:
        nonlocal written
        write([*capacities, so_far], out, shares)
        written = True

    try:
        check_target(file.capacity.start_rate, protocols, {**arguments, "seed": seed})
        for protocol in protocols:
            limits: list[float] = []
            ask = asking(protocol, file.capacity.warmup, seed, arguments)
            search = Search(
                file.capacity,
                objectives.latency[protocol],  # type: ignore[index]
                objectives.availability.objective,
                protocol,
                interleaved(ask, no_server, limits) if no_server else ask,
                after=keep,
            )
            capacities.append(search.run())
            print(capacities[-1].sentence, file=sys.stderr, flush=True)
            verdicts.append(verdict_of(capacities[-1], search.limit))
            if no_server is not None:
                shares[protocol] = share_of(capacities[-1], limits)
                verdicts.append(shares[protocol].verdict(min_share))
                print(plain(shares[protocol].sentence), file=sys.stderr, flush=True)
            write(capacities, out, shares)
    except KeyboardInterrupt:
        report = out / "capacity.html"
        raise UserError(
            f"Stopped. {report} holds the trials until then." if written else "Stopped before the first trial ended."
        ) from None
    except NotReady as error:
        print(error, file=sys.stderr)
        return Verdict.NOT_READY.exit_code
    print(f"The report: {out / 'capacity.html'}", file=sys.stderr)
    return max(verdicts, key=SEVERITY.index).exit_code


def verdict_of(capacity: Capacity, limit: str | None) -> Verdict:
    """
    Args:
        limit: the reason why the generator could not ask at a higher rate.
    """
    if limit is not None:
        return Verdict.INVALID
    return Verdict.PASS if capacity.confirmed else Verdict.BREACH


def interleaved(ask: Ask, no_server: Callable[[], float], limits: list[float]) -> Ask:
    """Measure the no-server limit before each confirming run, while the server is idle: other load meets both."""

    def asked(rate: float, seconds: float, confirming: bool) -> Load:
        if confirming:
            limits.append(no_server())
            print(f"no server {limits[-1]:7.2f}/s", file=sys.stderr, flush=True)
        return ask(rate, seconds, confirming)

    return asked


def check_target(rate: float, protocols: Sequence[str], arguments: dict[str, Any]) -> None:
    """Send requests by all protocols for a second, so that a wrong address is known before the first search.

    Raises:
        UserError: the server cannot be asked in this way.
        NotReady: no server is ready.
    """
    summary = load_test(**arguments, protocols=tuple(protocols), rate=rate, duration=1, warmup=0)
    if summary.verdict is Verdict.NOT_READY:
        raise NotReady(" ".join(summary.reasons))


def load_test(**arguments: Any) -> Summary:
    """Run a load test in a process of its own, so that it does not bear the load of an earlier one.

    Raises:
        UserError: it was wrong usage, or ended without a summary.
    """

    with tempfile.TemporaryDirectory() as folder:
        locust_command = command(**arguments, out=Path(folder), quiet=True)
        process = subprocess.run(locust_command, capture_output=True, text=True, check=False)
        file = Path(folder) / "summary.json"
        if process.returncode == WRONG_USAGE:
            raise UserError(process.stderr.strip().removeprefix("catsdogs: "))
        if not file.exists():
            raise UserError(f"The load test ended with {process.returncode} and no summary:\n{process.stderr}")
        return Summary.model_validate(json.loads(file.read_text()))


def asking(protocol: str, warmup: float, seed: int, arguments: dict[str, Any]) -> Ask:
    """Ask by load tests, each with arrivals of its own.

    Those of one seed may come by some percent too few or too many, and runs that share them say no more together than
    one of them.
    """
    seeds = itertools.count(1000 * seed)

    def ask(rate: float, seconds: float, confirming: bool) -> Load:
        kind = "confirm" if confirming else "search"
        summary = load_test(
            **arguments,
            seed=next(seeds),
            protocols=(protocol,),
            rate=rate,
            duration=seconds,
            warmup=warmup,
            until_decided=not confirming,
        )
        load = load_of(summary, protocol, rate, kind)
        trial = load.trial
        line = (
            f"{protocol} {rate:7.2f}/s {kind:<7}  p50 {duration(trial.p50)}, p99 {duration(trial.p99)},"
            f" {percent(trial.slow_share)} of {trial.requests} too slow or failed, {percent(trial.failed_share)} failed"
        )
        if load.limited or load.late:
            line += f" ({load.limited or load.late})"
        print(plain(line), file=sys.stderr, flush=True)
        return load

    return ask


def load_of(summary: Summary, protocol: str, rate: float, kind: Any) -> Load:
    if summary.verdict is Verdict.NOT_READY:
        raise NotReady(" ".join(summary.reasons))
    row = next((row for row in summary.rows if row.stage == "all" and row.name == protocol), None)
    findings = {finding.name: finding for finding in summary.findings if finding.stage == "all"}
    judged = [finding for name in ("latency", "availability") if (finding := findings.get(f"{protocol} {name}"))]
    if row is None or not row.due or len(judged) < 2:
        nothing = Trial(rate, 0, math.nan, math.nan, 1, 1, 0, summary.verdict, kind)
        return Load(nothing, (), limited="nothing was sent.")
    slow, failed = (finding.bad / finding.count if finding.count else 1.0 for finding in judged)
    trial = Trial(
        rate=rate,
        # Of those that were due, as finding whose end is certain is ended early.
        achieved=rate * row.answered / row.due,
        p50=row.latency.p50 if row.latency else math.nan,
        p99=row.latency.p99 if row.latency else math.nan,
        slow_share=slow,
        failed_share=failed,
        requests=row.due,
        verdict=summary.verdict,
        kind=kind,
    )
    late = late_reason(row, judged[0].threshold)
    reasons = [reason for reason in summary.reasons if reason != late] if summary.verdict is Verdict.INVALID else []
    return Load(
        trial,
        tuple(Tally(finding.objective, finding.bad, finding.count, finding.design_effect) for finding in judged),
        reasons[0] if reasons else None,
        # An answer that takes too long even from when it was sent is the server's fault.
        None if row.service and row.service.p99 > (judged[0].threshold or math.inf) else late,
    )


def late_reason(row: Row, threshold: float | None) -> str | None:
    """Return the reason of a summary that is INVALID since the generator sent late; None where it did not."""
    sentence = late(row, MAX_LAG * threshold) if threshold else None
    return plain(sentence) if sentence else None
