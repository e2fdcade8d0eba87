"""A certificate and its key: what is refused, and what is served while they are replaced."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from handler.files import UserError
from serving.gateway.tls import Keeper, Pair, answer_handshakes, fingerprint, trusting
from tests.certificates import make_authority, make_pair, openssl


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def pair(authority: Path, tmp_path: Path) -> Pair:
    return Pair(*make_pair(authority, tmp_path / "pair"))


@pytest.fixture
def other(authority: Path, tmp_path: Path) -> Pair:
    return Pair(*make_pair(authority, tmp_path / "other"))


def refusal(pair: Pair) -> str:
    with pytest.raises(UserError) as refused:
        pair.read()
    return str(refused.value)


def test_both_are_given_with_all_that_the_certificate_is_signed_by(pair: Pair, authority: Path) -> None:
    chain = pair.certificate.read_bytes() + authority.read_bytes()
    pair.certificate.write_bytes(b"Subject: what openssl writes above it\n" + chain)
    given = pair.read()
    assert given.count(b"BEGIN CERTIFICATE") == 2
    assert given.count(b"PRIVATE KEY") == 2
    assert b"Subject" not in given
    assert fingerprint(given) == fingerprint(pair.certificate.read_bytes())


def test_a_key_with_its_curve_above_it_is_taken(pair: Pair, tmp_path: Path) -> None:
    """`openssl ecparam -genkey` writes such a key."""
    key, certificate = tmp_path / "ec.key", tmp_path / "ec.crt"
    openssl("ecparam", "-name", "prime256v1", "-genkey", "-out", str(key))
    openssl("req", "-x509", "-key", str(key), "-out", str(certificate), "-subj", "/CN=x")
    assert b"BEGIN EC PARAMETERS" in key.read_bytes()
    assert b"EC PARAMETERS" not in Pair(certificate, key).read()


def test_what_is_missing_is_named(pair: Pair) -> None:
    pair.key.unlink()
    assert refusal(pair) == f"{pair.key} cannot be read: No such file or directory."
    pair.certificate.unlink()
    pair.certificate.mkdir()
    assert refusal(pair) == f"{pair.certificate} cannot be read: Is a directory."


def test_a_key_of_another_certificate_is_refused(pair: Pair, other: Pair) -> None:
    mixed = Pair(pair.certificate, other.key)
    assert refusal(mixed) == f"The key in {other.key} is not that of the certificate in {pair.certificate}."


def test_files_that_were_mixed_up_are_refused(pair: Pair) -> None:
    assert refusal(Pair(pair.key, pair.certificate)) == f"{pair.key} holds no certificate in PEM format."
    assert (
        refusal(Pair(pair.certificate, pair.certificate)) == f"{pair.certificate} holds no private key in PEM format."
    )


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_a_half_written_file_is_refused(pair: Pair, part: float) -> None:
    for path, what in ((pair.key, "private key"), (pair.certificate, "certificate")):
        whole = path.read_bytes()
        path.write_bytes(whole[: int(len(whole) * part)])
        assert refusal(pair) == f"{path} holds no {what} in PEM format."
        path.write_bytes(whole)


def test_a_damaged_certificate_is_refused(pair: Pair) -> None:
    lines = pair.certificate.read_bytes().splitlines(keepends=True)
    pair.certificate.write_bytes(b"".join([lines[0], *lines[2:]]))
    assert refusal(pair).startswith(f"{pair.certificate} and {pair.key} cannot be used: ")


def test_a_key_with_a_password_is_refused_and_nobody_is_asked_for_it(pair: Pair, tmp_path: Path) -> None:
    locked = tmp_path / "locked.key"
    openssl("pkcs8", "-topk8", "-in", str(pair.key), "-out", str(locked), "-passout", "pass:secret")
    assert "is encrypted" in refusal(Pair(pair.certificate, locked))


def test_the_newest_pair_is_served(pair: Pair, other: Pair, capsys: pytest.CaptureFixture[str]) -> None:
    keeper = Keeper(pair)
    assert keeper.current() == pair.read()
    assert capsys.readouterr().err == ""
    replace(pair, other)
    assert keeper.current() == other.read()
    assert keeper.current() == other.read()
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        f"catsdogs: The certificate in {pair.certificate} is served now: sha256 {fingerprint(other.read())}."
    ]


def replace(pair: Pair, other: Pair) -> None:
    pair.certificate.write_bytes(other.certificate.read_bytes())
    pair.key.write_bytes(other.key.read_bytes())


def test_a_pair_that_does_not_fit_is_refused_once_in_a_sentence_and_the_last_one_kept(
    pair: Pair, other: Pair, capsys: pytest.CaptureFixture[str]
) -> None:
    keeper, first = Keeper(pair), pair.read()
    pair.certificate.write_bytes(other.certificate.read_bytes())
    for _ in range(3):
        assert keeper.current() == first
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        f"catsdogs: The key in {pair.key} is not that of the certificate in {pair.certificate}. "
        f"The last certificate is served on: sha256 {fingerprint(first)}."
    )
    pair.key.write_bytes(other.key.read_bytes())
    assert keeper.current() == other.read()


def test_files_that_vanish_leave_the_last_certificate_which_is_told_each_time(
    pair: Pair, capsys: pytest.CaptureFixture[str]
) -> None:
    keeper, first, key = Keeper(pair), pair.read(), pair.key.read_bytes()
    for _ in range(2):
        pair.key.unlink()
        assert keeper.current() == keeper.current() == first
        assert capsys.readouterr().err.count(f"{pair.key} cannot be read") == 1
        pair.key.write_bytes(key)
        assert keeper.current() == first
        assert capsys.readouterr().err == ""


def test_no_key_is_ever_said(pair: Pair, other: Pair, capsys: pytest.CaptureFixture[str]) -> None:
    keeper = Keeper(pair)
    replace(pair, other)
    keeper.current()
    pair.key.write_bytes(pair.key.read_bytes()[:-40])
    keeper.current()
    log = capsys.readouterr().err
    assert len(log.splitlines()) == 2
    assert not [line for line in other.key.read_text().splitlines()[1:-1] if line in log]


@pytest.fixture
def url(pair: Pair) -> Iterator[httpx.URL]:
    with answer_handshakes(pair) as made:
        yield httpx.URL(made)


def test_the_gateway_gets_the_pair_by_a_password(url: httpx.URL, pair: Pair) -> None:
    response = httpx.get(url, params={"server_name": "x"}, trust_env=False)
    assert (response.status_code, response.content) == (200, pair.read())


@pytest.mark.parametrize("password", [None, "wrong"])
def test_nobody_else_does(url: httpx.URL, password: str | None) -> None:
    assert url.host == "127.0.0.1"
    stranger = url.copy_with(username="gateway" if password else "", password=password or "")
    response = httpx.get(stranger, trust_env=False)
    assert (response.status_code, response.content) == (401, b"")


def test_trusted_is_who_the_file_names(authority: Path, tmp_path: Path) -> None:
    (known,) = trusting(authority).get_ca_certs()
    assert known["subject"] == ((("commonName", "tests"),),)
    (tmp_path / "empty").touch()
    with pytest.raises(UserError, match="holds no certificate in PEM format"):
        trusting(tmp_path / "empty")
    with pytest.raises(UserError, match="cannot be read: No such file or directory"):
        trusting(tmp_path / "none")
