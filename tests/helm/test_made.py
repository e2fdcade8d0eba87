"""Files that are generated from the chart are up to date, and what is written about it is true."""

import re
import shlex
import subprocess
import tarfile
import tomllib
from pathlib import Path

import pytest
import yaml

from helm import generate
from k8s import render as manifests
from tests.documentation import PAGES, run_by
from tests.helm.support import CHART, CPU, IMAGE_VOLUMES, OLDEST, helm, render, run
from tests.zoo import ROOT

READMES = [CHART / "README.md", ROOT / "k8s" / "README.md"]
VALUES = (CHART / "values.yaml").read_text()
# Options of an install or upgrade that have nothing to do with what is rendered.
NOT_OF_TEMPLATE = {"--install", "--wait", "--reuse-values", "--reset-then-reuse-values"}
COMPARED = ROOT / "docs" / "explanation" / "other-charts.md"
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def test_the_schema_is_that_of_the_values() -> None:
    assert (CHART / "values.schema.json").read_text() == generate.schema(VALUES), "make chart"


def test_the_page_of_values_is_that_of_the_values() -> None:
    page = (ROOT / "docs" / "reference" / "chart-values.md").read_text()
    assert page == generate.page(VALUES), "make chart"
    assert "| `gpu.count` | `1` | count is" in page


@pytest.mark.parametrize("name", manifests.RENDERED)
def test_the_manifests_are_those_of_the_chart(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HELM", helm())
    assert (ROOT / "k8s" / name).read_text() == manifests.render(name), "make chart"


@pytest.mark.parametrize("name", manifests.RENDERED)
def test_the_manifests_do_not_say_that_helm_has_them(name: str) -> None:
    text = (ROOT / "k8s" / name).read_text()
    assert "helm.sh" not in text
    assert "managed-by" not in text
    assert ("kind: Job" if name == "loadtest.yaml" else "kind: Deployment") in text


def test_the_chart_is_of_this_version() -> None:
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"] == VERSION


def test_artifact_hub_is_told_the_newest_changes() -> None:
    text = (CHART / "Chart.yaml").read_text()
    changelog = (CHART / "CHANGELOG.md").read_text()
    assert text == generate.with_changes(text, changelog), "make chart"
    chart = yaml.safe_load(text)
    changes = yaml.safe_load(chart["annotations"]["artifacthub.io/changes"])
    newest = changelog.partition(f"## {chart['version']}\n")[2].partition("\n## ")[0]
    assert " ".join(newest.split()) == " ".join(f"- {change['description']}" for change in changes)


def test_a_change_is_an_addition_unless_its_first_word_says_what_else() -> None:
    text = "# Changelog\n\n## 2.0.0\n\n- Fixed: a pod\n  was lost.\n- `keys`: new ones.\n\n## 1.0.0\n\n- All of it.\n"
    assert generate.changes(text) == [
        {"kind": "fixed", "description": "Fixed: a pod was lost."},
        {"kind": "added", "description": "`keys`: new ones."},
    ]


def test_artifact_hub_is_told_what_it_understands() -> None:
    annotations = yaml.safe_load((CHART / "Chart.yaml").read_text())["annotations"]
    assert annotations["artifacthub.io/category"] == "ai-machine-learning"
    assert annotations["artifacthub.io/license"] == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text()
    (load,) = render({"loadtest": {"enabled": True}}).manifest("Job")["spec"]["template"]["spec"]["containers"]
    images = {image["name"]: image["image"] for image in yaml.safe_load(annotations["artifacthub.io/images"])}
    assert images == {
        "gpu": render().torchserve["image"],
        "cpu": render(None, CPU).torchserve["image"],
        "load": load["image"],
    }
    assert all(link["url"].startswith("https://") for link in yaml.safe_load(annotations["artifacthub.io/links"]))


@pytest.mark.parametrize("name", ["training-job.yaml", "training-nodes.yaml", "trainjob.yaml", "retrain-cronjob.yaml"])
def test_the_training_image_is_of_this_version(name: str) -> None:
    text = (ROOT / "k8s" / name).read_text()
    assert re.findall(r"catsdogs-train:(\S+)", text) == [VERSION]


def test_the_chart_alone_is_in_its_package(tmp_path: Path) -> None:
    done = run("package", str(CHART), "--destination", str(tmp_path))
    assert done.returncode == 0, done.stderr
    with tarfile.open(next(tmp_path.glob("*.tgz"))) as package:
        names = {name.removeprefix("catsdogs/") for name in package.getnames()}
    assert {"Chart.yaml", "values.yaml", "values-cpu.yaml", "values.schema.json", "README.md", "CHANGELOG.md"} <= names
    assert not [name for name in names if name.endswith((".py", ".pyc")) or name.startswith("ci/")]


def test_the_changelog_knows_this_version_of_the_chart() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert f"\n## {chart['version']}\n" in (CHART / "CHANGELOG.md").read_text()


def typed() -> list[str]:
    """Return each install and upgrade that any page tells a user to type."""
    text = "\n".join(page.read_text() for page in PAGES)
    return re.findall(r"(?:^|`)(helm (?:install|upgrade) [^`\n|]*\./helm[^`\n|]*)", text, re.MULTILINE)


def test_blocks_of_which_this_is_the_test_have_nothing_else() -> None:
    lines = [line for block in run_by(__file__) for line in block.commands]
    assert set(lines) <= set(typed())


@pytest.mark.parametrize("line", typed())
def test_what_the_pages_tell_to_install_renders(line: str) -> None:
    arguments = shlex.split(line.replace("$N", "catsdogs"), comments=True)[2:]
    arguments = [word for word in arguments if word not in NOT_OF_TEMPLATE]
    kubernetes = IMAGE_VOLUMES if "model.source=oci" in arguments else OLDEST
    command = [helm(), "template", *arguments, "--kube-version", kubernetes]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("readme", READMES, ids=lambda path: path.parent.name)
def test_what_the_readmes_link_to_is_there(readme: Path) -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", readme.read_text()):
        assert (readme.parent / target).exists(), target


def test_every_feature_that_is_compared_is_shown_by_a_test() -> None:
    table = re.search(r"<!-- compared -->\n(.*?)<!-- /compared -->", COMPARED.read_text(), re.DOTALL)
    assert table is not None
    head, _, *rows = (line.removesuffix(" |").split(" | ") for line in table[1].splitlines())
    assert head[-1] == "shown by"
    assert len(rows) > 20
    for row in rows:
        assert len(row) == len(head), row
        assert re.fullmatch(r"\[[a-z0-9/_]+\]\(\.\./\.\./tests/[a-z0-9/_]+\.py\)(, \[.*\.py\))?", row[-1]), row
