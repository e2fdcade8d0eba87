"""Files that are whole or not there."""

from pathlib import Path

import pytest

from handler.files import replacing, write_atomic


def test_a_file_is_replaced_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    for content in (b"first", b"second"):
        write_atomic(tmp_path / "file", content)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("file", b"second")]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_failure_keeps_the_old_file_and_leaves_nothing_beside_it(tmp_path: Path, error: type[BaseException]) -> None:
    write_atomic(tmp_path / "file", b"old")

    def fail() -> None:
        with replacing(tmp_path / "file") as file:
            file.write(b"new")
            raise error

    with pytest.raises(error):
        fail()
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("file", b"old")]
