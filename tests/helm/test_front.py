"""Tests of the ways into the cluster: an Ingress, an HTTPRoute, a GRPCRoute."""

import pytest

from serving.wire import METHOD
from tests.helm.support import CPU, EVERYTHING, PARENTS, ROUTES, TLS, Object, render
from tests.helm.test_notes import notes

INGRESS = {"ingress": {"enabled": True, "hosts": ["cats.example.org", "dogs.example.org"]}}
KINDS = {"Ingress": INGRESS, "HTTPRoute": ROUTES, "GRPCRoute": ROUTES}


def test_by_default_nothing_leads_outside() -> None:
    shaped = render()
    assert not [manifest for kind in KINDS for manifest in shaped.kind(kind)]


def test_an_ingress_sends_all_paths_of_its_hosts_to_rest() -> None:
    shaped = render(INGRESS, release="x")
    rules = shaped.manifest("Ingress")["spec"]["rules"]
    assert [rule["host"] for rule in rules] == ["cats.example.org", "dogs.example.org"]
    for rule in rules:
        (path,) = rule["http"]["paths"]
        assert (path["path"], path["pathType"]) == ("/", "Prefix")
        assert path["backend"]["service"] == {"name": "x-catsdogs", "port": {"name": "http"}}
    assert "http" in [port["name"] for port in shaped.service["spec"]["ports"]]


def test_class_certificates_and_annotations_of_an_ingress_are_the_users() -> None:
    ingress = render(EVERYTHING).manifest("Ingress")
    assert ingress["spec"]["ingressClassName"] == "nginx"
    assert ingress["spec"]["tls"] == [{"secretName": "cats-tls", "hosts": ["cats.example.org"]}]
    assert ingress["metadata"]["annotations"]["nginx.ingress.kubernetes.io/proxy-body-size"] == "16m"
    plain = render(INGRESS).manifest("Ingress")
    assert not {"ingressClassName", "tls"} & plain["spec"].keys()
    assert "annotations" not in plain["metadata"]


@pytest.mark.parametrize(("kind", "port"), [("HTTPRoute", 80), ("GRPCRoute", 81)])
def test_a_route_leads_from_its_gateway_to_the_services_port(kind: str, port: int) -> None:
    shaped = render({**ROUTES, "service": {"ports": {"http": 80, "grpc": 81}}}, CPU, release="x")
    spec = shaped.manifest(kind)["spec"]
    assert spec["parentRefs"] == PARENTS
    (rule,) = spec["rules"]
    assert rule["backendRefs"] == [{"name": "x-catsdogs", "port": port}]


def test_rest_takes_all_paths_and_grpc_the_one_service() -> None:
    shaped = render(ROUTES)
    (rest,) = shaped.manifest("HTTPRoute")["spec"]["rules"][0]["matches"]
    assert rest == {"path": {"type": "PathPrefix", "value": "/"}}
    (rpc,) = shaped.manifest("GRPCRoute")["spec"]["rules"][0]["matches"]
    assert rpc == {"method": {"service": METHOD.partition("/")[0]}}


def test_names_and_annotations_of_a_route_are_the_users() -> None:
    shaped = render(ROUTES)
    assert shaped.manifest("HTTPRoute")["spec"]["hostnames"] == ["cats.example.org"]
    assert shaped.manifest("HTTPRoute")["metadata"]["annotations"] == {"a": "b"}
    assert shaped.manifest("GRPCRoute")["spec"]["hostnames"] == ["grpc.example.org"]
    nameless = render({"httpRoute": {"enabled": True, "parentRefs": PARENTS}}).manifest("HTTPRoute")
    assert "hostnames" not in nameless["spec"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_pods_are_the_same_with_and_without(kind: str) -> None:
    assert render(KINDS[kind]).template == render().template


def test_the_notes_say_where_it_is() -> None:
    text = notes({**INGRESS, **ROUTES})
    assert "From outside, by the Ingress: http://dogs.example.org/" in text
    assert "From outside, by the HTTPRoute: cats.example.org" in text
    assert "From outside, by the GRPCRoute: grpc.example.org" in text
    encrypted = {"ingress": {**INGRESS["ingress"], "tls": [{"secretName": "cats-tls"}]}}
    assert "From outside, by the Ingress: https://cats.example.org/" in notes(encrypted)


# Values, and a sentence that is there with them and not without.
REMARKS: dict[str, tuple[Object, str]] = {
    "limits": (INGRESS, "ingress: what stands in front must let bodies of 16 MiB pass"),
    "limits of routes": (ROUTES, "httpRoute, grpcRoute: what stands in front must let bodies of 16 MiB pass"),
    "time-outs": (ROUTES, "and wait 30 s for an answer"),
    "who may ask": (ROUTES, "and everyone who reaches its ingress or gateway, can use the model"),
    "two kinds of TLS": ({**INGRESS, **TLS}, "must use TLS to the pods too: an ingress controller by its annotation"),
    "a policy": (
        {**INGRESS, "networkPolicy": {"enabled": True, "from": [{"podSelector": {}}]}},
        "networkPolicy.from must admit what stands in front, too",
    ),
}


@pytest.mark.parametrize("case", REMARKS)
def test_what_the_values_mean_is_said(case: str) -> None:
    values, sentence = REMARKS[case]
    assert sentence in notes(values)
    assert sentence not in notes()
