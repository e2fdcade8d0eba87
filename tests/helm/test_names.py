"""Names and text of the users': whatever they look like to YAML, they stay text, or are refused in a sentence."""

import re
from typing import Any

import pytest

from tests.helm.support import HTTP, NEWEST, PVC, Object, refusal, render, with_model
from tests.helm.test_valid import check

SERVICE = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
# Text that YAML reads as something else where it is not quoted.
ODD = ("no", "on", "true", "null", "123", "1e3", "0x10", "1_000", "2026-11-28", ".5", "~")


@pytest.mark.parametrize("release", ["no", "on", "y", "true", "null", "nan"])
def test_a_release_may_be_called_by_a_word_that_yaml_reads_as_something_else(release: str) -> None:
    shaped = render(release=release, kubernetes=NEWEST)
    for manifest in shaped.objects:
        check(manifest, NEWEST)
        assert manifest["metadata"]["labels"]["app.kubernetes.io/instance"] == release
        assert SERVICE.fullmatch(manifest["metadata"]["name"])
    assert shaped.deployment["selector"]["matchLabels"]["app.kubernetes.io/instance"] == release


@pytest.mark.parametrize("release", ["cats.v2", "1cats", "123", "1e3"])
def test_a_release_by_whose_name_no_service_can_be_called_is_told_what_to_set(release: str) -> None:
    message = refusal({}, release=release)
    assert f"The name of the release is {release}, so the Service would be called {release}-catsdogs" in message
    advice = re.search(r"Set fullnameOverride, such as ([^ ]+)\.", message)
    assert advice is not None
    shaped = render({"fullnameOverride": advice[1]}, release=release, kubernetes=NEWEST)
    for manifest in shaped.objects:
        check(manifest, NEWEST)
        assert SERVICE.fullmatch(manifest["metadata"]["name"])
        assert manifest["metadata"]["labels"]["app.kubernetes.io/instance"] == release


@pytest.mark.parametrize("name", ["My_Cats", "cats.v2", "1cats", "123", "1e3", "-cats", "cats-"])
def test_an_override_by_which_no_service_can_be_called_is_refused(name: str) -> None:
    assert f"fullnameOverride is {name}, so the Service would be called {name}, which" in refusal(
        {"fullnameOverride": name}
    )


@pytest.mark.parametrize("name", ["My_Cats", "cats.v2"])
def test_a_part_of_a_name_by_which_no_service_can_be_called_is_refused(name: str) -> None:
    message = refusal({"nameOverride": name}, release="pets")
    assert f"nameOverride is {name}, so the Service would be called pets-{name}, which" in message


def test_what_can_be_no_label_is_refused() -> None:
    assert "at '/nameOverride'" in refusal({"nameOverride": "-cats"})


def test_a_number_is_no_name() -> None:
    assert "at '/fullnameOverride': got number, want " in refusal({"fullnameOverride": 123})


@pytest.mark.parametrize("name", ["no", "true", "null", "y"])
def test_an_override_may_be_a_word_that_yaml_reads_as_something_else(name: str) -> None:
    shaped = render({"fullnameOverride": name, "nameOverride": name}, kubernetes=NEWEST)
    assert shaped.manifest("Deployment")["metadata"]["name"] == name
    for manifest in shaped.objects:
        check(manifest, NEWEST)


@pytest.mark.parametrize("tag", [1234, 20261128, 123456789012])
def test_a_tag_of_digits_is_taken_as_it_is_written(tag: int) -> None:
    values: Object = {"image": {"tag": tag}, "loadtest": {"enabled": True, "image": {"tag": tag + 2}}}
    shaped = render({**values, "canary": {"enabled": True, "image": {"tag": tag + 1}}})
    images = {container["image"] for container in containers(shaped.objects)}
    assert images == {f"catsdogs-serve:{tag + number}" for number in range(3)}


@pytest.mark.parametrize("path", ["image", "canary.image", "loadtest.image"])
def test_a_tag_that_has_lost_digits_is_refused(path: str) -> None:
    values: Any = {"tag": 1.3}
    for key in reversed(path.split(".")):
        values = {key: values}
    assert f"{path}.tag is the number 1.3" in refusal(values)


def containers(objects: list[Object]) -> list[Object]:
    pods = [
        manifest["spec"].get("template", {"spec": manifest["spec"]})["spec"]
        for manifest in objects
        if "spec" in manifest
    ]
    return [container for pod in pods for container in [*pod.get("initContainers", []), *pod.get("containers", [])]]


@pytest.mark.parametrize("odd", ODD)
def test_what_users_call_their_things_stays_text(odd: str) -> None:
    http = {"url": "https://models.example/a.mar", "existingSecret": odd, "key": odd}
    values = {
        "auth": {"existingSecret": odd, "key": odd},
        "gateway": {"tls": {"existingSecret": odd}},
        "model": with_model(HTTP, http=http, cache={"claimName": odd})["model"],
        "gpu": {"runtimeClassName": odd},
        "feedback": {
            "enabled": True,
            "store": "pvc",
            "pvc": {"claimName": odd},
            "signing": {"existingSecret": odd, "key": odd},
        },
        "priorityClassName": odd,
        "serviceAccount": {"create": True, "name": odd},
        "validation": {"enabled": True, "claimName": odd},
        "loadtest": {"enabled": True, "pods": 2, "pictures": {"claimName": odd}},
        "ingress": {"enabled": True, "className": odd, "hosts": ["cats.example.org"]},
        "networkPolicy": {"enabled": True},
        "autoscaling": {"type": "hpa", "metric": "requests", "podsMetric": odd},
        "service": {"type": "LoadBalancer"},
        "podLabels": {"a": odd},
        "commonLabels": {"b": odd},
        "commonAnnotations": {"c": odd},
        "podAnnotations": {"d": odd},
    }
    for manifest in render(values, kubernetes=NEWEST).objects:
        check(manifest, NEWEST)
    other = render(with_model(PVC, pvc={"claimName": odd, "path": "a.mar"}), kubernetes=NEWEST)
    check(other.manifest("Deployment"), NEWEST)
