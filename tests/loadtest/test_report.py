"""report.html and summary.json, as text. How the page looks is in test_page.py."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from common.verdicts import Verdict
from loadtest.judge.summary import Failures, Summary
from loadtest.report.report import Interval, folded, segments, to_html, write
from loadtest.report.words import percent
from tests.loadtest.support import build

SCRIPT = "<script>alert('no')</script>"


class Reader(HTMLParser):
    """The texts of a page, of its elements by id, and all that a browser would load or run."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text = ""
        self.by_id: dict[str, str] = {}
        self.loads: list[tuple[str, str | None]] = []
        self.labels: list[str] = []
        self.ids: list[str] = []
        self.inside: list[tuple[str, str | None]] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.ids += [value for key, value in attrs if key == "id" and value]
        self.loads += [(tag, value) for key, value in attrs if key in ("src", "href", "srcset", "data", "action")]
        self.loads += [(tag, None)] if tag in ("script", "link", "iframe", "object", "embed") else []
        self.loads += [(tag, key) for key, _ in attrs if key.startswith("on")]
        if tag == "svg":
            self.labels.append(values.get("aria-label") or "")
        if tag not in ("meta", "path", "use", "br"):
            self.inside.append((tag, values.get("id")))

    def handle_endtag(self, tag: str) -> None:
        while self.inside and self.inside.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        if any(tag in ("style", "title") for tag, _ in self.inside):
            return
        self.text += data
        for _, name in self.inside:
            if name:
                self.by_id[name] = self.by_id.get(name, "") + data


@pytest.fixture(scope="module")
def summary() -> Summary:
    return build(failing=0.002)


@pytest.fixture(scope="module")
def passed() -> Summary:
    return build(slower=0.5, failing=0, duration=200, sample=True)


@pytest.fixture(scope="module")
def page(summary: Summary) -> str:
    return to_html(summary)


@pytest.fixture(scope="module")
def read(page: str) -> Reader:
    return Reader(page)


def test_all_three_files_are_written(tmp_path: Path, summary: Summary) -> None:
    write(summary, tmp_path / "new" / "folder")
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == [
        "junit.xml",
        "report.html",
        "summary.json",
    ]


def test_summary_json_has_one_line_for_each_second(tmp_path: Path, summary: Summary) -> None:
    write(summary, tmp_path)
    text = (tmp_path / "summary.json").read_text()
    assert Summary.model_validate_json(text) == summary
    assert len(re.findall(r'^  \{"time": .*\},?$', text, re.MULTILINE)) == len(summary.seconds)


@pytest.mark.parametrize("value", [{}, [], {"a": []}, {"a": [1, {"b": None}], "c": 'é\n"'}, {"x": list(range(100))}])
def test_folded_json_is_the_same_json(value: object) -> None:
    assert json.loads(folded(value)) == value


def test_the_verdict_stands_there_in_one_sentence(read: Reader) -> None:
    assert read.by_id["verdict"] == "BREACH"
    assert "it misses 3 of 4 objectives (rest latency, grpc latency, grpc availability)." in read.text
    assert read.text.index("it misses 3 of 4") < read.text.index("Objectives")


def test_each_objective_stands_there_with_its_numbers(read: Reader, summary: Summary) -> None:
    for finding in summary.findings:
        assert finding.name in read.by_id["findings"]
        assert f"{finding.count:,}" in read.by_id["findings"]
        assert finding.sentence in read.text
        assert percent(1 - finding.bad / finding.count) in read.by_id["findings"]
    assert "96.9\u00a0% to 98.3\u00a0%" in read.by_id["findings"]


def test_errors_stand_there_by_their_code(read: Reader, summary: Summary) -> None:
    failed = {failure.name: failure.count for failure in summary.failures}
    assert "503 overloaded" in read.text
    due = next(row.due for row in summary.rows if (row.name, row.stage) == ("rest", "all"))
    assert percent(failed["rest"] / due) in read.text


def test_the_command_and_the_machine_stand_there(read: Reader, summary: Summary) -> None:
    assert summary.command is not None
    assert summary.command in read.text
    assert summary.machine.processor in read.text


def test_each_plot_has_one_legend(page: str, read: Reader) -> None:
    assert page.count('class="legend"') == len(read.labels) == 4


def test_it_loads_and_runs_nothing(page: str, read: Reader) -> None:
    assert [load for load in read.loads if not (load[0] == "use" and str(load[1]).startswith("#"))] == []
    assert re.findall(r"url\((?!#)", page) == []
    assert "@import" not in page
    assert re.findall(r"https?://\S+", page) == ["http://127.0.0.1:8080,"]


def test_ids_are_there_once(read: Reader) -> None:
    assert len(read.ids) > 100
    assert len(read.ids) == len(set(read.ids))


def test_each_protocol_has_its_curves_with_words_for_them(read: Reader) -> None:
    assert [label.split(":")[0] for label in read.labels] == [
        "Percentiles of rest",
        "Percentiles of grpc",
        "Latency and rate of rest over 70 seconds in 6 stages",
        "Latency and rate of grpc over 70 seconds in 6 stages",
    ]


def test_what_a_server_says_is_text_and_no_markup(summary: Summary) -> None:
    target = summary.target.model_copy(update={"model": SCRIPT, "version": SCRIPT})
    stages = [stage.model_copy(update={"name": SCRIPT}) for stage in summary.plan.stages]
    strange = summary.model_copy(
        update={
            "failures": [Failures(name=SCRIPT, what=SCRIPT, count=3)],
            "warnings": [SCRIPT],
            "reasons": [SCRIPT],
            "target": target,
            "plan": summary.plan.model_copy(update={"stages": stages}),
            "findings": [finding.model_copy(update={"name": SCRIPT}) for finding in summary.findings],
            "rows": [row.model_copy(update={"name": f'{row.name}"{SCRIPT}'}) for row in summary.rows],
        }
    )
    page = to_html(strange)
    assert "<script" not in page
    assert Reader(page).text.count(SCRIPT) > 10


@pytest.mark.parametrize("verdict", [Verdict.INVALID, Verdict.NOT_READY])
def test_what_is_worth_nothing_is_nowhere_said_to_pass(passed: Summary, verdict: Verdict) -> None:
    assert Reader(to_html(passed)).by_id["findings"].count("PASS") == 4
    worthless = passed.model_copy(update={"verdict": verdict, "seconds": [], "reasons": ["The generator was late."]})
    page = to_html(worthless)
    read = Reader(page)
    shown = verdict.replace("_", " ")
    assert read.by_id["verdict"] == shown
    assert read.by_id["findings"].count(shown) == 4
    assert "PASS" not in read.by_id["findings"]
    assert 'class="pass"' not in page
    assert "The generator was late." in read.text


def test_without_any_answer_there_is_a_page(tmp_path: Path) -> None:
    write(build(failing=1.0, duration=30), tmp_path)
    read = Reader((tmp_path / "report.html").read_text())
    assert read.by_id["verdict"] == "BREACH"
    assert [label.split()[0] for label in read.labels] == ["Latency", "Latency"]
    assert "the slowest answer took \u2013" in read.labels[0]


def test_without_any_request_there_is_a_page(summary: Summary) -> None:
    nothing: dict[str, object] = {name: [] for name in ("findings", "rows", "failures", "server", "seconds")}
    plan = summary.plan.model_copy(update={"stages": []})
    read = Reader(to_html(summary.model_copy(update={**nothing, "plan": plan, "verdict": Verdict.NOT_READY})))
    assert "No server was ready, so nothing was measured." in read.text
    assert "Rates and percentiles" not in read.text
    assert "Errors by code" not in read.text


def test_what_the_sample_cannot_show_is_said(read: Reader) -> None:
    assert "There were too few requests to show the required share." not in read.text
    small = build(duration=30, failing=0, sample=True, seconds=[])
    assert "There were too few requests to show the required share." in Reader(to_html(small)).text


def test_a_closed_loop_is_warned_of(summary: Summary) -> None:
    closed = summary.model_copy(update={"plan": summary.plan.model_copy(update={"loop": "closed"}), "seconds": []})
    assert "these latencies are too good for a service level" in Reader(to_html(closed)).text


def test_a_long_test_says_what_its_points_are(read: Reader, summary: Summary) -> None:
    assert "Each point is one second, by when requests were due." in read.text
    rest = [second for second in summary.seconds if second.name == "rest"]
    long = [second.model_copy(update={"time": float(time)}) for time, second in enumerate(rest * 7)]
    text = Reader(to_html(summary.model_copy(update={"seconds": long}))).text
    assert "Each point is 3 seconds" in text


def test_counters_of_more_requests_than_were_sent_are_pointed_out(read: Reader, summary: Summary) -> None:
    assert "something else asked the server" not in read.text
    server = [part.model_copy(update={"requests": part.sent + 1}) for part in summary.server]
    text = Reader(to_html(summary.model_copy(update={"server": server, "seconds": []}))).text
    assert text.count("something else asked the server") == 2


def test_the_servers_parts_are_the_mean_request(summary: Summary) -> None:
    for part in summary.server:
        assert sum(seconds for _, _, seconds in segments(part)) == pytest.approx(part.client)


def test_an_older_test_is_set_beside_it(tmp_path: Path, summary: Summary) -> None:
    write(
        summary.model_copy(update={"seconds": []}),
        tmp_path,
        old=build(seed=2, slower=2, failing=0.002, protocols=("grpc",)),
    )
    read = Reader((tmp_path / "report.html").read_text())
    assert read.by_id["compared"] == "Since 2026-11-22 11:28"
    assert "Other protocols: grpc, now rest, grpc." in read.text
    assert re.search("\u00d70\\.[45]", read.text)


def test_the_page_is_the_same_each_time(page: str, summary: Summary) -> None:
    assert to_html(summary) == page


def test_an_interval_ends_before_the_limit_where_the_objective_is_kept(summary: Summary, passed: Summary) -> None:
    for finding in summary.findings + passed.findings:
        shown = Interval.of(finding)
        assert (shown.left > shown.limit) == (finding.verdict is Verdict.BREACH)
        assert (shown.left + shown.width <= shown.limit) == (finding.verdict is Verdict.PASS)
        assert 0 <= shown.left < shown.left + shown.width <= 100
