"""Training on several nodes: pods that find each other by name, on volumes that the Job of one node goes on with."""

import re

import click
import yaml

import catsdogs
from tests.helm.support import Object, named
from tests.helm.test_training_job import TEXT as ONE_NODE
from tests.helm.test_training_job import steps as steps_of_one
from tests.zoo import ROOT

TEXT = (ROOT / "k8s" / "training-nodes.yaml").read_text()
ON_CPUS = "".join(line for line in TEXT.splitlines(keepends=True) if not line.endswith("# GPU\n"))
NAME = "catsdogs-training-nodes"


def objects(text: str, kind: str) -> list[Object]:
    return [manifest for manifest in yaml.safe_load_all(text) if manifest["kind"] == kind]


def job(text: str = TEXT) -> Object:
    (manifest,) = objects(text, "Job")
    assert manifest["metadata"]["name"] == NAME
    spec: Object = manifest["spec"]
    return spec


def pod(text: str = TEXT) -> Object:
    spec: Object = job(text)["template"]["spec"]
    return spec


def options() -> dict[str, str]:
    """Return the options of torchrun in the pod's command."""
    command = pod()["containers"][0]["command"]
    parts = (word.removeprefix("--").partition("=") for word in command[: command.index("--")])
    return {name: value for name, _, value in parts}


def test_there_are_as_many_pods_as_torchrun_waits_for() -> None:
    assert job()["completionMode"] == "Indexed"
    assert job()["completions"] == job()["parallelism"] == int(options()["nnodes"])
    assert options()["node-rank"] == "$(JOB_COMPLETION_INDEX)"


def test_the_pods_find_the_first_one_by_its_name_before_it_is_ready() -> None:
    (service,) = objects(TEXT, "Service")
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["publishNotReadyAddresses"] is True
    assert service["spec"]["selector"] == {"batch.kubernetes.io/job-name": NAME}
    # A pod of an Indexed Job is named after the Job and its index.
    assert options()["master-addr"] == f"{NAME}-0.{pod()['subdomain']}"
    assert pod()["subdomain"] == service["metadata"]["name"]
    (port,) = service["spec"]["ports"]
    (opened,) = pod()["containers"][0]["ports"]
    assert port["port"] == opened["containerPort"] == int(options()["master-port"])


def test_every_node_runs_the_command_of_one_node() -> None:
    command = pod()["containers"][0]["command"]
    own = command[command.index("--") + 1 :]
    assert command[command.index("--") - 1] == "-m"
    assert own == named(steps_of_one(ONE_NODE), "train")["command"]
    _, verb, *arguments = own
    subcommand = catsdogs.cli.get_command(click.Context(catsdogs.cli), verb)
    assert subcommand is not None
    subcommand.make_context(verb, list(arguments))


def test_the_first_node_alone_prepares_as_one_node_would_and_the_others_wait_for_hours() -> None:
    (prepare,) = pod()["initContainers"]
    guard, run = prepare["command"][-1].splitlines()
    assert guard == 'test "$JOB_COMPLETION_INDEX" = 0 || exit 0'
    assert run.removeprefix("exec ").split() == named(steps_of_one(ONE_NODE), "prepare")["command"]
    seconds = re.fullmatch(r"timeout=(\d+)", options()["rdzv-conf"])
    assert seconds is not None
    assert int(seconds[1]) >= 3600


def test_the_volumes_are_those_of_one_node_for_many() -> None:
    claims = objects(TEXT, "PersistentVolumeClaim")
    for_many = objects(ONE_NODE.replace("ReadWriteOnce", "ReadWriteMany"), "PersistentVolumeClaim")
    assert claims == for_many
    assert "sed 's/ReadWriteOnce/ReadWriteMany/' k8s/training-job.yaml" in TEXT
    mounted = [
        volume["persistentVolumeClaim"]["claimName"] for volume in pod()["volumes"] if "persistentVolumeClaim" in volume
    ]
    assert mounted == [claim["metadata"]["name"] for claim in claims]


def test_everything_else_about_a_pod_is_as_with_one_node() -> None:
    (manifest,) = (manifest for manifest in objects(ONE_NODE, "Job"))
    other: Object = manifest["spec"]["template"]["spec"]
    own = {"subdomain", "topologySpreadConstraints", "initContainers", "containers"}
    assert {key: value for key, value in pod().items() if key not in own} == {
        key: value for key, value in other.items() if key not in own
    }
    for container in [*pod()["initContainers"], *pod()["containers"]]:
        same = named(steps_of_one(ONE_NODE), container["name"])
        assert {key: value for key, value in container.items() if key not in ("command", "ports")} == {
            key: value for key, value in same.items() if key != "command"
        }


def test_without_the_gpus_lines_it_runs_on_cpus() -> None:
    assert "nvidia" not in str(pod(ON_CPUS))
    assert "priorityClassName" not in pod(ON_CPUS)
    assert "nvidia.com/gpu" in str(pod())


def test_wrong_pictures_end_the_job_and_a_preempted_pod_does_not() -> None:
    rules = job()["podFailurePolicy"]["rules"]
    exits = {"containerName": "prepare", "operator": "In", "values": [2]}
    assert {"action": "FailJob", "onExitCodes": exits} in rules
    assert {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]} in rules


TRAINER_TEXT = (ROOT / "k8s" / "trainjob.yaml").read_text()
(RUNTIME,) = objects(TRAINER_TEXT, "TrainingRuntime")
(TRAINJOB,) = objects(TRAINER_TEXT, "TrainJob")
(REPLICATED,) = RUNTIME["spec"]["template"]["spec"]["replicatedJobs"]


def test_trainer_finds_what_it_tells_the_nodes_to() -> None:
    assert TRAINJOB["spec"]["runtimeRef"] == {"kind": "TrainingRuntime", "name": RUNTIME["metadata"]["name"]}
    (container,) = REPLICATED["template"]["spec"]["template"]["spec"]["containers"]
    assert REPLICATED["name"] == container["name"] == "node"
    assert REPLICATED["template"]["metadata"]["labels"] == {"trainer.kubeflow.org/trainjob-ancestor-step": "trainer"}
    policy = RUNTIME["spec"]["mlPolicy"]
    assert TRAINJOB["spec"]["trainer"] == {"numNodes": policy["numNodes"], **policy["torch"]}
    assert not [key for key in TRAINJOB["spec"] if "Overrides" in key]


def test_with_trainer_a_pod_is_as_without() -> None:
    spec = REPLICATED["template"]["spec"]
    assert spec["backoffLimit"] == job()["backoffLimit"]
    assert spec["podFailurePolicy"] == job()["podFailurePolicy"]
    ours, own = spec["template"]["spec"], {"subdomain", "containers", "topologySpreadConstraints"}
    assert ours == {key: value for key, value in pod().items() if key not in own} | {
        "containers": ours["containers"],
        "topologySpreadConstraints": ours["topologySpreadConstraints"],
    }
    (container,), (without,) = ours["containers"], pod()["containers"]
    other = {"name", "command", "ports"}
    assert {k: v for k, v in container.items() if k not in other} == {
        k: v for k, v in without.items() if k not in other
    }
    (spread,) = ours["topologySpreadConstraints"]
    assert spread["labelSelector"]["matchLabels"] == spec["template"]["metadata"]["labels"]


def test_with_trainer_torchrun_is_told_by_variables_and_runs_the_same() -> None:
    (container,) = REPLICATED["template"]["spec"]["template"]["spec"]["containers"]
    said_by_trainer = ("--nnodes", "--node-rank", "--master-addr", "--master-port", "--nproc-per-node")
    command = [word for word in pod()["containers"][0]["command"] if not word.startswith(said_by_trainer)]
    assert container["command"] == command


def test_with_trainer_the_volumes_are_the_same() -> None:
    assert objects(TRAINER_TEXT, "PersistentVolumeClaim") == objects(TEXT, "PersistentVolumeClaim")
