"""Drift in the chart: records of predictions, and a CronJob that judges the pods' counters."""

import pytest

from tests.helm.support import EVERYTHING, KEYS, PVC, TLS, Object, Rendered, flags, refusal, render, selects
from tests.helm.test_notes import notes
from tests.helm.test_validation import understood

SCHEDULED: Object = {"drift": {"schedule": "47 * * * *"}}
RECORDED: Object = {"records": {"enabled": True}}


def job(shaped: Rendered) -> Object:
    spec: Object = shaped.manifest("CronJob")["spec"]["jobTemplate"]["spec"]
    return spec


def asker(shaped: Rendered) -> Object:
    (container,) = job(shaped)["template"]["spec"]["containers"]
    return dict(container)


def pods(shaped: Rendered) -> Object:
    """Return the Service that has an address for each pod."""
    return shaped.manifest("Service", "-pods")


def volume(shaped: Rendered) -> Object:
    (found,) = [volume for volume in shaped.pod["volumes"] if volume["name"] == "records"]
    return dict(found)


def test_by_default_nothing_is_recorded_and_nothing_is_judged() -> None:
    shaped = render()
    assert not shaped.kind("CronJob")
    assert len(shaped.kind("Service")) == 2
    assert "records" not in str(shaped.pod)


def test_a_schedule_makes_a_cronjob_that_judges_the_pods_counters() -> None:
    shaped = render(SCHEDULED)
    spec = shaped.manifest("CronJob")["spec"]
    assert (spec["schedule"], spec["timeZone"], spec["concurrencyPolicy"]) == ("47 * * * *", "Etc/UTC", "Forbid")
    assert job(shaped)["backoffLimit"] == 0, "a verdict does not change by asking again"
    assert understood(asker(shaped)) == "drift"
    assert flags(asker(shaped))["url"] == f"http://{pods(shaped)['metadata']['name']}:8082"
    assert render(SCHEDULED).pod == render().pod, "no pod is replaced for it"


def test_each_pod_of_stable_is_asked_and_no_pod_of_the_canary() -> None:
    canary = {"enabled": True, "image": {"tag": "next"}}
    shaped = render({**SCHEDULED, "canary": canary})
    spec = pods(shaped)["spec"]
    assert spec["clusterIP"] == "None"
    (port,) = spec["ports"]
    assert (port["port"], port["targetPort"]) == (8082, "metrics")
    labels = [manifest["spec"]["template"]["metadata"]["labels"] for manifest in shaped.kind("Deployment")]
    assert {each["track"] for each in labels if selects(spec["selector"], each)} == {"stable"}
    assert not selects(spec["selector"], job(shaped)["template"]["metadata"]["labels"])


@pytest.mark.parametrize(("allowed", "words"), [(True, [""]), (False, [])])
def test_too_few_pictures_fail_it_only_where_that_is_wanted(allowed: bool, words: list[str]) -> None:
    shaped = render({"drift": {"schedule": "47 * * * *", "allowInconclusive": allowed}})
    assert [flags(asker(shaped))[name] for name in flags(asker(shaped)) if name == "allow-inconclusive"] == words


def test_it_holds_no_key_no_certificate_and_no_pictures() -> None:
    shaped = render({**PVC, **KEYS, **TLS, **SCHEDULED, "validation": {"claimName": "labelled"}})
    spec = job(shaped)["template"]["spec"]
    assert [each["name"] for each in spec["volumes"]] == ["run"]
    assert [each["name"] for each in asker(shaped)["volumeMounts"]] == ["run"]
    assert flags(asker(shaped)).keys() == {"url", "allow-inconclusive"}
    assert "KEY" not in str(asker(shaped))
    assert spec["automountServiceAccountToken"] is False


def test_the_network_policy_admits_it_to_the_metrics() -> None:
    shaped = render({**EVERYTHING, **SCHEDULED})
    rules = shaped.manifest("NetworkPolicy")["spec"]["ingress"]
    labels = job(shaped)["template"]["metadata"]["labels"]
    ports = [
        port["port"]
        for rule in rules
        for peer in rule["from"]
        if "namespaceSelector" not in peer
        and selects(peer.get("podSelector", {}).get("matchLabels", {"no": "body"}), labels)
        for port in rule["ports"]
    ]
    assert 8082 in ports


def test_a_cronjobs_name_has_at_most_52_characters() -> None:
    values = {**SCHEDULED, "validation": {"schedule": "17 4 * * *"}}
    for manifest in render(values, release="a" * 53).kind("CronJob"):
        assert len(manifest["metadata"]["name"]) <= 52


def test_the_workers_record_where_it_is_wanted_and_the_gateway_does_not() -> None:
    shaped = render(RECORDED)
    assert {"name": "CATSDOGS_RECORDS", "value": "/records"} in shaped.torchserve["env"]
    assert {"name": "records", "mountPath": "/records"} in shaped.torchserve["volumeMounts"]
    assert "records" not in str(shaped.gateway)
    assert volume(shaped)["emptyDir"] == {"sizeLimit": "256Mi"}


def test_records_may_outlive_the_pods_on_a_claim() -> None:
    shaped = render({"records": {"enabled": True, "claimName": "kept"}})
    assert volume(shaped)["persistentVolumeClaim"] == {"claimName": "kept"}
    assert "records.enabled is false" in refusal({"records": {"claimName": "kept"}})


def test_the_notes_say_what_fails_and_what_a_claim_must_be() -> None:
    text = notes({**SCHEDULED, "records": {"enabled": True, "claimName": "kept"}})
    assert "the CronJob catsdogs-drift fails if users' pictures differ from the model's reference" in text
    assert "records.claimName is kept: pods on several nodes must be able to mount it" in text
    assert "drift" not in notes()
