"""Output at the end of a test: figures and a verdict on standard error, and the report's files on request."""

import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from loadtest.judge.summary import Quantiles, Summary
from loadtest.report.words import duration, percent, plain

BEGIN, END = "-----BEGIN CATSDOGS SUMMARY-----", "-----END CATSDOGS SUMMARY-----"


def publish(summary: Summary, options: Any, old: Summary | None) -> None:
    from loadtest.report import compare, report  # matplotlib takes a second, which a test need not wait for

    for line in lines(summary) if not options.quiet else ():
        print(plain(line), file=sys.stderr)
    if old is not None:
        Console(stderr=True).print(compare.text(compare.compare(old, summary)))
    if options.out:
        report.write(summary, Path(options.out), old)
        if not options.quiet:
            print(f"The report: {Path(options.out) / 'report.html'}", file=sys.stderr)
    if options.print_summary:
        print(BEGIN, summary.model_dump_json(), END, sep="\n", flush=True)
    sys.stderr.flush()


def lines(summary: Summary) -> list[str]:
    sentences = []
    rows = [row for row in summary.rows if row.stage == "all"]
    for row in rows:
        late = duration(row.lag.max if row.lag else None)
        sentences.append(
            f"{row.name:<10} {row.due} due ({row.due_rate:.1f}/s), {row.answered} answered, {row.failed} failed,"
            f" {row.dropped} dropped; {times(row.latency)}; sent at most {late} late"
        )
    for part in summary.server:
        if part.gateway is not None and part.queue is not None and part.handler is not None:
            rest, network = part.gateway - part.queue - part.handler, part.client - part.gateway
            sentences.append(
                f"{part.name:<10} of a mean of {duration(part.client)}: queue {duration(part.queue)}, worker"
                f" {duration(part.handler)}, rest of the server {duration(rest)}, network {duration(network)}"
            )
    sentences += [f"{finding.count:>6} x {finding.name}: {finding.what}" for finding in summary.failures]
    sentences += [finding.sentence for finding in summary.findings if finding.sentence not in summary.reasons]
    sentences += summary.reasons
    sentences += [f"Note: {warning}" for warning in summary.warnings]
    sentences.append(f"{summary.verdict}{of_gate(summary)}")
    return sentences


def of_gate(summary: Summary) -> str:
    limited = [finding for finding in summary.findings if finding.asserted < finding.objective]
    gate = f" of the gate {summary.plan.gate}" if summary.plan.gate else ""
    if summary.verdict == "PASS" and limited:
        shares = ", ".join(f"{finding.name} {percent(finding.asserted)}" for finding in limited)
        return f"{gate}, as far as its sample shows: {shares}."
    return f"{gate}."


def times(quantiles: Quantiles | None) -> str:
    if quantiles is None:
        return "no answer"
    named = {"p50": quantiles.p50, "p95": quantiles.p95, "p99": quantiles.p99, "max": quantiles.max}
    return ", ".join(f"{name} {duration(value)}" for name, value in named.items())
