"""The folders that become Spaces of Hugging Face: their port, their user, and that nothing is missing in them."""

import re
from pathlib import Path

import pytest
import yaml

from serving.hosting.spaces import main as make_space
from tests.zoo import ROOT

IMAGE = "ghcr.io/example/catsdogs-serve:0.2.0-cpu@sha256:" + "0" * 64
HOSTING = ROOT / "serving" / "hosting"


def lines(folder: Path) -> list[str]:
    text = (folder / "Dockerfile").read_text().replace("\\\n", " ")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def front_matter(folder: Path) -> dict[str, object]:
    _, text, _ = (folder / "README.md").read_text().split("---\n", 2)
    document: dict[str, object] = yaml.safe_load(text)
    return document


@pytest.fixture(params=["server", "gradio"])
def space(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    folder = tmp_path / "space"
    assert make_space([request.param, str(folder), "--image", IMAGE]) == 0
    return folder


def test_a_space_listens_on_the_port_that_its_page_asks_as_the_user_that_it_gets(space: Path) -> None:
    assert front_matter(space)["sdk"] == "docker"
    assert front_matter(space)["app_port"] == 7860
    assert [line for line in lines(space) if line.startswith("EXPOSE")] == ["EXPOSE 7860"]
    assert [line for line in lines(space) if line.startswith("USER")][-1] == "USER 1000:1000"


def test_all_that_is_copied_into_the_image_is_in_the_folder(space: Path) -> None:
    for line in lines(space):
        if line.startswith("COPY"):
            for source in line.split()[1:-1]:
                assert (space / source).exists(), line


def test_the_servers_space_is_built_on_the_image_that_was_named(tmp_path: Path) -> None:
    make_space(["server", str(tmp_path / "space"), "--image", IMAGE])
    assert lines(tmp_path / "space")[0] == f"FROM {IMAGE}"
    assert "--port" in lines(tmp_path / "space")[-1]
    assert "7860" in lines(tmp_path / "space")[-1]


def test_the_gradio_space_brings_the_handler_and_the_release_without_figures(tmp_path: Path) -> None:
    make_space(["gradio", str(tmp_path / "space")])
    names = {path.name for path in (tmp_path / "space" / "release").iterdir()}
    assert {"release.json", "model.onnx", "model.safetensors", "model.int8.onnx"} <= names
    assert "reference.csv" not in names
    assert (tmp_path / "space" / "handler" / "predictor.py").exists()
    assert not list((tmp_path / "space").rglob("__pycache__"))


def test_the_gradio_space_installs_by_hash_what_the_app_and_the_handler_import() -> None:
    lock = (HOSTING / "gradio_space" / "requirements.txt").read_text()
    pinned = re.findall(r"^([a-z0-9-]+)==\S+", lock, re.MULTILINE)
    assert {"gradio", "numpy", "pillow", "openvino"} <= set(pinned)
    assert len(re.findall(r"--hash=sha256:", lock)) >= len(pinned)
    assert "http" not in re.sub(r"^\s*#.*$", "", lock, flags=re.MULTILINE).replace("httpx", "").replace("httpcore", "")


def test_a_folder_that_is_no_space_is_left_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes").write_text("mine")
    for arguments in (["gradio", str(tmp_path)], ["server", str(tmp_path / "new")], ["gradio", "x", "--release", "/"]):
        with pytest.raises(SystemExit) as stopped:
            make_space(arguments)
        assert stopped.value.code == 2
    assert (tmp_path / "notes").read_text() == "mine"
    assert "Traceback" not in capsys.readouterr().err
