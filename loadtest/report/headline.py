"""The outcome of a load test in plain sentences: what a server did, whether that is enough, and what to do next."""

from common.verdicts import Verdict
from loadtest.judge.summary import Finding, Summary
from loadtest.report.words import duration, percent, plural, weaker


def headline(summary: Summary) -> str:
    """Return the outcome in one sentence, for people who do not know the terms."""
    match summary.verdict:
        case Verdict.PASS if any(weaker(finding) for finding in summary.findings):
            return f"{did(summary)}: it meets its objectives, as far as so few {sent(summary)} can show."
        case Verdict.PASS:
            return f"{did(summary)}: it meets its objectives."
        case Verdict.BREACH:
            return f"{did(summary)}: it misses {missed(summary.findings)}."
        case Verdict.INCONCLUSIVE:
            return f"{did(summary)}. These are too few to say whether it meets its objectives."
        case Verdict.INVALID:
            return "The test itself went wrong, so it says nothing about the server."
        case Verdict.NOT_READY:
            return "No server was ready, so nothing was measured."


def advice(summary: Summary) -> str:
    """Return what was promised, how sure the outcome is, or what to do next."""
    promised = promises(summary.findings)
    luck = percent(round(1 - summary.confidence, 6))
    match summary.verdict:
        case Verdict.PASS if any(weaker(finding) for finding in summary.findings):
            return f"{promised} The column Shown says how much of that this test can show. A longer test can show all."
        case Verdict.PASS:
            return f"{promised} A server that misses an objective passes this test with a chance of at most {luck}."
        case Verdict.BREACH:
            return f"{promised} A server that meets an objective is said to miss it with a chance of at most {luck}."
        case Verdict.INCONCLUSIVE:
            return f"{promised} A longer test can decide."
        case Verdict.INVALID:
            return "The reasons are below. Repeat the test when they are gone."
        case Verdict.NOT_READY:
            return "Start the server, or wait longer for it. The reason is below."


def did(summary: Summary) -> str:
    """Return what the server did: the share of the requests that it answered, and within which time."""
    timed = [finding for finding in summary.findings if finding.threshold is not None and finding.stage == "all"]
    totals = [row for row in summary.rows if row.stage == "all"]
    count = sum(finding.count for finding in timed) or sum(row.due for row in totals)
    good = count - sum(finding.bad for finding in timed) if timed else sum(row.answered for row in totals)
    limits = {finding.threshold for finding in timed}
    within = f" within {duration(limits.pop())}" if len(limits) == 1 else " in time" if limits else ""
    return f"The server answered {percent(good / count if count else None)} of {count:,} {sent(summary)}{within}"


def sent(summary: Summary) -> str:
    return "requests" if summary.plan.bad_share else "pictures"


def missed(findings: list[Finding]) -> str:
    """Return the number of objectives that are broken, and their names where they are few."""
    names = list(dict.fromkeys(finding.name for finding in findings))
    broken = list(dict.fromkeys(finding.name for finding in findings if finding.verdict is Verdict.BREACH))
    listed = f" ({', '.join(broken)})" if len(broken) <= 4 else ""
    return f"{len(broken)} of {plural(len(names), 'objective')}{listed}"


def promises(findings: list[Finding]) -> str:
    """Return the objectives in a sentence, with what each protocol must keep; nothing where there are none."""
    whole = [finding for finding in findings if finding.stage == "all"]
    texts = [
        f"{percent(f.objective)} answered within {duration(f.threshold)}" for f in whole if f.threshold is not None
    ]
    available = [f for f in whole if f.name.endswith(" availability")]
    texts += [f"{percent(f.objective)} answered at all" for f in available]
    each = ", by each protocol" if len(available) > 1 else ""
    unique = [", ".join(dict.fromkeys(texts)) + each] if texts else []
    unique += [f"{percent(f.objective)} of the labels right" for f in whole if f.name == "accuracy"]
    unique += ["no inconsistent answers" for f in whole if f.name == "correctness"]
    return f"The objectives are: {'; '.join(unique)}." if unique else ""
