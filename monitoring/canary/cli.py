"""catsdogs canary: whether a candidate may be promoted, by a watch of its track and of the stable one."""

import json
import random
import sys
from pathlib import Path

import click

from handler.files import UserError, write_atomic
from monitoring.validation.cli import CONFIDENCE, JSON, MAX_LOSS, NO_VERIFY, PICTURES, SERVER_NAME
from serving.cli.options import CA, KEY, PATH
from serving.terminal import say


@click.command()
@click.option("--stable", required=True, metavar="URL", help="URL of the stable track's REST API.")
@click.option("--candidate", required=True, metavar="URL", help="URL of the candidate's REST API.")
@PICTURES
@click.option("--slo", type=PATH, help="File with the section objectives. Default: the shipped loadtest/slo.yaml.")
@click.option(
    "--duration",
    type=click.FloatRange(1),
    default=600,
    show_default=True,
    metavar="SECONDS",
    help="Seconds to watch. A breach that is certain ends the watch at once.",
)
@click.option(
    "--interval",
    type=click.FloatRange(1),
    default=30,
    show_default=True,
    metavar="SECONDS",
    help="Seconds from one round to the next.",
)
@click.option(
    "--per-round",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    metavar="COUNT",
    help="Pictures that a round sends to both tracks, at most all of them.",
)
@click.option(
    "--min-requests",
    type=click.IntRange(1),
    default=100,
    show_default=True,
    metavar="COUNT",
    help="Minimum number of requests for a statement on errors and latency.",
)
@click.option(
    "--min-agreement",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.85,
    show_default=True,
    metavar="SHARE",
    help="Minimum share of the pictures of which both tracks predict the same class.",
)
@MAX_LOSS
@CONFIDENCE
@click.option(
    "--prometheus",
    metavar="URL",
    help="Prometheus that scrapes both tracks: users' requests are judged, too. Default: the pictures alone are.",
)
@click.option(
    "--selector",
    default='job="catsdogs"',
    show_default=True,
    help="Label matchers by which Prometheus finds the server's series.",
)
@click.option(
    "--wait",
    type=click.FloatRange(0),
    default=0,
    metavar="SECONDS",
    help="Maximum seconds to wait until both tracks are ready.",
)
@JSON
@KEY
@CA
@SERVER_NAME
@NO_VERIFY
def canary(
    stable: str,
    candidate: str,
    pictures: Path | None,
    slo: Path | None,
    duration: float,
    interval: float,
    per_round: int,
    min_requests: int,
    min_agreement: float,
    max_loss: float | None,
    confidence: float,
    prometheus: str | None,
    selector: str,
    wait: float,
    json_file: Path | None,
    key: str | None,
    ca: Path | None,
    server_name: str | None,
    no_verify: bool,
) -> None:
    """Watch a candidate beside the stable track: errors, latency, accuracy and agreement. The exit status decides.

    Both tracks get the same labelled pictures, marked as probes.

    Exit status: 0 PASS, promote the candidate; 10 BREACH, roll it back; 11 INCONCLUSIVE, too few pictures or requests
    to tell; 12 INVALID, stable breaks the same objective, or a track serves several models; 13 NOT_READY, a track was
    not ready within --wait; 2 wrong usage.
    """
    from common.verdicts import Verdict
    from monitoring.canary.promises import SLO, read_promises
    from monitoring.canary.users import Users
    from monitoring.canary.watch import Observed, Plan, as_json, watch
    from monitoring.validation.gates import overall
    from monitoring.validation.labelled import labelled
    from monitoring.validation.run import check_pictures, wait_until_ready
    from serving.client.samples import SAMPLES
    from serving.client.target import Target
    from serving.gateway.tls import trusting

    if ca is not None and no_verify:
        raise UserError("--ca verifies the servers' certificate, and --no-verify does not: leave one of them out.")
    if interval > duration:
        raise UserError("--interval is longer than --duration: make it shorter, so that there is a round.")
    trust = trusting(ca) if ca is not None or no_verify else None
    plan = Plan(
        read_promises(slo or SLO), duration, interval, per_round, min_requests, min_agreement, max_loss, confidence
    )
    folder = pictures or SAMPLES
    chosen = labelled(folder, say)
    # Each round then has pictures of all classes. The same order each time: a watch that is repeated sees the same.
    random.Random(0).shuffle(chosen)
    targets = (Target(url, key=key, trust=trust, server_name=server_name) for url in (stable, candidate))
    old, new = (target.client(base_url=target.url) for target in targets)
    observed = Observed()
    with old, new:
        waits = (wait_until_ready(client, wait, name) for client, name in ((old, "Stable"), (new, "The candidate")))
        checks = [check for check in waits if check]
        # Those of stable: a candidate of other classes is wrong, and not the pictures.
        if not checks and (unnamed := check_pictures(old, chosen, folder, "Stable", Verdict.INVALID)):
            checks = [unnamed]
        if not checks:
            users = Users(prometheus, selector) if prometheus else None
            observed, checks = watch({"stable": old, "candidate": new}, chosen, plan, users, say)
    for check in checks:
        click.echo(f"{check.verdict:12}  {check.name}: {check.sentence}")
    if json_file:
        write_atomic(json_file, (json.dumps(as_json(observed, checks), indent=2) + "\n").encode())
    verdict = overall(checks)
    click.echo(verdict.value)
    sys.exit(verdict.exit_code)
