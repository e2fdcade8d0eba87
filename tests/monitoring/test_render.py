"""`catsdogs monitoring render`: its files, its errors, what each alert says, and the board's shape."""

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from handler.files import UserError
from helm import generate_monitoring
from monitoring.cli import monitoring
from monitoring.slo_file import read
from tests.monitoring.support import needs_promtool, rendered, rule_file, rules
from tests.monitoring.test_queries import board, panels
from tests.zoo import ROOT

RUNBOOK = (ROOT / "docs" / "how-to" / "alerts.md").read_text()
ALERTS = [rule for rule in rules() if "alert" in rule]
NAMES = sorted({rule["alert"] for rule in ALERTS})


def invoke(*arguments: str) -> str:
    result = CliRunner().invoke(monitoring, ["render", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_four_files_are_written(tmp_path: Path) -> None:
    assert "rules.yaml, prometheusrule.yaml, sloth.yaml, board.json" in invoke(
        "--out", str(tmp_path / "new"), "--slo-profile", "shared"
    )
    written = {path.name: path.read_text() for path in (tmp_path / "new").iterdir()}
    assert written == rendered()


def test_without_a_profile_the_rules_count_what_was_answered_within_250_ms(tmp_path: Path) -> None:
    invoke("--out", str(tmp_path))
    text = (tmp_path / "rules.yaml").read_text()
    assert ('le="0.25"' in text, 'le=~"1([.]0)?"' in text) == (True, False)
    assert text != rendered()["rules.yaml"]


def test_a_profile_that_the_file_does_not_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"slo\.yaml has no profile shard; it has shared\."):
        invoke("--out", str(tmp_path), "--slo-profile", "shard")


def test_the_manifest_holds_the_same_rules() -> None:
    assert yaml.safe_load(rendered()["prometheusrule.yaml"])["spec"] == rule_file()


def test_the_rules_follow_the_file_of_objectives(tmp_path: Path) -> None:
    slo = {
        "service": "zoo",
        "objectives": {
            "latency": {"rest": {"threshold": "250ms", "objective": 0.95}},
            "availability": {"objective": 0.99},
            "accuracy": {"objective": 0.9},
        },
    }
    (tmp_path / "slo.yaml").write_text(yaml.safe_dump(slo))
    invoke("--out", str(tmp_path), "--slo", str(tmp_path / "slo.yaml"), "--label", "team=pets")
    text = (tmp_path / "rules.yaml").read_text()
    assert 'le="0.25"' in text
    assert "vector(0.95)" in text
    assert "zoo-availability-rest" in text
    assert "team: pets" in text
    assert "grpc" not in text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("service: zoo\n", "objectives is missing"),
        ("[", "not valid YAML"),
        ("- 1\n", "must be a map"),
        (
            "service: zoo\nobjectives: {latency: {rest: {threshold: 1s, objective: 0.99}}, "
            "availability: {objective: 2}, accuracy: {objective: 0.9}}\n",
            "less than 1",
        ),
    ],
)
def test_a_wrong_file_of_objectives_is_named(text: str, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "slo.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=problem):
        read(path)


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file"):
        CliRunner().invoke(monitoring, ["render", "--out", str(tmp_path / "file")], catch_exceptions=False)


@pytest.mark.parametrize(
    "selector", ["shop", "job=", '{job="catsdogs"}', 'job="catsdogs" namespace="shop"', 'job="a"b"']
)
def test_a_selector_that_is_no_list_of_matchers_is_refused(selector: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(monitoring, ["render", "--out", str(tmp_path / "new"), "--selector", selector])
    assert (result.exit_code, list(tmp_path.iterdir())) == (2, [])
    assert "is not a list of matchers" in result.output


@pytest.mark.parametrize(
    "arguments",
    [
        ("--label", "severity=none"),
        ("--label", "sloth_id=x"),
        ("--label", "team={{ bad"),
        ("--runbook", "http://x/{{bad"),
        ("--selector", 'job="a`b"'),
    ],
)
def test_what_alerts_use_for_themselves_is_refused(arguments: tuple[str, str], tmp_path: Path) -> None:
    result = CliRunner().invoke(monitoring, ["render", "--out", str(tmp_path / "new"), *arguments])
    assert (result.exit_code, list(tmp_path.iterdir())) == (2, [])


def test_no_file_is_replaced_where_one_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text("groups: []")
    (tmp_path / "board.json").mkdir()
    with pytest.raises(UserError, match=r"board\.json is a folder"):
        invoke("--out", str(tmp_path))
    assert (tmp_path / "rules.yaml").read_text() == "groups: []"


@needs_promtool
@pytest.mark.parametrize("selector", ['job="catsdogs"', 'job=~"cats.*", namespace!="test"', 'job="a\\"b"'])
def test_promtool_accepts_the_rules_of_a_selector(selector: str, tmp_path: Path) -> None:
    invoke("--out", str(tmp_path), "--selector", selector)
    done = subprocess.run(["promtool", "check", "rules", str(tmp_path / "rules.yaml")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_promtool_accepts_the_rules(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(rendered()["rules.yaml"])
    done = subprocess.run(["promtool", "check", "rules", "rules.yaml"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(rules())} rules found" in done.stdout


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: f"{alert['alert']}-{alert['labels']['severity']}")
def test_each_alert_says_what_users_feel_and_the_first_step(alert: dict[str, dict[str, str]]) -> None:
    assert alert["labels"]["severity"] in ("page", "ticket")
    annotations = alert["annotations"]
    assert annotations["summary"].endswith((".", "}}"))
    assert re.search(r"[Ff]irst step: \w", annotations["description"])
    assert annotations["runbook_url"] == f"docs/how-to/alerts.md#{str(alert['alert']).lower()}"


def test_the_runbook_has_each_alert_and_three_commands_for_it() -> None:
    sections = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", RUNBOOK, re.MULTILINE | re.DOTALL))
    assert sorted(sections) == NAMES
    commands = {name: re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for name, text in sections.items()}
    assert {name: "".join(blocks).count("\n") for name, blocks in commands.items()} == dict.fromkeys(NAMES, 3)


def test_the_charts_rules_and_board_are_current() -> None:
    files = {path.name: path.read_text() for path in generate_monitoring.FILES.iterdir()}
    assert files == generate_monitoring.made(), "make chart"


def test_every_panel_of_the_board_has_an_id_a_unit_a_source_and_a_description() -> None:
    shown = list(panels(board()))
    numbers = [panel["id"] for panel in shown]
    assert len(set(numbers)) == len(numbers)
    for panel in shown:
        if panel["type"] != "row":
            assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
            assert panel["description"].endswith("."), panel["title"]
            sources = {target["datasource"]["uid"] for target in panel["targets"]} | {panel["datasource"]["uid"]}
            assert sources == {"$datasource"}


def test_the_board_has_variables_and_marks_rollouts() -> None:
    made = board()
    assert [variable["name"] for variable in made["templating"]["list"]] == ["datasource", "namespace"]
    assert [one["name"] for one in made["annotations"]["list"]] == ["Rollouts", "Pages"]
    assert "catsdogs_model_info" in made["annotations"]["list"][0]["expr"]
    assert json.dumps(made).count("$namespace") > 30


def test_no_two_panels_of_the_board_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in board()["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells


def test_a_figure_is_of_now_and_a_graph_of_a_time() -> None:
    """A figure of a time would show the last value of an alert that ended hours ago."""
    asked = {
        (panel["type"], bool(target.get("instant")))
        for panel in panels(board())
        for target in panel.get("targets") or []
    }
    assert asked == {("stat", True), ("timeseries", False)}
