"""The jar in the image: without what no server calls."""

import importlib.util
import zipfile
from pathlib import Path

import pytest

from serving.server.lean_jar import UNUSED, is_unused, make_lean


@pytest.fixture(scope="module")
def jar() -> Path:
    spec = importlib.util.find_spec("ts")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "frontend" / "model-server.jar"


def test_nothing_of_torchserves_names_what_is_taken_out(jar: Path) -> None:
    """Class files name others by their paths, in plain text."""
    folders = [f"{word.rstrip('/')}/".encode() for word in UNUSED if not word.startswith("META-INF")]
    with zipfile.ZipFile(jar) as packed:
        ours = [name for name in packed.namelist() if name.startswith("org/pytorch/") and name.endswith(".class")]
        naming = [name for name in ours if any(folder in packed.read(name) for folder in folders)]
    assert len(ours) > 200
    assert naming == []


def test_half_of_it_stays_unchanged_and_the_same_each_time(jar: Path, tmp_path: Path) -> None:
    copies = [tmp_path / "one.jar", tmp_path / "two.jar"]
    for copy in copies:
        copy.write_bytes(jar.read_bytes())
        make_lean(copy, "x86_64")
    assert copies[0].read_bytes() == copies[1].read_bytes()
    assert copies[0].stat().st_size < 0.55 * jar.stat().st_size
    with zipfile.ZipFile(jar) as old, zipfile.ZipFile(copies[0]) as new:
        assert new.testzip() is None
        names = new.namelist()
        assert names == [name for name in old.namelist() if not is_unused(name, "x86_64")]
        for name in names[::50]:
            assert new.read(name) == old.read(name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.jar", "two.jar"]


@pytest.mark.parametrize(
    ("name", "machine", "unused"),
    [
        ("META-INF/native/libnetty_tcnative_linux_x86_64.so", "x86_64", False),
        ("META-INF/native/libnetty_transport_native_epoll_x86_64.so", "x86_64", False),
        ("META-INF/native/libnetty_transport_native_epoll_x86_64.so", "riscv64", False),
        ("META-INF/native/libnetty_tcnative_linux_x86_64.so", "aarch64", True),
        ("META-INF/native/netty_tcnative_windows_x86_64.dll", "x86_64", True),
        ("META-INF/native/libnetty_tcnative_osx_aarch_64.jnilib", "aarch64", True),
        ("META-INF/native/", "x86_64", False),
        ("org/pytorch/serve/ModelServer.class", "x86_64", False),
        ("org/junit/Test.class", "x86_64", True),
        ("META-INF/services/io.grpc.ServerProvider", "x86_64", False),
        ("META-INF/services/javax.script.ScriptEngineFactory", "x86_64", True),
    ],
)
def test_natives_are_those_of_the_processor(name: str, machine: str, unused: bool) -> None:
    assert is_unused(name, machine) is unused
