"""The verb `monitoring`: the files that watch a server."""

import re
from pathlib import Path

import click

from handler.files import UserError

PATH = click.Path(path_type=Path)
SLO = Path(__file__).parents[1] / "loadtest" / "slo.yaml"
# Prometheus' names of labels, but those that start with __, which it keeps for itself.
LABEL = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*=[^\"\\\n]*")
# As PromQL has them between braces: name="value", name=~"pattern", separated by commas.
MATCHER = r"[a-zA-Z_][a-zA-Z0-9_]*\s*(=|!=|=~|!~)\s*\"([^\"\\\n]|\\.)*\""
SELECTOR = re.compile(rf"\s*{MATCHER}(\s*,\s*{MATCHER})*\s*")
RESERVED = {"severity", "protocol", "alertname"}
# As Kubernetes names a PrometheusRule.
SERVICE = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")


@click.group()
def monitoring() -> None:
    """Make the rules, alerts and board that watch a running server."""


@monitoring.command()
@click.option(
    "--out", type=PATH, required=True, help="Folder for rules.yaml, prometheusrule.yaml, sloth.yaml, board.json."
)
@click.option(
    "--slo", type=PATH, default=SLO, help="File with the section objectives. Default: the shipped loadtest/slo.yaml."
)
@click.option(
    "--slo-profile",
    metavar="NAME",
    help="Profile of the SLO file, such as shared. Default: its objectives as they are.",
)
@click.option("--service", help="Name of the service in recorded series and alerts. Default: that of the SLO file.")
@click.option(
    "--selector",
    default='job="catsdogs"',
    show_default=True,
    help="Label matchers by which Prometheus finds the server's series.",
)
@click.option(
    "--label", "labels", multiple=True, metavar="NAME=VALUE", help="Label of recorded series and alerts. Repeatable."
)
@click.option(
    "--runbook",
    metavar="URL",
    default="docs/how-to/alerts.md",
    show_default=True,
    help="URL of the page that describes the alerts.",
)
def render(
    out: Path,
    slo: Path,
    slo_profile: str | None,
    service: str | None,
    selector: str,
    labels: tuple[str, ...],
    runbook: str,
) -> None:
    """Write Prometheus rules, a PrometheusRule, a Sloth specification and a Grafana board.

    The rules follow the objectives of slo.yaml. Load rules.yaml by rule_files in prometheus.yml; import board.json into
    Grafana. Alerts expect that the server is scraped at least every 15 seconds.
    """
    from monitoring.render import render, write
    from monitoring.rules.model import Target
    from monitoring.slo_file import read

    stated = read(slo, slo_profile)
    name = service or stated.service
    if not SERVICE.fullmatch(name):
        raise UserError(f"{name!r} is no name of a service: use small letters, digits, dots and hyphens.")
    check(selector, labels, runbook)
    target = Target(name, selector, dict(label.split("=", 1) for label in labels), runbook)
    texts = render(target, stated)
    write(texts, out)
    click.echo(f"Wrote {', '.join(texts)} to {out}.")


def check(selector: str, labels: tuple[str, ...], runbook: str) -> None:
    """Refuse what would make rules that Prometheus does not load.

    Raises:
        click.BadParameter: the selector is no list of matchers, or a label cannot be set.
    """
    if not SELECTOR.fullmatch(selector):
        raise click.BadParameter(
            f'{selector} is not a list of matchers, such as job="catsdogs",namespace="shop".', param_hint="--selector"
        )
    for option, text in (("--selector", selector), ("--runbook", runbook), *(("--label", label) for label in labels)):
        if "{{" in text or "`" in text:
            raise click.BadParameter(
                f"{text} has {{{{ or a backtick, which alerts use for themselves.", param_hint=option
            )
    for label in labels:
        key = label.partition("=")[0]
        if key in RESERVED or key.startswith("sloth_"):
            raise click.BadParameter(f"{key} is a label that the rules set themselves.", param_hint="--label")
        if not LABEL.fullmatch(label):
            raise click.BadParameter(f"{label!r} is not NAME=VALUE.", param_hint="--label")
