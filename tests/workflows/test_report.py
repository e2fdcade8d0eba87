"""The report on a pull request: a real `dvc metrics diff` of a small repository, and a load test's summary."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from docs import change_report
from loadtest.judge.summary import Summary
from tests.loadtest.support import build
from tests.zoo import ROOT

DVC = ROOT / ".venv-dvc" / "bin" / "dvc"
# The stage of a project whose training is a copy: what matters here is what DVC says of its files.
PIPELINE = """
stages:
  evaluate:
    wdir: ..
    cmd: mkdir -p runs/dvc/evaluation && cp made/history.csv runs/dvc && cp made/metrics.json runs/dvc/evaluation
    deps: [made]
    params:
      - training/config.yaml:
    outs: [runs/dvc/history.csv, runs/dvc/evaluation]
metrics: [../runs/dvc/evaluation/metrics.json]
"""
HISTORY = "epoch,train_loss,val_loss,val_accuracy\n"


def shell(folder: Path, script: str) -> None:
    who = {f"GIT_{role}_{what}": "a@b.c" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    path = f"{DVC.parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, **who, "GIT_CONFIG_GLOBAL": os.devnull, "PATH": path}
    done = subprocess.run(["bash", "-e", "-c", script], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def make(folder: Path, accuracies: list[float], rate: float) -> None:
    """Write what a training would have made, and its parameters."""
    rows = "".join(f"{epoch},0.5,0.5,{accuracy}\n" for epoch, accuracy in enumerate(accuracies, 1))
    (folder / "made" / "history.csv").write_text(HISTORY + rows)
    (folder / "made" / "metrics.json").write_text(json.dumps({"all": {"accuracy": accuracies[-1], "count": 100}}))
    (folder / "training" / "config.yaml").write_text(f"train:\n  learning_rate: {rate}\n")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with a model on the branch main, and a better one in its working tree."""
    assert DVC.exists(), f"{DVC} is missing: run the tests by make, or `make .venv-dvc/.installed`"
    folder = tmp_path_factory.mktemp("report") / "pets"
    for name in ("training", "made"):
        (folder / name).mkdir(parents=True)
    (folder / "training" / "dvc.yaml").write_text(PIPELINE)
    make(folder, [0.5, 0.75], 0.01)
    shell(
        folder,
        "git init -q -b main && dvc init -q && dvc config core.analytics false && dvc repro -q training/dvc.yaml"
        " && git add . && git commit -q -m First",
    )
    make(folder, [0.5, 0.8, 0.9], 0.02)
    shell(folder, "git switch -q -c better && dvc repro -q training/dvc.yaml && git commit -q -a -m Better")
    return folder


@pytest.fixture(scope="module")
def summary() -> Summary:
    return build()


def report(folder: Path, out: Path, base: str, *options: str | Path) -> str:
    arguments = ["--root", folder, "--base", base, "--dvc", DVC, "--out", out / "report.md", *options]
    assert change_report.main([str(argument) for argument in arguments]) == 0
    return (out / "report.md").read_text()


def test_a_report_has_the_metrics_and_parameters_that_differ(project: Path, tmp_path: Path) -> None:
    text = report(project, tmp_path, "main")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    (metric,) = [row for row in rows if "all.accuracy" in row]
    assert metric[2:] == ["0.75", "0.9", "0.15"]
    (parameter,) = [row for row in rows if "train.learning_rate" in row]
    assert parameter[2:] == ["0.01", "0.02"]
    assert "all.count" not in text


def test_a_report_draws_the_curves_of_both(project: Path, tmp_path: Path) -> None:
    text = report(project, tmp_path, "main")
    assert "Validation accuracy by epoch (base, this change):" in text
    assert "```mermaid\nxychart-beta\n" in text
    assert '  x-axis "epoch" 1 --> 3\n' in text
    assert "  line [0.5, 0.75]\n  line [0.5, 0.8, 0.9]\n" in text


@pytest.mark.parametrize("text", ["", "epoch,loss\n1,0.5\n", "epoch,val_accuracy\n1,nan\n", "epoch,val_accuracy\n1\n"])
def test_a_history_without_accuracy_is_said(text: str, tmp_path: Path) -> None:
    history = tmp_path / change_report.HISTORY
    history.parent.mkdir(parents=True)
    history.write_text(text)
    lines = change_report.accuracy_curves(tmp_path, "false", "main")
    assert lines == ["history.csv has no accuracy by epoch.", ""]


def test_what_does_not_differ_is_said(project: Path, tmp_path: Path) -> None:
    text = report(project, tmp_path, "better")
    assert "No metrics differ from `better`." in text
    assert "No params differ from `better`." in text


def test_metrics_that_are_in_no_cache_here_are_not_called_equal(project: Path, tmp_path: Path) -> None:
    shell(tmp_path, f"git clone -q {project} clone")
    text = report(tmp_path / "clone", tmp_path, "origin/main")
    assert "The metrics were not compared: their files are not here, and `dvc pull` fetches them." in text
    assert "No metrics differ" not in text
    assert "train.learning_rate" in text


def test_a_base_that_is_not_there_is_said_in_the_report(project: Path, tmp_path: Path) -> None:
    text = report(project, tmp_path, "no-such-branch")
    assert "The models could not be compared." in text
    assert "no-such-branch" in text.partition("### Model")[2]


def test_a_report_without_any_input_says_so(tmp_path: Path) -> None:
    text = report(tmp_path, tmp_path, "main")
    assert "No model is versioned here" in text
    assert "### Load test\n\nNot run." in text
    assert "### Coverage\n\nNot measured." in text


def test_the_load_test_has_its_verdict_a_row_for_each_protocol_and_a_plot(tmp_path: Path, summary: Summary) -> None:
    file = tmp_path / "summary.json"
    file.write_text(summary.model_dump_json())
    text = report(tmp_path, tmp_path, "main", "--load", file).partition("### Load test")[2]
    assert text.strip().startswith(f"**{summary.verdict}**")
    rows = {line.split("|")[1].strip(): line for line in text.splitlines() if line.startswith("| ")}
    for row in summary.rows:
        if row.stage == "all":
            assert f"| {row.due} | {row.answered} | {row.failed + row.dropped} |" in rows[row.name]
    assert "p99 by second (rest, grpc):" in text
    assert text.count("  line [") == 2


def test_the_load_test_is_compared_with_an_earlier_one(tmp_path: Path, summary: Summary) -> None:
    new, old = tmp_path / "new.json", tmp_path / "old.json"
    new.write_text(summary.model_dump_json())
    old.write_text(build(slower=2.0).model_dump_json())
    text = report(tmp_path, tmp_path, "main", "--load", new, "--old-load", old)
    assert f"Since {summary.started}:" in text
    assert "| protocol | p50 | p95 | p99 | answered | failed |" in text


def test_the_coverage_is_named(tmp_path: Path) -> None:
    file = tmp_path / "coverage.json"
    totals = {"percent_covered": 84.66, "num_statements": 12345, "num_branches": 678}
    file.write_text(json.dumps({"totals": totals}))
    text = report(tmp_path, tmp_path, "main", "--coverage", file)
    assert "84.7 % of 12,345 statements and 678 branches." in text


def test_a_report_fits_into_a_comment(tmp_path: Path, summary: Summary) -> None:
    file = tmp_path / "summary.json"
    file.write_text(summary.model_copy(update={"reasons": ["x" * 100_000]}).model_dump_json())
    text = report(tmp_path, tmp_path, "main", "--load", file)
    assert len(text) < 65_536
    assert text.endswith(change_report.CUT)


def test_a_file_that_is_no_summary_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "summary.json").write_text("{}")
    arguments = [
        "--root",
        tmp_path,
        "--base",
        "main",
        "--load",
        tmp_path / "summary.json",
        "--out",
        tmp_path / "out.md",
    ]
    assert change_report.main([str(argument) for argument in arguments]) == 2
    assert "is not a load test's summary" in capsys.readouterr().err
    assert not (tmp_path / "out.md").exists()
