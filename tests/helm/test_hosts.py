"""`gateway.allowedHosts`: the names by which the server may be called, and that nobody of the release is shut out."""

import pytest

from tests.helm.support import ROUTES, TLS, Object, Rendered, flags, refusal, render


def allowed(shaped: Rendered) -> list[str]:
    parts = (word.partition("=") for word in shaped.gateway["command"])
    return [value for name, _, value in parts if name == "--allowed-host"]


def chosen(**more: Object) -> Object:
    values: Object = {**more}
    return {**values, "gateway": {**values.get("gateway", {}), "allowedHosts": ["cats.example.org"]}}


def test_by_default_nothing_is_checked() -> None:
    assert allowed(render({**ROUTES, "ingress": {"enabled": True, "hosts": ["cats.example.org"]}})) == []


def test_those_that_are_named_are_allowed() -> None:
    assert allowed(render(chosen()))[0] == "cats.example.org"


def test_the_services_are_allowed_by_each_of_their_names() -> None:
    names = allowed(render(chosen(), release="pets", namespace="shop"))
    for service in ("pets-catsdogs", "pets-catsdogs-metrics"):
        assert {service, f"{service}.shop", f"{service}.shop.svc"} <= set(names)


@pytest.mark.parametrize("values", [{}, TLS], ids=["plain", "TLS"])
def test_helm_test_the_validation_and_the_load_test_are_let_in(values: Object) -> None:
    more: Object = {"validation": {"enabled": True}, "loadtest": {"enabled": True}, "replicas": 1}
    shaped = render(chosen(**values, **more))
    jobs = [job["spec"]["template"]["spec"] for job in shaped.kind("Job")]
    askers = [spec["containers"][0] for spec in (shaped.check["spec"], *jobs)]
    assert len(askers) == 3
    for asker in askers:
        for name in ("url", "grpc", "metrics"):
            if address := flags(asker).get(name):
                host = address.rpartition("//")[2].partition("/")[0].partition(":")[0]
                assert host in allowed(shaped)


def test_what_stands_in_front_is_let_in() -> None:
    ingress = {"enabled": True, "hosts": ["shop.example.org"]}
    tls = {"tls": {"existingSecret": "our-tls", "serverName": "tls.example.org"}}
    names = allowed(render(chosen(ingress=ingress, gateway=tls, **ROUTES)))
    assert {"shop.example.org", "grpc.example.org", "tls.example.org"} <= set(names)
    assert len(names) == len(set(names))


def test_routes_with_weights_ask_services_of_one_track() -> None:
    canary = {"enabled": True, "weight": 5, "image": {"tag": "next"}}
    shaped = render(chosen(canary=canary, **ROUTES))
    deployment = shaped.manifest("Deployment", "catsdogs")
    command = deployment["spec"]["template"]["spec"]["containers"][0]["command"]
    assert {"--allowed-host=catsdogs-stable", "--allowed-host=catsdogs-canary"} <= set(command)


@pytest.mark.parametrize("host", ["https://cats.example.org", "cats.example.org:443", "", "-cats", "cats example"])
def test_what_is_no_host_is_refused(host: str) -> None:
    assert "at '/gateway/allowedHosts/0'" in refusal({"gateway": {"allowedHosts": [host]}})


@pytest.mark.parametrize("host", ["cats.example.org", "localhost", "192.0.2.7", "[2001:db8::7]"])
def test_what_is_a_host_is_taken(host: str) -> None:
    assert host in allowed(render({"gateway": {"allowedHosts": [host]}}))
