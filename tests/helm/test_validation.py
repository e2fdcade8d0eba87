"""A Job that judges the pods of an upgrade, and them alone: whom it asks, about what, and how long."""

import click
import pytest

import catsdogs
from tests.helm.support import CPU, EVERYTHING, HTTP, KEYS, PVC, TLS, Object, Rendered, flags, refusal, render, selects
from tests.helm.test_notes import notes

ON = {"validation": {"enabled": True}}


def job(shaped: Rendered) -> Object:
    spec: Object = shaped.manifest("Job")["spec"]
    return spec


def container(shaped: Rendered) -> Object:
    (validation,) = job(shaped)["template"]["spec"]["containers"]
    return dict(validation)


def protocols(shaped: Rendered) -> Object:
    """Return the container that asks by each protocol, before the accuracy is judged."""
    (check,) = job(shaped)["template"]["spec"]["initContainers"]
    return dict(check)


def service(shaped: Rendered) -> Object:
    (hook,) = [candidate for candidate in shaped.kind("Service") if "annotations" in candidate["metadata"]]
    return hook


def labels(shaped: Rendered) -> dict[str, str]:
    pod_labels: dict[str, str] = shaped.template["metadata"]["labels"]
    return pod_labels


def test_by_default_there_is_none() -> None:
    shaped = render()
    assert not shaped.kind("Job")
    assert len(shaped.kind("Service")) == 2
    assert "pod-revision" not in labels(shaped)


def test_helm_runs_it_after_each_install_and_upgrade_and_keeps_what_failed() -> None:
    annotations = render(ON).manifest("Job")["metadata"]["annotations"]
    assert annotations["helm.sh/hook"] == "post-install,post-upgrade"
    assert annotations["helm.sh/hook-delete-policy"] == "before-hook-creation,hook-succeeded"
    assert annotations["helm.sh/hook-output-log-policy"] == "hook-failed"


def test_its_service_is_there_before_it_and_goes_with_it() -> None:
    shaped = render(ON)
    first, then = service(shaped)["metadata"]["annotations"], shaped.manifest("Job")["metadata"]["annotations"]
    assert first["helm.sh/hook"] == then["helm.sh/hook"]
    assert int(first["helm.sh/hook-weight"]) < int(then["helm.sh/hook-weight"])
    assert "hook-succeeded" in first["helm.sh/hook-delete-policy"]


@pytest.mark.parametrize(
    "other",
    [
        {"image": {"tag": "next"}},
        {"model": {"sha256": "0" * 64}},
        {"extraEnv": [{"name": "A", "value": "b"}]},
        {"gateway": {"drainSeconds": 11}},
    ],
    ids=["image", "model", "environment", "gateway"],
)
def test_it_finds_the_pods_of_its_own_upgrade_and_none_that_run_something_else(other: Object) -> None:
    before, after = render(ON), render({**ON, **other})
    selector = service(after)["spec"]["selector"]
    assert selects(selector, labels(after))
    assert not selects(selector, labels(before))
    # Under a name of its own, so that no address and no endpoint of the last one's is remembered.
    assert service(after)["metadata"]["name"] != service(before)["metadata"]["name"]


@pytest.mark.parametrize(
    "same", [{"replicas": 5}, {"podLabels": {"cost": "inference"}}, {"service": {"type": "NodePort"}}]
)
def test_pods_that_run_the_same_are_of_one_revision(same: Object) -> None:
    assert labels(render({**ON, **same}))["pod-revision"] == labels(render(ON))["pod-revision"]


def test_it_neither_asks_the_canary_nor_is_sent_requests() -> None:
    shaped = render({**ON, "canary": {"enabled": True, "image": {"tag": "next"}}})
    canary = shaped.manifest("Deployment", "-canary")["spec"]["template"]["metadata"]["labels"]
    assert not selects(service(shaped)["spec"]["selector"], canary)
    for manifest in shaped.kind("Service"):
        assert not selects(manifest["spec"]["selector"], job(shaped)["template"]["metadata"]["labels"])


def test_it_asks_that_service_by_both_protocols() -> None:
    shaped = render({**ON, "service": {"ports": {"http": 80, "grpc": 81}}})
    host = service(shaped)["metadata"]["name"]
    assert host.startswith("catsdogs-")
    options = flags(protocols(shaped))
    assert (options["url"], options["grpc"]) == (f"http://{host}:80", f"{host}:81")
    assert flags(container(shaped))["url"] == f"http://{host}:80"
    ports = service(shaped)["spec"]["ports"]
    assert [(port["port"], port["targetPort"]) for port in ports] == [(80, "http"), (81, "grpc")]


@pytest.mark.parametrize("values", [{}, EVERYTHING, {**TLS, **KEYS}], ids=["plain", "everything", "TLS and keys"])
def test_it_believes_and_is_let_in_as_helm_test_is(values: Object) -> None:
    shaped = render({**values, **ON})
    (test,) = shaped.check["spec"]["containers"]
    own = {"url", "grpc", "metrics", "wait", "min-accuracy"}
    for asker in (container(shaped), protocols(shaped)):
        for what in ("env", "image", "volumeMounts", "securityContext"):
            assert asker.get(what) == test.get(what)
        ours, tests = flags(asker), flags(test)
        assert {name: ours[name] for name in ours.keys() - own} == {name: tests[name] for name in tests.keys() - own}
    policy = shaped.kind("NetworkPolicy")
    for rule in [rule for manifest in policy for rule in manifest["spec"]["ingress"] if "test" in str(rule["from"])]:
        admitted = rule["from"][0]["podSelector"]["matchLabels"]
        assert selects(admitted, job(shaped)["template"]["metadata"]["labels"])


def understood(asker: Object) -> str:
    """Require that catsdogs has the command of a container, and return its verb."""
    program, verb, *arguments = asker["command"]
    assert program == "catsdogs"
    command = catsdogs.cli.get_command(click.Context(catsdogs.cli), verb)
    assert command is not None
    command.make_context(verb, list(arguments))
    return str(verb)


def test_its_commands_are_those_that_catsdogs_has() -> None:
    shaped = render({"validation": {"enabled": True, "claimName": "labelled"}, **TLS})
    assert [understood(protocols(shaped)), understood(container(shaped))] == ["check", "validate"]


@pytest.mark.parametrize("values", [{}, {"claimName": "labelled"}], ids=["image", "volume"])
def test_of_the_protocols_no_label_need_be_right_and_the_accuracy_is_judged_alone(values: Object) -> None:
    shaped = render({"validation": {"enabled": True, **values}})
    assert [word for word in protocols(shaped)["command"] if word.startswith("--min-accuracy")] == ["--min-accuracy=0"]
    assert flags(container(shaped))["min-accuracy"] == "0.85"


def test_helm_test_judges_the_accuracy_of_stable_too() -> None:
    canary = {"enabled": True, "image": {"tag": "next"}}
    for more, host in (({}, "catsdogs"), ({"canary": canary}, "catsdogs-stable")):
        shaped = render({**ON, **more})
        (asker,) = shaped.manifest("Pod", "-validate")["spec"]["containers"]
        assert understood(asker) == "validate"
        assert flags(asker)["url"] == f"http://{host}:8080"
        assert host in {manifest["metadata"]["name"] for manifest in shaped.kind("Service")}
    assert [pod["metadata"]["name"] for pod in render().kind("Pod")] == ["catsdogs-test"]


def test_a_schedule_makes_a_cronjob_that_asks_stable_alone() -> None:
    canary = {"enabled": True, "image": {"tag": "next"}}
    shaped = render({"validation": {"schedule": "17 4 * * *", "seconds": 77}, "canary": canary})
    spec = shaped.manifest("CronJob")["spec"]
    assert (spec["schedule"], spec["timeZone"], spec["concurrencyPolicy"]) == ("17 4 * * *", "Etc/UTC", "Forbid")
    made = spec["jobTemplate"]["spec"]
    assert (made["backoffLimit"], made["activeDeadlineSeconds"]) == (0, 677)
    (asker,) = made["template"]["spec"]["containers"]
    assert understood(asker) == "validate"
    assert flags(asker)["url"] == "http://catsdogs-stable:8080"
    for manifest in shaped.kind("Service"):
        assert not selects(manifest["spec"]["selector"], made["template"]["metadata"]["labels"])
    assert not render(ON).kind("CronJob")


@pytest.mark.parametrize("share", [0.5, 0.875, "0.875"])
def test_the_least_accuracy_is_the_users(share: float | str) -> None:
    """Text too: what `--set` gives for 0.875."""
    shaped = render({"validation": {"enabled": True, "leastAccuracy": share}})
    assert flags(container(shaped))["min-accuracy"] == str(share)


@pytest.mark.parametrize("share", [-0.1, 0, 1, 1.1, 90, "0", "0.0", "1", "90", "most", ""])
def test_what_is_no_share_is_refused(share: float | str) -> None:
    assert "/validation/leastAccuracy" in refusal({"validation": {"enabled": True, "leastAccuracy": share}})


def test_the_pictures_are_the_images_own_or_a_folder_of_it_or_of_a_volume() -> None:
    assert "pictures" not in flags(container(render(ON)))
    folder = {"validation": {"enabled": True, "path": "/opt/pictures"}}
    assert flags(container(render(folder)))["pictures"] == "/opt/pictures"
    shaped = render({"validation": {"enabled": True, "claimName": "labelled", "path": "2026-06"}})
    assert flags(container(shaped))["pictures"] == "/pictures/2026-06"
    (volume,) = [volume for volume in job(shaped)["template"]["spec"]["volumes"] if volume["name"] == "pictures"]
    assert volume["persistentVolumeClaim"] == {"claimName": "labelled", "readOnly": True}
    assert {"name": "pictures", "mountPath": "/pictures", "readOnly": True} in container(shaped)["volumeMounts"]


@pytest.mark.parametrize("values", [{}, HTTP, {"startupSeconds": 3600}, {"progressDeadlineSeconds": 300}])
def test_it_waits_for_as_long_as_a_rollout_may_take_and_then_has_time_to_ask(values: Object) -> None:
    shaped = render({**values, "validation": {"enabled": True, "seconds": 77}})
    deadline = shaped.deployment["progressDeadlineSeconds"]
    assert int(flags(container(shaped))["wait"]) == deadline
    assert job(shaped)["activeDeadlineSeconds"] == deadline + 77


def test_a_verdict_is_final_but_a_lost_node_is_none() -> None:
    spec = job(render(ON))
    assert spec["backoffLimit"] == 0
    assert spec["template"]["spec"]["restartPolicy"] == "Never"
    assert spec["podFailurePolicy"] == {
        "rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]
    }


def test_its_names_do_not_grow_too_long() -> None:
    names = [manifest["metadata"]["name"] for manifest in render(ON, CPU, release="a" * 53).objects]
    assert max(map(len, names)) <= 63


@pytest.mark.parametrize("values", [{}, PVC], ids=["image", "volume"])
def test_but_for_their_label_the_pods_are_the_same(values: Object) -> None:
    assert render({**values, **ON}).pod == render(values).pod


def test_the_notes_say_what_fails_and_where_it_is_told() -> None:
    text = notes({"validation": {"enabled": True, "leastAccuracy": 0.8}})
    assert "an upgrade fails where the pictures do not show an accuracy of 0.8 of its new pods" in text
    assert "--atomic (Helm 4: --rollback-on-failure)" in text
    assert "kubectl --namespace default logs job/catsdogs-validation" in text
    assert "validation.enabled" not in notes()
