"""A Job that watches a canary beside stable after an upgrade, and the same as an analysis of Argo Rollouts."""

import pytest
import yaml

from k8s import render as manifests
from tests.helm.support import EVERYTHING, KEYS, TLS, Object, Rendered, flags, helm, refusal, render, selects
from tests.helm.test_notes import notes
from tests.helm.test_validation import understood
from tests.zoo import ROOT

ANALYSIS = ROOT / "k8s" / "analysis-template.yaml"


def watched(values: Object | None = None, **watch: object) -> Object:
    return {
        **(values or {}),
        "canary": {"enabled": True, "image": {"tag": "next"}, "watch": {"enabled": True, **watch}},
    }


def container(shaped: Rendered) -> Object:
    (canary,) = shaped.manifest("Job", "-watch")["spec"]["template"]["spec"]["containers"]
    return dict(canary)


def test_without_a_canary_or_when_off_there_is_none() -> None:
    assert not render({"canary": {"watch": {"enabled": True}}}).kind("Job")
    assert not render({"canary": {"enabled": True, "image": {"tag": "next"}}}).kind("Job")


def test_it_asks_each_track_by_a_service_of_its_own() -> None:
    shaped = render(watched())
    options = flags(container(shaped))
    for option, track in (("stable", "stable"), ("candidate", "canary")):
        assert options[option] == f"http://catsdogs-{track}:8080"
        assert shaped.manifest("Service", f"-{track}")["spec"]["selector"]["track"] == track


def test_helm_waits_for_its_verdict_and_keeps_one_that_failed() -> None:
    annotations = render(watched()).manifest("Job", "-watch")["metadata"]["annotations"]
    assert annotations["helm.sh/hook"] == "post-install,post-upgrade"
    assert annotations["helm.sh/hook-delete-policy"] == "before-hook-creation,hook-succeeded"


def test_it_has_the_time_that_it_needs() -> None:
    shaped = render(watched({"validation": {"seconds": 50}}, seconds=77, intervalSeconds=7))
    deadline = shaped.manifest("Deployment", "-canary")["spec"]["progressDeadlineSeconds"]
    options = flags(container(shaped))
    assert (options["wait"], options["duration"], options["interval"]) == (str(deadline), "77", "7")
    assert shaped.manifest("Job", "-watch")["spec"]["activeDeadlineSeconds"] == deadline + 77 + 50


def test_prometheus_is_asked_for_the_series_of_this_release() -> None:
    shaped = render(watched(prometheusUrl="http://p:9090"), release="pets", namespace="shop")
    options = flags(container(shaped))
    assert options["prometheus"] == "http://p:9090"
    assert options["selector"] == 'namespace="shop",job="pets"'
    own = render(watched(prometheusUrl="http://p:9090", selector='job="x"'))
    assert flags(container(own))["selector"] == 'job="x"'
    assert "prometheus" not in flags(container(render(watched())))


def test_its_objectives_are_those_of_the_load_test() -> None:
    slo = {"service": "pets", "objectives": {"latency": {"rest": {"threshold": "10s", "objective": 0.9}}}}
    shaped = render(watched({"loadtest": {"slo": slo}}))
    assert yaml.safe_load(shaped.manifest("ConfigMap", "-watch")["data"]["slo.yaml"]) == slo
    assert flags(container(shaped))["slo"] == "/etc/catsdogs/slo.yaml"
    (volume,) = [
        volume
        for volume in shaped.manifest("Job", "-watch")["spec"]["template"]["spec"]["volumes"]
        if volume["name"] == "slo"
    ]
    assert volume["configMap"] == {"name": "catsdogs-watch"}
    assert {"name": "slo", "mountPath": "/etc/catsdogs", "readOnly": True} in container(shaped)["volumeMounts"]
    assert not render(watched()).kind("ConfigMap")


@pytest.mark.parametrize("values", [{}, {**TLS, **KEYS}], ids=["plain", "TLS and keys"])
def test_its_command_is_one_that_catsdogs_has(values: Object) -> None:
    shaped = render(watched(values, prometheusUrl="http://p:9090", arguments=["--max-loss=0.01"]))
    assert understood(container(shaped)) == "canary"
    (test,) = shaped.check["spec"]["containers"]
    for what in ("env", "image", "volumeMounts", "securityContext"):
        assert container(shaped).get(what) == test.get(what)


def test_it_is_sent_no_requests_and_stable_stays_as_it_is() -> None:
    shaped = render(watched(EVERYTHING) | {"canary": {**watched()["canary"], "model": {"sha256": ""}}})
    for manifest in shaped.kind("Service"):
        labels = shaped.manifest("Job", "-watch")["spec"]["template"]["metadata"]["labels"]
        assert not selects(manifest["spec"]["selector"], labels)
    stable = render(EVERYTHING).manifest("Deployment")["spec"]["template"]
    assert shaped.manifest("Deployment", "catsdogs")["spec"]["template"] == stable


@pytest.mark.parametrize(
    ("watch", "sentence"),
    [
        ({"selector": 'job="x"'}, "canary.watch.prometheusUrl is empty"),
        ({"seconds": 10}, "canary.watch.intervalSeconds is longer than canary.watch.seconds"),
    ],
)
def test_what_could_not_work_is_refused(watch: Object, sentence: str) -> None:
    assert sentence in refusal(watched(**watch))


def test_the_notes_say_where_it_is_seen() -> None:
    assert "logs --follow job/catsdogs-watch" in notes(watched())


def test_the_analysis_is_the_job_of_the_chart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HELM", helm())
    assert manifests.analysis_template() == ANALYSIS.read_text(), "make chart"


def test_the_analysis_asks_the_services_of_the_rollout() -> None:
    spec = yaml.safe_load(ANALYSIS.read_text())["spec"]
    assert {argument["name"] for argument in spec["args"]} == {"stable", "candidate"}
    (metric,) = spec["metrics"]
    (asker,) = metric["provider"]["job"]["spec"]["template"]["spec"]["containers"]
    assert (flags(asker)["stable"], flags(asker)["candidate"]) == ("{{args.stable}}", "{{args.candidate}}")
    assert understood(asker) == "canary"
    assert metric["failureLimit"] == 0
