"""TLS by a certificate from a Secret, which the gateway serves and `helm test` checks."""

import pytest

from tests.helm.support import CPU, KEYS, TLS, Object, flags, named, render
from tests.helm.test_notes import notes


def test_by_default_nothing_speaks_it() -> None:
    shaped = render()
    assert "tls" not in [volume["name"] for volume in shaped.pod["volumes"]]
    assert not [flag for flag in flags(shaped.gateway) if flag.startswith("tls")]
    assert "https" not in str(shaped.objects).lower()


def test_the_gateway_reads_certificate_and_key_from_the_secret() -> None:
    shaped = render(TLS)
    assert flags(shaped.gateway).items() >= {"tls-cert": "/tls/tls.crt", "tls-key": "/tls/tls.key"}.items()
    volume = named(shaped.pod["volumes"], "tls")["secret"]
    assert volume["secretName"] == "our-tls"
    assert {item["key"]: item["path"] for item in volume["items"]} == {"tls.crt": "tls.crt", "tls.key": "tls.key"}


def test_the_secret_is_a_folder_which_follows_it_and_nobody_elses() -> None:
    shaped = render(TLS)
    assert named(shaped.gateway["volumeMounts"], "tls") == {"name": "tls", "mountPath": "/tls", "readOnly": True}
    assert named(shaped.pod["volumes"], "tls")["secret"]["defaultMode"] == 0o440
    assert "tls" not in [mount["name"] for mount in shaped.torchserve["volumeMounts"]]


def test_readiness_is_asked_by_tls_and_liveness_stays_plain() -> None:
    gateway = render(TLS).gateway
    assert gateway["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "http", "scheme": "HTTPS"}
    assert "scheme" not in gateway["livenessProbe"]["httpGet"]


def test_the_service_says_what_is_spoken() -> None:
    ports = render(TLS).service["spec"]["ports"]
    assert [(port["name"], port["appProtocol"]) for port in ports] == [("http", "https"), ("grpc", "https")]
    assert render(TLS).manifest("Service", "-metrics")["spec"]["ports"][0]["appProtocol"] == "http"


def check(values: Object) -> tuple[dict[str, str], Object]:
    """The options of `helm test`, and its pod."""
    spec: Object = render(values, CPU, release="x").check["spec"]
    return flags(spec["containers"][0]), spec


def tls(**values: str) -> Object:
    return {"gateway": {"tls": {"existingSecret": "our-tls", **values}}}


def test_the_test_believes_who_is_signed_by_the_secrets_authority() -> None:
    options, spec = check(TLS)
    assert options["url"] == "https://x-catsdogs:8080"
    assert options["server-name"] == "x-catsdogs.default.svc"
    assert options["ca"] == "/tls/ca.crt"
    assert options["metrics"] == "http://x-catsdogs-metrics:8082/metrics"
    volume = named(spec["volumes"], "tls")["secret"]
    assert (volume["secretName"], volume["items"]) == ("our-tls", [{"key": "ca.crt", "path": "ca.crt"}])
    assert named(spec["containers"][0]["volumeMounts"], "tls")["mountPath"] == "/tls"


def test_a_secret_without_an_authority_is_told_by_the_test_and_does_not_hold_its_pod() -> None:
    _, spec = check(TLS)
    assert named(spec["volumes"], "tls")["secret"]["optional"] is True


def test_the_test_may_believe_public_authorities_or_everybody() -> None:
    public, spec = check(tls(verify="system", serverName="cats.example.org"))
    assert (public["server-name"], "ca" in public, "no-verify" in public) == ("cats.example.org", False, False)
    assert [volume["name"] for volume in spec["volumes"]] == ["run"]
    everybody, spec = check(tls(verify="none"))
    assert "no-verify" in everybody
    assert not {"ca", "server-name"} & everybody.keys()
    assert [volume["name"] for volume in spec["volumes"]] == ["run"]


def test_the_notes_say_how_to_ask() -> None:
    text = notes(TLS | KEYS)
    assert (
        'curl --cacert ca.crt --connect-to ::127.0.0.1:8080 -H "Authorization: Bearer $KEY" --data-binary @photo.jpg '
        "https://catsdogs.default.svc/predictions/catsdogs"
    ) in text
    assert "get secret our-tls -o 'go-template={{index .data \"ca.crt\" | base64decode}}' > ca.crt" in text
    assert "Within the cluster: https://catsdogs.default:8080, gRPC with TLS at catsdogs.default:7070" in text
    assert "do not answer plain HTTP" in text


@pytest.mark.parametrize(("verify", "option"), [("system", ""), ("none", " --insecure")])
def test_the_notes_believe_whom_the_test_believes(verify: str, option: str) -> None:
    text = notes(tls(verify=verify))
    assert f"curl{option} --connect-to" in text
    assert "ca.crt" not in text
    assert ("`helm test` does not verify the certificate" in text) == (verify == "none")


def test_they_say_it_of_a_load_balancer_too() -> None:
    text = notes({**TLS, "service": {"type": "LoadBalancer"}})
    assert (
        "curl --cacert ca.crt --connect-to ::ADDRESS:PORT --data-binary @photo.jpg https://catsdogs.default.svc/"
        in text
    )
