import re
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from handler.files import UserError
from serving.gateway.keys import MAKE, check_keys, read_secret

KEY = "k" * 22


@pytest.mark.parametrize("text", [KEY, f"{KEY}\n", f"\n{KEY}\r\n\n  {KEY[:-1]}-\t\n", "\n".join([KEY] * 100)])
def test_a_key_per_line_is_taken_with_space_around_and_between(tmp_path: Path, text: str) -> None:
    (tmp_path / "keys").write_text(text)
    check_keys(tmp_path / "keys")


@pytest.mark.parametrize("text", ["", "\n", " \n\t\n"])
def test_a_file_without_a_key_would_keep_everybody_out(tmp_path: Path, text: str) -> None:
    (tmp_path / "keys").write_text(text)
    with pytest.raises(UserError, match="holds no key"):
        check_keys(tmp_path / "keys")


@pytest.mark.parametrize(
    "line", [KEY[:-1], f"{KEY} {KEY}", f"{KEY},{KEY}", f"Bearer {KEY}", f"{KEY}=", f"# {KEY}", f"{KEY[:-1]}é", "x"]
)
def test_a_line_that_could_be_guessed_or_is_no_key_is_refused_by_its_number(tmp_path: Path, line: str) -> None:
    (tmp_path / "keys").write_text(f"{KEY}\n\n{line}\n", encoding="utf-8")
    with pytest.raises(UserError, match="Line 3 of") as raised:
        check_keys(tmp_path / "keys")
    assert line not in str(raised.value).replace(MAKE, ""), "a key in a message ends in a log"


def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "missing", tmp_path, tmp_path / "binary"):
        with pytest.raises(UserError, match="cannot be read"):
            check_keys(path)


def test_a_file_larger_than_the_gateway_reads_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"{KEY}\n" * (2**20 // (len(KEY) + 1) + 1))
    with pytest.raises(UserError, match="more than 1 MiB"):
        check_keys(tmp_path / "keys")


def test_lines_that_end_by_carriage_returns_alone_are_one_line_to_the_gateway(tmp_path: Path) -> None:
    (tmp_path / "keys").write_bytes(f"{KEY}\r{KEY}\r".encode())
    with pytest.raises(UserError, match="carriage returns alone: save it with line feeds"):
        check_keys(tmp_path / "keys")


def test_the_command_that_it_names_makes_a_key(tmp_path: Path) -> None:
    (code,) = re.findall(r"python -c '(.*)'", MAKE)
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    (tmp_path / "keys").write_text(made)
    check_keys(tmp_path / "keys")
    assert len(made.strip()) == len(secrets.token_urlsafe(32))


def test_a_secret_is_read_from_the_file_that_is_named_before_the_variable(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from a file\n")
    environment = {"CATSDOGS_KEY": "from the variable"}
    assert read_secret("CATSDOGS_KEY", environment) == "from the variable"
    assert read_secret("CATSDOGS_KEY", {**environment, "CATSDOGS_KEY_FILE": str(tmp_path / "key")}) == "from a file\n"
    assert read_secret("CATSDOGS_KEY", {}) == ""


@pytest.mark.parametrize("content", [None, b"\xff"], ids=["missing", "not text"])
def test_a_secret_that_cannot_be_read_is_one_sentence(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "key"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=f"CATSDOGS_KEY_FILE is {path}, which cannot be read: "):
        read_secret("CATSDOGS_KEY", {"CATSDOGS_KEY_FILE": str(path)})
