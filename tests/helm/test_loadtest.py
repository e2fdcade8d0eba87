"""A Job that puts the Service under load: whom it asks, where it runs, its pods, and where its verdict is."""

import re
import subprocess
from pathlib import Path

import click
import pytest
import yaml

import catsdogs
from tests.helm.support import (
    CPU,
    EVERYTHING,
    KEYS,
    NEWEST,
    TLS,
    Object,
    Rendered,
    environment,
    named,
    render,
    selects,
)
from tests.helm.test_notes import notes

SLO = {
    "service": "catsdogs",
    "objectives": {"latency": {"rest": {"threshold": "10s", "objective": 0.95}}},
    "gates": {"nightly": {"shape": "soak", "rate": 5, "duration": "8h"}},
}
ITEMS = [{"key": "one.jpg", "path": "cat/one.jpg"}, {"key": "two.jpg", "path": "dog/two.jpg"}]
# What `loadtest` may be.
SHAPES: dict[str, Object] = {
    "one pod": {"enabled": True},
    "processes": {"enabled": True, "processes": 4},
    "several pods": {"enabled": True, "pods": 3},
    "helm test": {"enabled": True, "hook": True},
    "helm test of several pods": {"enabled": True, "hook": True, "pods": 2},
    "own objectives": {"enabled": True, "gate": "nightly", "slo": SLO},
    "a claim": {"enabled": True, "pictures": {"claimName": "labelled", "path": "2026-06"}},
    "a ConfigMap": {"enabled": True, "pods": 2, "pictures": {"configMapName": "few", "items": ITEMS}},
}
every_shape = pytest.mark.parametrize("shape", SHAPES)


def shaped(values: Object | None = None, *files: Path, **options: str) -> Rendered:
    """Render the chart with a load test of these values."""
    return render({"loadtest": {"enabled": True, **(values or {})}}, *files, **options)  # type: ignore[arg-type]


def job(rendered: Rendered) -> Object:
    spec: Object = rendered.manifest("Job")["spec"]
    return spec


def pod(rendered: Rendered) -> Object:
    spec: Object = job(rendered)["template"]["spec"]
    return spec


def labels(rendered: Rendered) -> dict[str, str]:
    pod_labels: dict[str, str] = job(rendered)["template"]["metadata"]["labels"]
    return pod_labels


def container(rendered: Rendered) -> Object:
    (load,) = pod(rendered)["containers"]
    return dict(load)


def arguments(rendered: Rendered) -> list[str]:
    """Return the arguments of `catsdogs loadtest` in the pod's command."""
    command: list[str] = container(rendered)["command"]
    return command[command.index("loadtest") + 1 :]


def options(rendered: Rendered) -> dict[str, str]:
    parts = (word.removeprefix("--").partition("=") for word in arguments(rendered)[1:])
    return {name: value for name, _, value in parts}


def test_by_default_there_is_none_and_nothing_else_is_otherwise() -> None:
    assert not render(EVERYTHING).kind("Job")
    with_it = render({**EVERYTHING, "loadtest": {"enabled": True}}).objects
    added = [manifest for manifest in with_it if manifest not in render(EVERYTHING).objects]
    # The server's NetworkPolicy admits it.
    assert [manifest["kind"] for manifest in added] == ["NetworkPolicy", "NetworkPolicy", "Job"]


def test_it_asks_the_service_by_both_protocols() -> None:
    rendered = render({"loadtest": {"enabled": True}, "service": {"ports": {"http": 80, "grpc": 81}}}, release="pets")
    assert arguments(rendered)[0] == "quick"
    assert options(rendered)["url"] == "http://pets-catsdogs:80"
    assert options(rendered)["grpc"] == "pets-catsdogs:81"


@pytest.mark.parametrize(
    ("values", "read"),
    [
        ({"replicas": 1}, True),
        ({"replicas": 2}, False),
        ({"replicas": 1, "autoscaling": {"type": "hpa", "metric": "requests"}}, False),
        ({"replicas": 1, "canary": {"enabled": True, "image": {"tag": "next"}}}, False),
    ],
    ids=["one", "two", "autoscaled", "canary"],
)
def test_metrics_are_read_where_they_are_of_all_pods_since_there_is_one(values: Object, read: bool) -> None:
    rendered = render({"loadtest": {"enabled": True}, **values})
    expected = "http://catsdogs-metrics:8082/metrics" if read else None
    assert options(rendered).get("metrics") == expected


def test_its_image_is_named_like_the_others() -> None:
    assert container(shaped())["image"] == "catsdogs-serve:0.2.0-load"
    values = {"image": {"repository": "registry.example/cats", "tag": "mine", "pullPolicy": "Always"}}
    rendered = render({"loadtest": {"enabled": True}, **values})
    assert container(rendered)["image"] == "registry.example/cats:0.2.0-load"
    assert container(rendered)["imagePullPolicy"] == "Always"


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ({"tag": "mine"}, "catsdogs-serve:mine"),
        ({"repository": "registry.example/load", "tag": "1"}, "registry.example/load:1"),
        ({"tag": "1", "digest": f"sha256:{'0' * 64}"}, f"catsdogs-serve@sha256:{'0' * 64}"),
    ],
    ids=["tag", "repository", "digest"],
)
def test_its_image_can_be_another(image: Object, name: str) -> None:
    assert container(shaped({"image": image}))["image"] == name


@pytest.mark.parametrize("values", [{}, EVERYTHING, {**TLS, **KEYS}], ids=["plain", "everything", "TLS and keys"])
def test_it_believes_and_is_let_in_as_helm_test_is(values: Object) -> None:
    rendered = render({**values, "loadtest": {"enabled": True}})
    (test,) = rendered.check["spec"]["containers"]
    for what in ("env", "securityContext", "imagePullPolicy"):
        assert container(rendered).get(what) == test.get(what)
    for what in ("serviceAccountName", "imagePullSecrets", "securityContext"):
        assert pod(rendered).get(what) == rendered.check["spec"].get(what)
    trust = ("--ca", "--server-name", "--url", "--grpc")
    ours, tests = (
        [word for word in command if word.startswith(trust)] for command in (arguments(rendered), test["command"])
    )
    assert sorted(ours) == sorted(tests)
    volumes = [
        [volume for volume in spec["volumes"] if volume["name"] == "tls"]
        for spec in (pod(rendered), rendered.check["spec"])
    ]
    assert volumes[0] == volumes[1]


def test_the_key_is_a_file_of_the_secret_and_stands_in_no_command() -> None:
    rendered = render({**KEYS, "loadtest": {"enabled": True}})
    assert environment(container(rendered))["CATSDOGS_KEY_FILE"] == "/keys/keys"
    assert {"name": "keys", "mountPath": "/keys", "readOnly": True} in container(rendered)["volumeMounts"]
    assert named(pod(rendered)["volumes"], "keys") == named(rendered.pod["volumes"], "keys")
    assert "CATSDOGS_KEY_FILE" not in environment(container(shaped()))


def test_of_the_certificates_secret_it_sees_the_authority_alone() -> None:
    (tls,) = [
        volume for volume in pod(render({**TLS, "loadtest": {"enabled": True}}))["volumes"] if volume["name"] == "tls"
    ]
    assert tls["secret"]["items"] == [{"key": "ca.crt", "path": "ca.crt"}]


def test_a_public_authority_needs_no_file() -> None:
    tls = {"existingSecret": "our-tls", "verify": "system", "serverName": "cats.example.org"}
    rendered = render({"gateway": {"tls": tls}, "loadtest": {"enabled": True}})
    assert options(rendered)["server-name"] == "cats.example.org"
    assert "ca" not in options(rendered)
    assert [volume["name"] for volume in pod(rendered)["volumes"]] == ["run"]


@every_shape
def test_its_command_is_one_that_catsdogs_has(shape: str) -> None:
    command = catsdogs.cli.get_command(click.Context(catsdogs.cli), "loadtest")
    assert command is not None
    rendered = render({**TLS, "replicas": 1, "loadtest": SHAPES[shape]})
    # Files are those of the pod.
    own = [word for word in arguments(rendered) if not word.startswith(("--ca=", "--slo=", "--pictures="))]
    command.make_context("loadtest", own)


# What a pod does


def test_what_is_written_lies_in_the_one_folder_that_can_be_written_to() -> None:
    rendered = shaped()
    assert options(rendered)["out"].startswith("/run/catsdogs/")
    assert {"name": "run", "mountPath": "/run/catsdogs"} in container(rendered)["volumeMounts"]
    assert named(pod(rendered)["volumes"], "run")["emptyDir"] == {"sizeLimit": "256Mi"}
    assert container(rendered)["securityContext"]["readOnlyRootFilesystem"] is True


def test_the_summary_is_printed_since_the_folder_goes_with_the_pod() -> None:
    assert "--print-summary" in arguments(shaped())


def test_objectives_are_those_of_the_image_unless_there_are_others() -> None:
    assert "slo" not in options(shaped())
    assert not shaped().kind("ConfigMap")
    rendered = shaped({"slo": SLO, "gate": "nightly"})
    assert arguments(rendered)[0] == "nightly"
    config = rendered.manifest("ConfigMap")
    assert yaml.safe_load(config["data"]["slo.yaml"]) == SLO
    assert named(pod(rendered)["volumes"], "slo")["configMap"] == {"name": config["metadata"]["name"]}
    (mount,) = [mount for mount in container(rendered)["volumeMounts"] if mount["name"] == "slo"]
    assert options(rendered)["slo"] == f"{mount['mountPath']}/slo.yaml"


def test_a_profile_is_named_but_for_objectives_of_one_s_own() -> None:
    load = {"enabled": True}
    assert options(render({"loadtest": load, "sloProfile": "shared"}))["slo-profile"] == "shared"
    assert "slo-profile" not in options(render({"loadtest": load}))
    assert "slo-profile" not in options(
        render({"loadtest": {**load, "slo": SLO, "gate": "nightly"}, "sloProfile": "shared"})
    )


def test_pictures_are_those_of_the_image_unless_there_are_others() -> None:
    assert "pictures" not in options(shaped())
    rendered = shaped(SHAPES["a claim"])
    assert options(rendered)["pictures"] == "/pictures/2026-06"
    assert named(pod(rendered)["volumes"], "pictures")["persistentVolumeClaim"] == {
        "claimName": "labelled",
        "readOnly": True,
    }
    assert {"name": "pictures", "mountPath": "/pictures", "readOnly": True} in container(rendered)["volumeMounts"]


def test_pictures_of_the_validation_are_sent_where_there_are_no_others() -> None:
    validation = {"claimName": "known", "path": "of-us"}
    rendered = render({"loadtest": {"enabled": True}, "validation": validation})
    assert options(rendered)["pictures"] == "/pictures/of-us"
    assert named(pod(rendered)["volumes"], "pictures")["persistentVolumeClaim"]["claimName"] == "known"
    others = render({"loadtest": SHAPES["a claim"], "validation": validation})
    assert named(pod(others)["volumes"], "pictures")["persistentVolumeClaim"]["claimName"] == "labelled"


def test_it_asks_for_the_model_by_its_name() -> None:
    rendered = render({"loadtest": {"enabled": True}, "model": {"name": "flowers"}})
    assert options(rendered)["model"] == "flowers"


def test_pictures_of_a_config_map_are_files_in_folders_of_their_class() -> None:
    rendered = shaped(SHAPES["a ConfigMap"])
    assert options(rendered)["pictures"] == "/pictures"
    mounts = {
        mount["mountPath"]: mount["subPath"] for mount in container(rendered)["volumeMounts"] if "subPath" in mount
    }
    assert mounts == {"/pictures/cat/one.jpg": "one.jpg", "/pictures/dog/two.jpg": "two.jpg"}
    assert named(pod(rendered)["volumes"], "pictures")["configMap"] == {"name": "few"}


def test_it_waits_for_as_long_as_a_rollout_may_take_unless_it_is_told_otherwise() -> None:
    rendered = shaped()
    assert int(options(rendered)["wait"]) == rendered.deployment["progressDeadlineSeconds"]
    assert options(shaped({"waitSeconds": 30}))["wait"] == "30"


def test_processes_are_told_only_where_there_are_several() -> None:
    assert options(shaped({"processes": 4}))["processes"] == "4"
    assert "processes" not in options(shaped())


# The Job


@every_shape
def test_a_verdict_is_final_and_stands_in_the_jobs_status(shape: str) -> None:
    spec = job(shaped(SHAPES[shape]))
    assert spec["backoffLimit"] == 0
    assert spec["template"]["spec"]["restartPolicy"] == "Never"
    verdict = {"containerName": "load", "operator": "In", "values": [2, 10, 11, 12, 13]}
    assert spec["podFailurePolicy"]["rules"][0] == {"action": "FailJob", "onExitCodes": verdict}
    assert container(shaped(SHAPES[shape]))["name"] == "load"


def test_a_lost_node_is_no_verdict_on_one_pod_and_ends_several() -> None:
    lost = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    assert lost in job(shaped())["podFailurePolicy"]["rules"]
    assert lost not in job(shaped({"pods": 2}))["podFailurePolicy"]["rules"]


def test_it_ends_in_time_and_is_removed() -> None:
    spec = job(shaped({"activeDeadlineSeconds": 3600, "ttlSecondsAfterFinished": 600}))
    assert (spec["activeDeadlineSeconds"], spec["ttlSecondsAfterFinished"]) == (3600, 600)


def name(rendered: Rendered) -> str:
    return str(rendered.manifest("Job")["metadata"]["name"])


def test_one_that_does_the_same_has_the_same_name() -> None:
    assert re.fullmatch(r"catsdogs-load-[0-9a-f]{10}", name(shaped()))
    assert "annotations" not in shaped().manifest("Job")["metadata"]
    assert name(render({"loadtest": {"enabled": True}, "service": {"annotations": {"a": "b"}}})) == name(shaped())


@pytest.mark.parametrize(
    "values",
    [
        {"loadtest": {"enabled": True, "gate": "full"}},
        {"loadtest": {"enabled": True, "slo": {**SLO, "gates": {"quick": {"rate": 6}}}}},
        {"loadtest": {"enabled": True, "activeDeadlineSeconds": 7000}},
        {"loadtest": {"enabled": True}, "image": {"tag": "next"}},
        {"loadtest": {"enabled": True}, "torchserve": {"workers": 3}},
        {"loadtest": {"enabled": True}, "canary": {"enabled": True, "image": {"tag": "next"}}},
        {"loadtest": {"enabled": True}, "commonLabels": {"team": "pets"}},
    ],
    ids=["gate", "objectives", "deadline", "servers", "workers", "canary", "labels"],
)
def test_a_job_cannot_be_changed_so_another_one_has_another_name(values: Object) -> None:
    assert name(render(values)) != name(shaped())


def test_what_belongs_to_it_has_its_name() -> None:
    rendered = shaped({"pods": 2, "slo": SLO, "gate": "nightly"})
    assert rendered.manifest("ConfigMap")["metadata"]["name"] == pod(rendered)["subdomain"] == name(rendered)


@pytest.mark.parametrize("pods", [1, 2])
def test_as_a_hook_it_is_left_to_helm_test_and_kept_to_be_read(pods: int) -> None:
    rendered = render({"loadtest": {"enabled": True, "hook": True, "pods": pods}, "commonAnnotations": {"a": "b"}})
    metadata = rendered.manifest("Job")["metadata"]
    assert metadata["name"] == "catsdogs-load"
    assert metadata["annotations"] == {
        "helm.sh/hook": "test",
        "helm.sh/hook-weight": "1",
        "helm.sh/hook-delete-policy": "before-hook-creation",
        "helm.sh/hook-output-log-policy": "hook-succeeded,hook-failed",
        "a": "b",
    }


def test_what_a_hook_needs_is_there_before_helm_test() -> None:
    rendered = shaped({"hook": True, "pods": 2, "slo": SLO, "gate": "nightly"})
    for kind, ending in (("ConfigMap", ""), ("Service", "-load")):
        assert "annotations" not in rendered.manifest(kind, ending)["metadata"]


def test_but_for_its_name_the_test_is_the_same_as_a_hook() -> None:
    plain, hook = job(shaped()), job(shaped({"hook": True}))
    assert plain == hook


@every_shape
def test_no_sidecar_keeps_it_from_ending(shape: str) -> None:
    assert labels(shaped(SHAPES[shape]))["sidecar.istio.io/inject"] == "false"


@every_shape
def test_it_is_sent_no_requests(shape: str) -> None:
    rendered = shaped(SHAPES[shape])
    for service in rendered.kind("Service"):
        if service["spec"].get("clusterIP") != "None":
            assert not selects(service["spec"]["selector"], labels(rendered))


@pytest.mark.parametrize("pods", [1, 100])
@pytest.mark.parametrize("hook", [False, True])
def test_its_names_do_not_grow_too_long(pods: int, hook: bool) -> None:
    rendered = shaped({"pods": pods, "hook": hook}, CPU, release="a" * 53)
    job_name = name(rendered)
    # As host name of its last pod.
    assert len(f"{job_name}-{pods - 1}") <= 63


# Several pods


def test_one_pod_is_a_job_like_any_other() -> None:
    rendered = shaped()
    assert "completions" not in job(rendered)
    assert container(rendered)["command"][:3] == ["catsdogs", "loadtest", "quick"]
    assert "subdomain" not in pod(rendered)
    assert not [service for service in rendered.kind("Service") if service["spec"].get("clusterIP") == "None"]


@pytest.mark.parametrize("hook", [False, True])
def test_several_pods_find_the_first_one_by_its_name_before_it_is_ready(hook: bool) -> None:
    rendered = shaped({"pods": 3, "hook": hook})
    (service,) = [service for service in rendered.kind("Service") if service["spec"].get("clusterIP") == "None"]
    job_name = name(rendered)
    assert job(rendered)["completionMode"] == "Indexed"
    assert job(rendered)["completions"] == job(rendered)["parallelism"] == 3
    assert pod(rendered)["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["publishNotReadyAddresses"] is True
    # Kubernetes adds the Job's label to the pods itself.
    assert selects(service["spec"]["selector"], {**labels(rendered), "batch.kubernetes.io/job-name": job_name})
    assert service["spec"]["selector"]["batch.kubernetes.io/job-name"] == job_name
    assert [port["port"] for port in service["spec"]["ports"]] == [5557]
    assert container(rendered)["ports"] == [{"name": "meeting", "containerPort": 5557}]


def started(index: int, folder: Path) -> list[str]:
    """Run the command of the pod with this index in a shell, and return the arguments that `catsdogs` gets."""
    folder.mkdir(exist_ok=True)
    for name, script in {"catsdogs": 'printf "%s\\n" "$@"', "getent": 'echo "asked for $2" >&2'}.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    command = container(shaped({"pods": 3}))["command"]
    variables = {"PATH": f"{folder}:/usr/bin:/bin", "JOB_COMPLETION_INDEX": str(index)}
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_first_pod_judges_and_knows_how_many_others_there_are(tmp_path: Path) -> None:
    verb, *rest = started(0, tmp_path)
    assert verb == "loadtest"
    assert rest == [*arguments(shaped({"pods": 3})), "--master", "--expect-workers=2"]


@pytest.mark.parametrize("index", [1, 2])
def test_the_others_send_what_it_tells_them(index: int, tmp_path: Path) -> None:
    verb, *rest = started(index, tmp_path)
    assert verb == "loadtest"
    job = name(shaped({"pods": 3}))
    host = f"--master-host={job}-0.{job}"
    assert rest == [*arguments(shaped({"pods": 3})), "--worker", host]


def test_where_the_first_pod_passed_no_other_can_fail_the_test_if_kubernetes_knows_how() -> None:
    rules = {"rules": [{"succeededIndexes": "0"}]}
    assert job(shaped({"pods": 2}, kubernetes=NEWEST))["successPolicy"] == rules
    assert "successPolicy" not in job(shaped({"pods": 2}))
    assert "successPolicy" not in job(shaped(kubernetes=NEWEST))


# Where it runs


def test_it_keeps_away_from_the_servers_where_it_can() -> None:
    rendered = shaped()
    ours = pod(rendered)["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    first, second = ours
    assert first["weight"] > second["weight"]
    for term, whom in ((first, rendered.template["metadata"]["labels"]), (second, labels(rendered))):
        assert term["podAffinityTerm"]["topologyKey"] == "kubernetes.io/hostname"
        assert selects(term["podAffinityTerm"]["labelSelector"]["matchLabels"], whom)


def test_it_goes_neither_where_the_servers_are_told_to_go_nor_to_gpus() -> None:
    rendered = render({**EVERYTHING, "loadtest": {"enabled": True}})
    assert "nodeSelector" not in pod(rendered)
    assert "tolerations" not in pod(rendered)
    assert "nvidia.com/gpu" not in str(container(rendered)["resources"])


def test_where_it_goes_can_be_chosen() -> None:
    own: Object = {
        "nodeSelector": {"pool": "tests"},
        "tolerations": [{"key": "spot", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "resources": {"requests": {"cpu": "2"}},
    }
    rendered = shaped(own)
    for name in ("nodeSelector", "tolerations", "affinity"):
        assert pod(rendered)[name] == own[name]
    assert container(rendered)["resources"]["requests"] == {"cpu": "2", "memory": "512Mi"}


def test_no_limit_on_cpus_makes_it_send_late() -> None:
    assert "cpu" not in container(shaped())["resources"]["limits"]


# NetworkPolicy


def policies(pods: int = 1) -> tuple[Rendered, Object, Object]:
    """Return the rendered chart, the policy of the servers, and that of the load test."""
    rendered = render(
        {"networkPolicy": {"enabled": True, "from": [{"podSelector": {}}]}, "loadtest": {"enabled": True, "pods": pods}}
    )
    servers, own = (
        next(
            policy["spec"]
            for policy in rendered.kind("NetworkPolicy")
            if selects(policy["spec"]["podSelector"]["matchLabels"], whom)
        )
        for whom in (rendered.template["metadata"]["labels"], labels(rendered))
    )
    return rendered, servers, own


def peers(rules: list[Object], side: str, port: int) -> list[dict[str, str]]:
    """The labels of those who may connect to a port, or be connected to at it, beside everybody."""
    listed = [peer for rule in rules if {"port": port} in rule["ports"] for peer in rule.get(side, [])]
    return [peer["podSelector"]["matchLabels"] for peer in listed if peer["podSelector"]]


def test_without_a_policy_of_the_chart_it_has_none() -> None:
    assert not shaped({"pods": 2}).kind("NetworkPolicy")


@pytest.mark.parametrize("port", [8080, 7070, 8082])
def test_it_may_ask_the_servers_and_they_let_it(port: int) -> None:
    rendered, servers, own = policies()
    assert [peer for peer in peers(servers["ingress"], "from", port) if selects(peer, labels(rendered))]
    (whom,) = peers(own["egress"], "to", port)
    assert selects(whom, rendered.template["metadata"]["labels"])


def test_of_several_pods_the_others_may_connect_to_the_first_one_and_nobody_else() -> None:
    rendered, _, own = policies(pods=2)
    (rule,) = own["ingress"]
    assert rule["ports"] == [{"port": 5557}]
    for whom in (*peers(own["ingress"], "from", 5557), *peers(own["egress"], "to", 5557)):
        assert selects(whom, labels(rendered))
        assert not selects(whom, rendered.template["metadata"]["labels"])
    assert len(peers(own["egress"], "to", 5557)) == 1


def test_nobody_may_connect_to_a_single_pod() -> None:
    _, _, own = policies()
    assert own["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in own
    assert peers(own["egress"], "to", 5557) == []


def test_it_may_ask_for_names() -> None:
    _, _, own = policies()
    assert {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]} in own["egress"]


# Notes


def test_the_notes_say_how_to_see_the_verdict_and_the_summary() -> None:
    text, job = notes({"loadtest": {"enabled": True}}), name(shaped())
    assert f"kubectl --namespace default wait --for=condition=complete --timeout=7200s job/{job}" in text
    assert f"kubectl --namespace default get job {job}" in text
    assert f"logs --selector batch.kubernetes.io/job-name={job} --tail=-1 | sed" in text
    assert "puts it under load" in text
    assert "loadtest" not in notes()
    assert "summary.json" not in notes()


def test_the_notes_of_a_hook_say_how_it_is_run_alone() -> None:
    text = notes({"loadtest": {"enabled": True, "hook": True, "activeDeadlineSeconds": 900}})
    assert "helm --namespace default test catsdogs --filter name=catsdogs-load --timeout 900s" in text
    assert "`helm test` puts this release under load" in text


def test_of_several_pods_the_notes_read_the_first_ones_log() -> None:
    assert ",batch.kubernetes.io/job-completion-index=0" in notes({"loadtest": {"enabled": True, "pods": 2}})


def test_the_notes_command_takes_the_summary_out_of_a_log(tmp_path: Path) -> None:
    (line,) = [
        line for line in notes({"loadtest": {"enabled": True}}).splitlines() if "summary.json" in line and "sed" in line
    ]
    log = "PASS\n-----BEGIN CATSDOGS SUMMARY-----\n{\n}\n-----END CATSDOGS SUMMARY-----\nbye\n"
    command = line.partition("| ")[2].partition(" > ")[0]
    done = subprocess.run(["sh", "-c", command], input=log, capture_output=True, text=True, check=True)
    assert done.stdout == "{\n}\n"
