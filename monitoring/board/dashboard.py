"""The board as Grafana reads it, by Grafana's own SDK."""

import json
from itertools import count
from typing import Any

from grafana_foundation_sdk.builders import common as common_builder
from grafana_foundation_sdk.builders import dashboard as builder
from grafana_foundation_sdk.builders import prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common, dashboard

from monitoring.board.capacity import gpu, saturation
from monitoring.board.model import drift
from monitoring.board.panel import HERE, Panel, Row
from monitoring.board.service import requests, service_level, stages
from monitoring.objectives import Objectives

SOURCE = dashboard.DataSourceRef(type_val="prometheus", uid="$datasource")
UID = "catsdogs"
HEIGHT = 8
# A model that no pod had five minutes ago.
ROLLOUTS = (
    f"count by (version, sha256) (catsdogs_model_info{{{HERE}}}) unless "
    f"count by (version, sha256) (catsdogs_model_info{{{HERE}}} offset 5m)"
)
ALERTS = 'ALERTS{alertname=~"Catsdogs.*",alertstate="firing",severity="page"}'


def thresholds(panel: Panel) -> builder.ThresholdsConfig:
    below, above = ("green", "red") if panel.good == "low" else ("red", "green")
    return (
        builder.ThresholdsConfig()
        .mode(dashboard.ThresholdsMode.ABSOLUTE)
        .steps(
            [
                dashboard.Threshold(value=None, color=below),
                *([] if panel.line is None else [dashboard.Threshold(value=panel.line, color=above)]),
            ]
        )
    )


def targets(panel: Panel) -> list[Any]:
    letters = (chr(ord("A") + number) for number in count())
    made = [
        prometheus.Dataquery().expr(query).legend_format(legend).ref_id(letter).datasource(SOURCE)
        for (legend, query), letter in zip(panel.queries.items(), letters, strict=False)
    ]
    # Asked over a time, a figure would show the last value of what is over, such as an alert of hours ago.
    return [query.instant() for query in made] if panel.kind == "stat" else made


def graph(panel: Panel) -> Any:
    made = (
        timeseries.Panel()
        .min(0)
        .legend(
            common_builder.VizLegendOptions()
            .display_mode(common.LegendDisplayMode.LIST)
            .placement(common.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
    )
    if panel.line is not None:
        style = common_builder.GraphThresholdsStyleConfig().mode(common.GraphTresholdsStyleMode.DASHED)
        made = made.thresholds_style(style)
    if panel.stacked:
        made = made.stacking(common_builder.StackingConfig().mode(common.StackingMode.NORMAL)).fill_opacity(30)
    return made


def figure(panel: Panel) -> Any:
    return stat.Panel().reduce_options(common_builder.ReduceDataOptions().calcs(["lastNotNull"]))


def build(panel: Panel, number: int) -> Any:
    made = (graph if panel.kind == "timeseries" else figure)(panel)
    return (
        made.id(number)
        .title(panel.title)
        .description(panel.description)
        .unit(panel.unit)
        .datasource(SOURCE)
        .thresholds(thresholds(panel))
        .targets(targets(panel))
        .height(HEIGHT)
        .span(panel.width)
    )


def namespaces() -> builder.QueryVariable:
    """Return the variable $namespace. All of them are those of a Prometheus without Kubernetes, too."""
    return (
        builder.QueryVariable("namespace")
        .label("Namespace")
        .datasource(SOURCE)
        .query("label_values(catsdogs_build_info, namespace)")
        .refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .include_all(True)
        .all_value(".*")
        .current(dashboard.VariableOption(selected=True, text="All", value="$__all"))
    )


def annotation(name: str, expr: str, color: str) -> builder.AnnotationQuery:
    return builder.AnnotationQuery().name(name).datasource(SOURCE).expr(expr).enable(True).icon_color(color)


def with_row(made: builder.Dashboard, row: Row, numbers: "count[int]") -> builder.Dashboard:
    head = builder.Row(row.title).id(next(numbers)).collapsed(row.collapsed)
    panels = [build(panel, next(numbers)) for panel in row.panels]
    if row.collapsed:
        for panel in panels:
            head = head.with_panel(panel)
        return made.with_row(head)
    made = made.with_row(head)
    for panel in panels:
        made = made.with_panel(panel)
    return made


def rows(objectives: Objectives) -> tuple[Row, ...]:
    """Return the board from top to bottom, in the order in which someone on call asks."""
    return (service_level(), requests(objectives), stages(), saturation(), gpu(), drift(objectives))


def board(objectives: Objectives) -> dict[str, Any]:
    """Return the board as JSON's values."""
    made = (
        builder.Dashboard("catsdogs")
        .uid(UID)
        .description("Is the service level kept, which stage is slow, and have the pictures changed?")
        .tags(["catsdogs"])
        .refresh("30s")
        .time("now-6h", "now")
        .timezone("browser")
        .readonly()
        .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
        .with_variable(builder.DatasourceVariable("datasource").label("Data source").type("prometheus"))
        .with_variable(namespaces())
        .annotation(annotation("Rollouts", ROLLOUTS, "blue"))
        .annotation(annotation("Pages", ALERTS, "red"))
    )
    numbers = count(1)
    for row in rows(objectives):
        made = with_row(made, row, numbers)
    values: dict[str, Any] = json.loads(json.dumps(made.build(), cls=JSONEncoder))
    for one, title in zip(values["annotations"]["list"], ("{{version}} {{sha256}}", "{{alertname}}"), strict=True):
        one["titleFormat"] = title  # the SDK has no field for it
    return values
