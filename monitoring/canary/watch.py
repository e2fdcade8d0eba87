"""A watch of two tracks: both get the same pictures, round after round, until a breach is certain or time is up.

The pictures tell accuracy, agreement, errors and latency. With Prometheus, users' requests tell errors and latency too.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from time import monotonic, sleep
from typing import Any

import httpx

from common.binomial import max_failures_allowed
from common.verdicts import Verdict
from handler.files import UserError
from monitoring.canary.promises import Promises
from monitoring.canary.users import Counted, Users
from monitoring.validation import gates
from monitoring.validation.gates import Check
from monitoring.validation.labelled import Picture, Reply, ask

TRACKS = ("stable", "candidate")
LABELS = ("stable", "canary")
"""Values of the label `track` in the chart."""
PAIRS = 2
"""Pictures under way at once, each at both tracks."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The length of a watch, and what the candidate must keep."""

    promises: Promises
    duration_s: float
    interval_s: float
    per_round: int
    min_requests: int
    min_agreement: float
    max_loss: float | None
    confidence: float

    @property
    def rounds(self) -> int:
        return max(1, round(self.duration_s / self.interval_s))

    @property
    def early_confidence(self) -> float:
        """Confidence of a look before the end: all of them together alarm falsely no more often than the last one."""
        return 1 - (1 - self.confidence) / self.rounds


@dataclass(slots=True)
class Observed:
    """Everything that was seen of both tracks."""

    replies: dict[str, list[Reply]] = field(default_factory=lambda: {track: [] for track in TRACKS})
    users: dict[str, dict[str, Counted]] = field(default_factory=dict)
    """Users' requests by track and indicator; empty without Prometheus."""

    def add(self, stable: Reply, candidate: Reply) -> None:
        self.replies["stable"].append(stable)
        self.replies["candidate"].append(candidate)

    def distinct(self) -> dict[str, list[Reply]]:
        """Return one pair of replies for each picture that both tracks predicted: the last one."""
        pairs = zip(self.replies["stable"], self.replies["candidate"], strict=True)
        last = {old.picture.path: (old, new) for old, new in pairs if old.prediction and new.prediction}
        return {track: [pair[index] for pair in last.values()] for index, track in enumerate(TRACKS)}


def send_round(clients: dict[str, httpx.Client], pictures: Sequence[Picture], number: int, observed: Observed) -> None:
    """Send each picture to both tracks, once; which of them is first changes from picture to picture."""

    def pair(index: int) -> tuple[Reply, Reply]:
        order = TRACKS if (index + number) % 2 else TRACKS[::-1]
        replies = {track: ask(clients[track], pictures[index], attempts=1) for track in order}
        return replies["stable"], replies["candidate"]

    with ThreadPoolExecutor(PAIRS) as pool:
        for stable, candidate in pool.map(pair, range(len(pictures))):
            observed.add(stable, candidate)


def watch(
    clients: dict[str, httpx.Client],
    pictures: Sequence[Picture],
    plan: Plan,
    users: Users | None,
    progress: Callable[[str], None],
) -> tuple[Observed, list[Check]]:
    """Watch both tracks, and return what was seen and the checks of it.

    Args:
        clients: of each track.
        progress: told in a sentence what each round showed.

    Raises:
        UserError: a server wants a key, or Prometheus cannot be asked.
    """
    observed, started, at = Observed(), monotonic(), 0
    checks: list[Check] = []
    for number in range(plan.rounds):
        chosen = [pictures[(at + index) % len(pictures)] for index in range(min(plan.per_round, len(pictures)))]
        at += len(chosen)
        send_round(clients, chosen, number, observed)
        last = number == plan.rounds - 1
        if not last:
            sleep(max(0.0, started + (number + 1) * plan.interval_s - monotonic()))
        if users is not None:
            try:
                observed.users = count_users(users, plan, monotonic() - started)
            except UserError as error:
                if last or number == 0:
                    raise
                progress(str(error))
        whole = last or at >= len(pictures)
        checks = judge(observed, plan, plan.confidence if last else plan.early_confidence, whole)
        verdict = gates.overall(checks)
        progress(f"Round {number + 1} of {plan.rounds}: {verdict}, {len(observed.replies['candidate'])} pictures sent.")
        if verdict is Verdict.BREACH:
            break
    return observed, checks


def count_users(users: Users, plan: Plan, seconds: float) -> dict[str, dict[str, Counted]]:
    """Return users' requests of both tracks. The chart's label of the candidate is `canary`."""
    indicators = plan.promises.indicators()
    return {track: users.count(label, indicators, seconds) for track, label in zip(TRACKS, LABELS, strict=True)}


def judge(observed: Observed, plan: Plan, confidence: float, whole: bool) -> list[Check]:
    """Return the checks of everything seen until now.

    Args:
        whole: every picture was sent, or none is sent any more: labels can be judged.
    """
    checks = [
        gates.one_model(observed.replies[track], f"The {track} track")
        for track in TRACKS
        if gates.models(observed.replies[track])
    ]
    if any(check.verdict is not Verdict.PASS for check in checks):
        return checks
    threshold_s, fast = plan.promises.probes
    failures = {track: counted(replies, None) for track, replies in observed.replies.items()}
    slow = {track: counted(replies, threshold_s) for track, replies in observed.replies.items()}
    availability = plan.promises.availability
    checks.append(kept("errors", "pictures failed", failures, availability, plan.min_requests, confidence))
    late = f"pictures failed or took more than {threshold_s:g} s"
    checks.append(kept("latency", late, slow, fast, plan.min_requests, confidence))
    pairs = observed.distinct()
    if whole and pairs["candidate"]:
        checks += [
            gates.accuracy(pairs["candidate"], plan.promises.accuracy, confidence),
            gates.not_worse(pairs["stable"], pairs["candidate"], plan.max_loss),
            gates.agreement(pairs["stable"], pairs["candidate"], plan.min_agreement, confidence),
        ]
    return [*checks, *judge_users(observed, plan, confidence)]


def judge_users(observed: Observed, plan: Plan, confidence: float) -> list[Check]:
    """Return the checks of users' requests, where Prometheus was asked."""
    if not observed.users:
        return []
    candidate = observed.users["candidate"]
    if not candidate:
        return [Check("users", Verdict.INCONCLUSIVE, "Prometheus counted no request of a user at the candidate.")]
    return [
        kept(
            f"users {indicator.name}",
            "requests of users broke it",
            {track: observed.users[track].get(indicator.name, Counted(0, 0)) for track in TRACKS},
            indicator.objective,
            plan.min_requests,
            confidence,
        )
        for indicator in plan.promises.indicators()
        if indicator.name in candidate
    ]


def counted(replies: Sequence[Reply], threshold_s: float | None) -> Counted:
    """Count the pictures that got no answer, or got it after more than the threshold. Refused ones do not count."""
    asked = [reply for reply in replies if not reply.refused]
    bad = sum(reply.prediction is None or (threshold_s is not None and reply.seconds > threshold_s) for reply in asked)
    return Counted(len(asked), bad)


def kept(
    name: str, what: str, tracks: dict[str, Counted], objective: float, min_requests: int, confidence: float
) -> Check:
    """Judge whether the candidate is shown to break an objective. Where stable breaks it, too, the cause is another."""
    stable, candidate = tracks["stable"], tracks["candidate"]
    observed = (
        f"{candidate.bad} of {candidate.count} {what} at the candidate, {stable.bad} of {stable.count} at stable; the "
        f"objective is {100 * objective:g} %"
    )
    if broken(candidate, objective, confidence):
        if broken(stable, objective, confidence):
            return Check(name, Verdict.INVALID, f"{observed}, and both tracks break it: look for another cause.")
        return Check(name, Verdict.BREACH, f"{observed}, and the candidate breaks it.")
    if candidate.count < min_requests:
        return Check(name, Verdict.INCONCLUSIVE, f"{observed}; fewer than {min_requests} show too little.")
    return Check(name, Verdict.PASS, f"{observed}, and the candidate is not shown to break it.")


def broken(counts: Counted, objective: float, confidence: float) -> bool:
    """Return whether so many failures show that the objective is broken."""
    return counts.count > 0 and counts.bad > max_failures_allowed(counts.count, objective, confidence)


def as_json(observed: Observed, checks: Sequence[Check]) -> dict[str, Any]:
    """Return the report of a watch."""
    verdict = gates.overall(checks)
    return {
        "verdict": verdict.value,
        "exit_code": verdict.exit_code,
        "checks": [
            {"name": check.name, "verdict": check.verdict.value, "sentence": check.sentence} for check in checks
        ],
        "pictures": {track: len(replies) for track, replies in observed.replies.items()},
        "users": {
            track: {name: {"count": value.count, "bad": value.bad} for name, value in by_name.items()}
            for track, by_name in observed.users.items()
        },
    }
