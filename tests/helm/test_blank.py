"""Keys without a value: they mean the default."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from helm import generate
from tests.helm.support import CHART, EVERYTHING, NEWEST, Object, render, run

Keys = tuple[str, ...]
VALUES = generate.read((CHART / "values.yaml").read_text())
TEMPLATES = sorted(path for path in (CHART / "templates").rglob("*.*") if path.suffix in (".yaml", ".txt"))


def keys(values: tuple[generate.Value, ...]) -> Iterator[generate.Value]:
    """Every key of values.yaml: the maps, and what is in them."""
    for value in values:
        yield value
        yield from keys(value.children)


def groups(paths: Sequence[Keys], size: int = 12) -> Iterator[list[Keys]]:
    """Paths of the same length, at most `size` of them at a time."""
    for depth in sorted({len(path) for path in paths}):
        alike = [path for path in paths if len(path) == depth]
        yield from (alike[start : start + size] for start in range(0, len(alike), size))


def together(paths: Sequence[Keys]) -> Object:
    """Values in which each of these keys is there without a value."""
    values: Object = {}
    for *parents, key in paths:
        inner = values
        for parent in parents:
            inner = inner.setdefault(parent, {})
        inner[key] = None
    return values


def rendered(values: Object) -> str:
    done = run(
        "template", "catsdogs", str(CHART), "--kube-version", NEWEST, "--values=-", values=yaml.safe_dump(values)
    )
    return done.stdout or done.stderr


def test_each_key_without_a_value_has_its_default() -> None:
    default = rendered({})
    paths = [value.path for value in keys(VALUES)]
    assert ("podAnnotations",) in paths
    assert ("gateway", "tls", "existingSecret") in paths
    # Keys of the same depth, together: none lies in another. One by one only where together they change something.
    changing = [group for group in groups(paths) if rendered(together(group)) != default]
    assert [".".join(path) for group in changing for path in group if rendered(together([path])) != default] == []
    assert changing == []


def test_the_rest_without_values_changes_nothing_beside_much_that_is_set() -> None:
    def blank(values: tuple[generate.Value, ...], taken: Any) -> Object:
        """All that EVERYTHING does not set."""
        return {
            value.path[-1]: blank(value.children, taken.get(value.path[-1], {})) if value.children else None
            for value in values
            if value.children or value.path[-1] not in taken
        }

    def merged(base: Object, other: Object) -> Object:
        both = {**base, **other}
        return {
            key: merged(base[key], other[key])
            if isinstance(base.get(key), dict) and isinstance(other.get(key), dict)
            else value
            for key, value in both.items()
        }

    values = merged(blank(VALUES, EVERYTHING), EVERYTHING)
    assert values["podLabels"]
    assert values["startupSeconds"] is None
    assert rendered(values) == rendered(EVERYTHING)


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_every_template_begins_by_filling_in_the_defaults(template: Path) -> None:
    assert template.read_text().startswith('{{- include "catsdogs.prepare" . -}}\n')


def test_the_defaults_are_those_of_the_values() -> None:
    made = (CHART / "templates" / "_defaults.tpl").read_text()
    assert made == generate.defaults((CHART / "values.yaml").read_text()), "make chart"


def test_off_and_zero_and_empty_are_values() -> None:
    shaped = render({"pdb": {"enabled": False}, "minReadySeconds": 0, "run": {"medium": ""}})
    assert not shaped.kind("PodDisruptionBudget")
    assert shaped.deployment["minReadySeconds"] == 0
    (volume,) = [volume for volume in shaped.pod["volumes"] if volume["name"] == "run"]
    assert volume["emptyDir"]["medium"] == ""


def test_within_maps_of_kubernetes_own_a_blank_key_takes_the_charts_entry_away() -> None:
    shaped = render(
        {
            "torchserve": {"resources": {"limits": {"cpu": None}}},
            "podSecurityContext": {"fsGroup": None},
            "securityContext": {"capabilities": None},
        }
    )
    assert shaped.torchserve["resources"]["limits"].keys() == {"memory", "nvidia.com/gpu"}
    assert "fsGroup" not in shaped.pod["securityContext"]
    assert "capabilities" not in shaped.gateway["securityContext"]


# As a part of another chart


def parent(folder: Path, values: Object) -> Object:
    """The objects of a chart that has this one as a part, by kind."""
    folder.mkdir()
    dependency = {"name": "catsdogs", "version": "0.2.0", "condition": "catsdogs.enabled"}
    chart = {"apiVersion": "v2", "name": "shop", "version": "1.0.0", "dependencies": [dependency]}
    (folder / "Chart.yaml").write_text(yaml.safe_dump(chart))
    (folder / "values.yaml").write_text(yaml.safe_dump(values))
    (folder / "charts").mkdir()
    (folder / "charts" / "catsdogs").symlink_to(CHART)
    done = run("template", "shop", str(folder), "--kube-version", NEWEST)
    assert done.returncode == 0, done.stderr
    return {manifest["kind"]: manifest for manifest in yaml.safe_load_all(done.stdout) if manifest}


def test_a_parents_condition_turns_it_on_and_off(tmp_path: Path) -> None:
    on = parent(tmp_path / "on", {"catsdogs": {"enabled": True, "replicas": 3}, "global": {"region": "eu"}})
    assert on["Deployment"]["metadata"]["name"] == "shop-catsdogs"
    assert on["Deployment"]["spec"]["replicas"] == 3
    assert parent(tmp_path / "off", {"catsdogs": {"enabled": False}}) == {}


def test_in_a_parents_values_keys_without_a_value_have_their_defaults_too(tmp_path: Path) -> None:
    blank = {"podAnnotations": None, "startupSeconds": None, "gateway": {"tls": {"existingSecret": None}}, "auth": None}
    assert parent(tmp_path / "blank", {"catsdogs": blank}) == parent(tmp_path / "default", {})


def test_an_upgrade_that_keeps_the_values_of_an_older_chart_has_what_is_new(tmp_path: Path) -> None:
    """Helm's --reuse-values takes the older chart's defaults in the place of this one's."""
    older = tmp_path / "chart"
    older.mkdir()
    for path in CHART.iterdir():
        if path.name not in ("values.yaml", "ci"):
            (older / path.name).symlink_to(path)
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    del values["gateway"]["allowedHosts"], values["service"]["ipFamilies"], values["validation"]
    (older / "values.yaml").write_text(json.dumps(values))
    assert render(chart=older) == render()


def test_a_key_without_a_value_that_an_upgrade_keeps_is_left_out() -> None:
    """With --reuse-values Helm keeps `cpu: null`, which the API server takes as a limit of 0."""
    limits = {"resources": {"limits": {"ephemeral-storage": None}}}
    context = {"securityContext": {"procMount": None}, "podSecurityContext": {"supplementalGroups": None}}
    kept = {**dict.fromkeys(("torchserve", "gateway", "model", "loadtest"), limits), **context}
    assert render(kept) == render()
