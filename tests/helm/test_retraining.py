"""The CronJob: the training Job again and again, each with what is its own."""

import pytest
import yaml

from k8s import render as manifests
from tests.helm.support import Object, named
from tests.helm.test_training_job import TEXT as TRAINING
from tests.helm.test_training_job import job, steps
from tests.zoo import ROOT

TEXT = (ROOT / "k8s" / "retrain-cronjob.yaml").read_text()
OBJECTS = list(yaml.safe_load_all(TEXT))
(CRONJOB,) = (manifest for manifest in OBJECTS if manifest["kind"] == "CronJob")
SPEC: Object = CRONJOB["spec"]
POD: Object = SPEC["jobTemplate"]["spec"]["template"]["spec"]
STEPS: list[Object] = [*POD["initContainers"], *POD["containers"]]
LABEL = "metadata.labels['batch.kubernetes.io/job-name']"


def test_it_is_made_of_the_training_job() -> None:
    assert manifests.cronjob() == TEXT, "make chart"


def test_a_change_that_it_could_not_follow_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(manifests.DIFFERENT, "--version=9.9.9", "--version=$(JOB_NAME)")
    with pytest.raises(AssertionError, match=r"has no '--version=9\.9\.9'"):
        manifests.cronjob()


def test_one_runs_at_a_time_and_one_that_was_missed_is_left_out() -> None:
    assert SPEC["concurrencyPolicy"] == "Forbid"
    assert SPEC["timeZone"] == "Etc/UTC"
    assert 0 < SPEC["startingDeadlineSeconds"] < 24 * 3600
    assert {SPEC["successfulJobsHistoryLimit"], SPEC["failedJobsHistoryLimit"]} == {3}


def test_its_steps_are_those_of_the_training_job_in_every_other_respect() -> None:
    def same(step: Object) -> Object:
        return {key: value for key, value in step.items() if key not in ("command", "env")}

    assert [same(step) for step in STEPS] == [same(step) for step in steps(TRAINING)]
    others = {"initContainers", "containers"}
    assert {key: value for key, value in POD.items() if key not in others} == {
        key: value for key, value in job(TRAINING)["template"]["spec"].items() if key not in others
    }
    rules = job(TRAINING)["podFailurePolicy"]
    assert SPEC["jobTemplate"]["spec"]["podFailurePolicy"] == rules


def test_every_step_knows_its_job_by_the_label_that_all_its_pods_share() -> None:
    for step in STEPS:
        (variable,) = (variable for variable in step["env"] if variable["name"] == "JOB_NAME")
        assert variable["valueFrom"] == {"fieldRef": {"fieldPath": LABEL}}


def test_what_a_job_writes_is_its_own_but_the_manifest() -> None:
    written = {
        word
        for step in STEPS
        for word in step["command"]
        if word.removeprefix("--out=").removeprefix("--run=").startswith("/model-store/")
    }
    assert len(written) == 5
    assert all("$(JOB_NAME)" in word for word in written)
    assert {step["name"] for step in STEPS if "--data=/data/manifest" in step["command"]} == {
        "train",
        "evaluate",
        "export",
    }


def test_its_release_is_named_after_it_as_catsdogs_takes_it() -> None:
    assert "--version=$(JOB_NAME)" in named(STEPS, "export")["command"]
    assert len(CRONJOB["metadata"]["name"]) <= 52


def test_the_pictures_are_a_folder_to_which_more_may_be_added() -> None:
    assert named(STEPS, "prepare")["command"] == ["catsdogs", "prepare", "/data/pictures", "--out=/data/manifest"]


def test_it_deploys_nothing() -> None:
    assert {manifest["kind"] for manifest in OBJECTS} == {"PersistentVolumeClaim", "NetworkPolicy", "CronJob"}
    assert POD["automountServiceAccountToken"] is False
    assert {step["command"][0] for step in STEPS} == {"catsdogs"}


def test_its_volumes_are_the_training_jobs() -> None:
    claims = [manifest for manifest in OBJECTS if manifest["kind"] == "PersistentVolumeClaim"]
    assert claims == [
        manifest for manifest in yaml.safe_load_all(TRAINING) if manifest["kind"] == "PersistentVolumeClaim"
    ]
