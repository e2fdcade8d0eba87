"""values.schema.json: closed, and as strict as the comments in values.yaml say."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from helm import generate
from tests.helm.support import CHART, CPU, EVERYTHING, PVC, SHA, Object, refusal, render

VALUES = generate.read((CHART / "values.yaml").read_text())
WRONG = {"string": 17, "integer": "many", "number": "much", "boolean": "yes", "array": "none"}


def leaves(values: Iterable[generate.Value]) -> Iterator[generate.Value]:
    for value in values:
        yield from leaves(value.children) if value.children else [value]


def wrong(value: generate.Value) -> Any:
    """Something of another type; None where anything goes. Helm itself ignores what is no map where one is due."""
    kind, entries = value.schema["type"], value.schema.get("additionalProperties")
    if kind != "object":
        return True if isinstance(kind, list) else WRONG[kind]
    return {True: None, False: {"misspelt": 1}}[entries] if isinstance(entries, bool) else {"entry": 17}


def nested(path: tuple[str, ...], value: Any) -> Object:
    for key in reversed(path):
        value = {key: value}
    return dict(value)


def merged(parts: Iterable[Object]) -> Object:
    whole: Object = {}
    for part in parts:
        for key, value in part.items():
            whole[key] = merged([whole.get(key, {}), value]) if isinstance(value, dict) else value
    return whole


def closed(schema: Object, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the paths of the objects that take no unknown keys."""
    if schema.get("additionalProperties") is False:
        yield path
    for key, child in schema.get("properties", {}).items():
        yield from closed(child, (*path, key))


def test_it_is_json_schema() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    jsonschema.Draft7Validator.check_schema(schema)


def test_every_value_has_a_type_that_is_enforced() -> None:
    checked = [value for value in leaves(VALUES) if wrong(value) is not None]
    message = refusal(merged(nested(value.path, wrong(value)) for value in checked))
    missed = [value.path for value in checked if f"at '/{'/'.join(value.path)}" not in message]
    assert not missed
    assert len(checked) > 50


def test_what_goes_through_to_kubernetes_unchecked_is_little() -> None:
    free = {".".join(value.path) for value in leaves(VALUES) if wrong(value) is None}
    assert free == {"strategy", "affinity", "podSecurityContext", "securityContext"}


def test_no_key_can_be_misspelt() -> None:
    paths = list(closed(json.loads((CHART / "values.schema.json").read_text())))
    paths = [path for path in paths if "items" not in path]
    message = refusal(merged(nested((*path, "misspelt"), 1) for path in paths))
    assert message.count("additional properties 'misspelt' not allowed") == len(paths) > 10


@pytest.mark.parametrize(
    ("values", "where"),
    [
        ({"model": {"source": "ftp"}}, "/model/source"),
        ({"model": {"sha256": SHA.upper()}}, "/model/sha256"),
        ({"model": {"sha256": SHA[:-1]}}, "/model/sha256"),
        ({"model": {"name": "../models"}}, "/model/name"),
        ({"model": {"pvc": {"path": "../catsdogs.mar"}}}, "/model/pvc/path"),
        ({"model": {"pvc": {"path": "/catsdogs.mar"}}}, "/model/pvc/path"),
        ({"model": {"pvc": {"path": "catsdogs.zip"}}}, "/model/pvc/path"),
        ({"image": {"digest": "sha256:12"}}, "/image/digest"),
        ({"image": {"pullPolicy": "Sometimes"}}, "/image/pullPolicy"),
        ({"image": {"repository": ""}}, "/image/repository"),
        ({"gpu": {"count": 0}}, "/gpu/count"),
        ({"gpu": {"resourceName": "gpu"}}, "/gpu/resourceName"),
        ({"gpu": {"precision": "int8"}}, "/gpu/precision"),
        ({"runtime": "onnx"}, "/runtime"),
        ({"replicas": -1}, "/replicas"),
        ({"gateway": {"graceSeconds": 10}}, "/gateway/graceSeconds"),
        ({"gateway": {"drainSeconds": 2.5}}, "/gateway/drainSeconds"),
        ({"gateway": {"corsOrigins": ["example.org/page"]}}, "/gateway/corsOrigins/0"),
        ({"gateway": {"tls": {"verify": "maybe"}}}, "/gateway/tls/verify"),
        ({"gateway": {"tls": {"serverName": "https://example.org"}}}, "/gateway/tls/serverName"),
        ({"metrics": {"podMonitor": {"interval": "often"}}}, "/metrics/podMonitor/interval"),
        ({"networkPolicy": {"from": [{}]}}, "/networkPolicy/from/0"),
        ({"networkPolicy": {"from": [{"cidr": "10.0.0.0/8"}]}}, "/networkPolicy/from/0"),
        ({"networkPolicy": {"monitoringNamespace": "Monitoring"}}, "/networkPolicy/monitoringNamespace"),
        ({"ingress": {"hosts": ["https://cats.example.org"]}}, "/ingress/hosts/0"),
        ({"ingress": {"tls": [{"secret": "cats-tls"}]}}, "/ingress/tls/0"),
        ({"httpRoute": {"hostnames": ["cats.example.org:443"]}}, "/httpRoute/hostnames/0"),
        ({"grpcRoute": {"parentRefs": [{"namespace": "gateways"}]}}, "/grpcRoute/parentRefs/0"),
        ({"run": {"medium": "HugePages"}}, "/run/medium"),
        ({"service": {"type": "ExternalName"}}, "/service/type"),
        ({"service": {"ports": {"http": 70000}}}, "/service/ports/http"),
        ({"pdb": {"maxUnavailable": 0}}, "/pdb/maxUnavailable"),
        ({"pdb": {"maxUnavailable": "0%"}}, "/pdb/maxUnavailable"),
        ({"startupSeconds": 0}, "/startupSeconds"),
        ({"fullnameOverride": "a" * 53}, "/fullnameOverride"),
        ({"extraEnv": [{"value": "nameless"}]}, "/extraEnv/0"),
        ({"imagePullSecrets": ["registry"]}, "/imagePullSecrets/0"),
        ({"extraObjects": [17]}, "/extraObjects/0"),
        ({"loadtest": {"pods": 0}}, "/loadtest/pods"),
        ({"loadtest": {"processes": 2.5}}, "/loadtest/processes"),
        ({"loadtest": {"gate": "--help"}}, "/loadtest/gate"),
        ({"loadtest": {"slo": {"objective": {}}}}, "/loadtest/slo"),
        ({"loadtest": {"image": {"digest": "latest"}}}, "/loadtest/image/digest"),
        ({"loadtest": {"pictures": {"path": "../secrets"}}}, "/loadtest/pictures/path"),
        (
            {"loadtest": {"pictures": {"items": [{"key": "a", "path": "cat/../../etc/a"}]}}},
            "/loadtest/pictures/items/0",
        ),
        ({"loadtest": {"ttlSecondsAfterFinished": 0}}, "/loadtest/ttlSecondsAfterFinished"),
        ({"loadtest": {"affinity": {"podAntiAfinity": {}}}}, "/loadtest/affinity"),
    ],
)
def test_what_is_out_of_bounds_is_refused_by_name(values: Object, where: str) -> None:
    assert f"at '{where}" in refusal(values)


@pytest.mark.parametrize("values", [{}, PVC, EVERYTHING, {"global": {"imageRegistry": "r.example"}}])
def test_what_is_right_is_accepted(values: Object) -> None:
    assert render(values).deployment
    assert render(values, CPU).deployment if values.get("runtime") != "torch" else True


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a: 1\n", "the comment above a must start with a"),
        ("# Something else.\na: 1\n", "the comment above a must start with a"),
        ("b:\n  # ab is not it.\n  a: 1\n", "the comment above b.a must start with a"),
        ("# a is a list.\na: []\n", "@schema of a must say what its items are"),
        ("# a is a map.\na: {}\n", "@schema of a must have additionalProperties"),
    ],
)
def test_a_value_without_its_comment_or_type_makes_no_schema(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        generate.schema(text)
