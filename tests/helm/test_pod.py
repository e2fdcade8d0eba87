"""The two containers: what they run, how they are asked, what they share."""

from pathlib import Path

import click
import pytest

import catsdogs
from handler.runtimes.choice import all_runtimes
from serving.server.settings import HEAP_MIB, QUEUE, choose_limits
from tests.helm.support import CPU, EVERYTHING, KEYS, PVC, SHA, Object, Rendered, environment, flags, named, render

SHAPES: dict[str, tuple[Object, tuple[Path, ...]]] = {
    "gpu": ({}, ()),
    "cpu": ({}, (CPU,)),
    "everything": (EVERYTHING, ()),
}


@pytest.fixture(params=SHAPES)
def shaped(request: pytest.FixtureRequest) -> Rendered:
    values, files = SHAPES[request.param]
    return render(values, *files)


def test_torchserve_starts_before_the_gateway_and_stops_after_it(shaped: Rendered) -> None:
    pod = shaped.pod
    assert [container["name"] for container in pod["initContainers"]] == ["torchserve"]
    assert shaped.torchserve["restartPolicy"] == "Always"
    assert [container["name"] for container in pod["containers"]] == ["gateway"]


def test_the_commands_are_ones_that_catsdogs_has(shaped: Rendered) -> None:
    for container in (
        shaped.torchserve,
        shaped.gateway,
        shaped.check["spec"]["containers"][0],
        *(shaped.torchserve[probe] | {"name": probe} for probe in ("startupProbe", "livenessProbe")),
    ):
        program, verb, *arguments = container.get("command") or container["exec"]["command"]
        assert program == "catsdogs"
        command = catsdogs.cli.get_command(click.Context(catsdogs.cli), verb)
        assert command is not None, f"there is no verb {verb}"
        command.make_context(verb, list(arguments), resilient_parsing=False)


def test_both_run_one_image_and_share_the_run_directory(shaped: Rendered) -> None:
    for container in (shaped.torchserve, shaped.gateway):
        assert container["image"] == shaped.check["spec"]["containers"][0]["image"]
        assert {"name": "run", "mountPath": "/run/catsdogs"} in container["volumeMounts"]
        assert flags(container)["run"] == "/run/catsdogs"
    (run,) = [volume for volume in shaped.pod["volumes"] if volume["name"] == "run"]
    assert run["emptyDir"] == {"medium": "Memory", "sizeLimit": "512Mi"}


def test_nothing_but_the_run_directories_can_be_written_to(shaped: Rendered) -> None:
    """The gateway has the shared one, and feedback's: in TorchServe's own it could exchange settings and the model."""
    feedback = {m["mountPath"] for m in shaped.gateway["volumeMounts"] if m["name"] == "feedback"}
    assert feedback <= {"/feedback"}
    for container, own in ((shaped.torchserve, {"/run/torchserve"}), (shaped.gateway, feedback)):
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        written = [mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")]
        assert set(written) - {"/more"} == {"/run/catsdogs"} | own


def test_the_run_directory_may_lie_on_disk() -> None:
    volumes = render({"run": {"medium": "", "sizeLimit": "1Gi"}}).pod["volumes"]
    assert volumes == [{"name": name, "emptyDir": {"medium": "", "sizeLimit": "1Gi"}} for name in ("run", "private")]


def test_what_is_not_set_is_left_to_the_command() -> None:
    assert render().torchserve["command"] == [
        "catsdogs",
        "torchserve",
        "/models/catsdogs.mar",
        "--run=/run/catsdogs",
        "--private=/run/torchserve",
    ]
    assert "keys" not in flags(render().gateway)


def test_what_is_set_reaches_the_command() -> None:
    torchserve = render(
        {"torchserve": {"workers": 3, "queue": 64, "verbose": True}, "model": {"sha256": SHA}}
    ).torchserve
    assert flags(torchserve).items() >= {"workers": "3", "queue": "64", "verbose": "", "sha256": SHA}.items()
    gateway = render({"gateway": {"drainSeconds": 45, "graceSeconds": 30}, "model": {"name": "pets"}}).gateway
    assert flags(gateway).items() >= {"drain": "45", "grace": "30", "model": "pets", "host": "0.0.0.0"}.items()


def test_origins_of_other_pages_reach_the_gateway() -> None:
    command = render({"gateway": {"corsOrigins": ["https://a.example", "*"]}}).gateway["command"]
    assert command[-2:] == ["--cors-origin=https://a.example", "--cors-origin=*"]


def test_the_access_log_is_the_gateways_on_demand() -> None:
    assert "access-log" not in flags(render().gateway)
    shaped = render({"gateway": {"accessLog": True}})
    assert flags(shaped.gateway)["access-log"] == ""
    assert "access-log" not in flags(shaped.torchserve)


def test_image_operations_are_both_halves_on_demand() -> None:
    for container in (render().gateway, render().torchserve):
        assert "image-operations" not in flags(container)
    shaped = render({"imageOperations": True})
    for container in (shaped.gateway, shaped.torchserve):
        assert flags(container)["image-operations"] == ""


def test_answers_say_whether_they_are_unsure_on_demand() -> None:
    assert "CATSDOGS_UNSURE" not in {entry["name"] for entry in render().torchserve.get("env", [])}
    entries = {entry["name"]: entry.get("value") for entry in render({"unsure": True}).torchserve["env"]}
    assert entries["CATSDOGS_UNSURE"] == "1"


def test_stats_on_the_port_of_rest_are_the_gateways_on_demand() -> None:
    assert "stats" not in flags(render().gateway)
    shaped = render({"gateway": {"stats": True}})
    assert flags(shaped.gateway)["stats"] == ""
    assert "stats" not in flags(shaped.torchserve)


def test_metrics_on_the_port_of_rest_are_the_gateways_on_demand() -> None:
    assert "public-metrics" not in flags(render().gateway)
    shaped = render({"gateway": {"publicMetrics": True}})
    assert flags(shaped.gateway)["public-metrics"] == ""
    assert "public-metrics" not in flags(shaped.torchserve)


@pytest.mark.parametrize("files", [(), (CPU,)], ids=["gpu", "cpu"])
def test_the_memory_limit_holds_all_workers_a_full_queue_and_the_run_directory(
    files: tuple[Path, ...], tmp_path: Path
) -> None:
    limits = render(None, *files).torchserve["resources"]["limits"]
    left = int(limits["memory"].removesuffix("Gi")) * 1024 - 512
    (tmp_path / "memory.max").write_text(str(left << 20))
    chosen = choose_limits(workers=int(limits["cpu"]), cgroup=tmp_path)
    assert (chosen.heap_mib, chosen.queue) == (HEAP_MIB, QUEUE)


def test_the_probes_of_torchserve_are_asked_in_the_container() -> None:
    torchserve = render().torchserve
    assert torchserve["startupProbe"]["exec"]["command"] == ["catsdogs", "probe", "startup", "--run=/run/catsdogs"]
    assert torchserve["livenessProbe"]["exec"]["command"] == ["catsdogs", "probe", "live", "--run=/run/catsdogs"]


def test_readiness_is_the_workers_and_liveness_the_gateway_alone() -> None:
    gateway = render().gateway
    assert gateway["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "http"}
    assert gateway["livenessProbe"]["httpGet"] == {"path": "/metrics", "port": "metrics"}


def test_every_probe_says_how_long_it_waits(shaped: Rendered) -> None:
    probes = [
        container[name]
        for container in (shaped.torchserve, shaped.gateway)
        for name in ("startupProbe", "readinessProbe", "livenessProbe")
        if name in container
    ]
    assert len(probes) == 4
    for probe in probes:
        # The default of one second takes a saturated pod out of service.
        assert probe["timeoutSeconds"] >= 4
        assert {"periodSeconds", "failureThreshold"} <= probe.keys()


def test_a_pod_without_a_worker_is_unready_two_periods_later() -> None:
    readiness = render().gateway["readinessProbe"]
    assert (readiness["periodSeconds"], readiness["failureThreshold"]) == (2, 2)


@pytest.mark.parametrize("seconds", [10, 91, 180])
def test_the_startup_probe_gives_the_budget_that_was_asked_for(seconds: int) -> None:
    probe = render({"startupSeconds": seconds}).torchserve["startupProbe"]
    budget = probe["periodSeconds"] * probe["failureThreshold"]
    assert seconds <= budget <= seconds + probe["periodSeconds"]


def test_the_reason_of_a_failed_start_stands_in_describe(shaped: Rendered) -> None:
    for container in (shaped.torchserve, shaped.gateway):
        assert container["terminationMessagePolicy"] == "FallbackToLogsOnError"


def test_the_gateway_alone_opens_ports() -> None:
    shaped = render()
    ports = {port["name"]: port["containerPort"] for port in shaped.gateway["ports"]}
    assert ports == {"http": 8080, "grpc": 7070, "metrics": 8082}
    assert "ports" not in shaped.torchserve


@pytest.mark.parametrize(
    ("values", "files", "image"),
    [
        ({}, (), "catsdogs-serve:0.2.0-gpu"),
        ({}, (CPU,), "catsdogs-serve:0.2.0-cpu"),
        ({"image": {"repository": "r.example/x/serve", "tag": "dev"}}, (), "r.example/x/serve:dev"),
        ({"image": {"tag": "dev", "digest": f"sha256:{SHA}"}}, (CPU,), f"catsdogs-serve@sha256:{SHA}"),
    ],
)
def test_the_image(values: Object, files: tuple[()], image: str) -> None:
    assert render(values, *files).gateway["image"] == image


def test_the_archive_of_the_image_is_the_default() -> None:
    assert [volume["name"] for volume in render().pod["volumes"]] == ["run", "private"]


def test_an_archive_on_a_volume_is_mounted_for_torchserve_alone_and_not_to_be_written() -> None:
    shaped = render(PVC)
    assert shaped.torchserve["command"][2] == "/models/models/mine.mar"
    assert flags(shaped.torchserve)["sha256"] == SHA
    assert {"name": "model", "mountPath": "/models", "readOnly": True} in shaped.torchserve["volumeMounts"]
    assert [mount["name"] for mount in shaped.gateway["volumeMounts"]] == ["run"]
    (volume,) = [volume for volume in shaped.pod["volumes"] if volume["name"] == "model"]
    assert volume["persistentVolumeClaim"] == {"claimName": "store", "readOnly": True}


def test_keys_are_mounted_as_a_folder_which_follows_the_secret() -> None:
    shaped = render(KEYS)
    assert flags(shaped.gateway)["keys"] == "/keys/keys"
    (mount,) = [mount for mount in shaped.gateway["volumeMounts"] if mount["name"] == "keys"]
    assert mount == {"name": "keys", "mountPath": "/keys", "readOnly": True}
    (volume,) = [volume for volume in shaped.pod["volumes"] if volume["name"] == "keys"]
    assert volume["secret"]["secretName"] == "our-keys"
    assert volume["secret"]["items"] == [{"key": "api", "path": "keys"}]
    assert "keys" not in [mount["name"] for mount in shaped.torchserve["volumeMounts"]]


def test_the_test_pod_has_a_key_too() -> None:
    shaped = render(KEYS)
    (container,) = shaped.check["spec"]["containers"]
    assert environment(container)["CATSDOGS_KEY_FILE"] == "/keys/keys"
    assert {"name": "keys", "mountPath": "/keys", "readOnly": True} in container["volumeMounts"]
    assert named(shaped.check["spec"]["volumes"], "keys") == named(shaped.pod["volumes"], "keys")
    assert "CATSDOGS_KEY" not in str(render().check)


def test_the_test_pod_asks_the_services() -> None:
    container = render({"service": {"ports": {"http": 80, "grpc": 81}}}, release="x").check["spec"]["containers"][0]
    assert flags(container) == {
        "url": "http://x-catsdogs:80",
        "grpc": "x-catsdogs:81",
        "metrics": "http://x-catsdogs-metrics:8082/metrics",
    }


def test_a_test_that_succeeded_leaves_nothing_and_one_that_failed_its_pod() -> None:
    annotations = render().check["metadata"]["annotations"]
    assert annotations["helm.sh/hook"] == "test"
    assert annotations["helm.sh/hook-delete-policy"] == "before-hook-creation,hook-succeeded"


@pytest.mark.parametrize("runtime", [runtime.name for runtime in all_runtimes()])
def test_the_runtime_can_be_chosen(runtime: str) -> None:
    assert environment(render({"runtime": runtime}).torchserve)["CATSDOGS_RUNTIME"] == runtime


def test_by_default_the_image_chooses_the_runtime_and_its_precision() -> None:
    assert environment(render(None, CPU).torchserve).keys().isdisjoint({"CATSDOGS_RUNTIME", "CATSDOGS_PRECISION"})


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_precision_of_cpus_can_be_chosen(precision: str) -> None:
    assert environment(render({"precision": precision}, CPU).torchserve)["CATSDOGS_PRECISION"] == precision


def test_more_variables_and_volumes_reach_both_containers() -> None:
    shaped = render(EVERYTHING)
    for container in (shaped.torchserve, shaped.gateway):
        assert environment(container)["LOG_LEVEL"] == "INFO"
        assert {"name": "more", "mountPath": "/more"} in container["volumeMounts"]
    assert {"name": "more", "emptyDir": {}} in shaped.pod["volumes"]
