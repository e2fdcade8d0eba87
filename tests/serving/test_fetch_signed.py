"""`catsdogs fetch --model-key`: the signature comes first, and the archive only if it is signed."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

import catsdogs
from handler.files import UserError
from serving.fetch.signed import signature_source
from serving.signature.bundle import MAX_BYTES, make_bundle
from serving.signature.model import SignatureError, signature_of
from serving.signature.statement import SINGLE, Statement
from tests.serving import web as webs
from tests.serving.web import DATA, OTHER, Handler, Web, cut, left, sha256, status
from tests.signing import Pair


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    webs.forget_environment(monkeypatch)


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "models" / "catsdogs.mar"


class Signed:
    """A web server with an archive, and beside it what `signature` is."""

    def __init__(self, web: Web, signature: bytes | None) -> None:
        self.web, self.signature = web, signature
        web.always = self.answer

    def answer(self, handler: Handler) -> None:
        if not handler.path.endswith(".sig"):
            webs.right(handler)
        elif self.signature is None:
            status(404)(handler)
        else:
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(self.signature)))
            handler.end_headers()
            handler.wfile.write(self.signature)

    @property
    def asked(self) -> list[str]:
        return [request[":path"].rpartition("/")[2] for request in self.web.requests]


def bundle(pair: Pair, data: bytes) -> bytes:
    return make_bundle(Statement("catsdogs.mar", {SINGLE: sha256(data)}), pair.key)


@pytest.fixture
def site(pair: Pair) -> Iterator[Signed]:
    with webs.serve(DATA) as web:
        yield Signed(web, bundle(pair, DATA))


def run(site: Signed, out: Path, key: Path, *more: str) -> list[str]:
    """Run the command, and return what it said; raise what it ends with."""
    arguments = ["fetch", site.web.url, str(out), "--model-key", str(key), "--timeout", "20", *more]
    done = CliRunner().invoke(catsdogs.cli, arguments)
    if isinstance(done.exception, UserError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output.splitlines()


def test_a_signed_archive_is_fetched_with_its_signature(site: Signed, out: Path, pair: Pair) -> None:
    said = run(site, out, pair.public)
    assert f"{out} is signed by a key of {pair.public}." in said
    assert out.read_bytes() == DATA
    assert signature_of(out).read_bytes() == site.signature
    assert site.asked == ["catsdogs.mar.sig", "catsdogs.mar"]
    assert left(out) == ["catsdogs.mar", "catsdogs.mar.sig"]


def test_what_is_there_and_signed_is_not_asked_for(site: Signed, out: Path, pair: Pair) -> None:
    run(site, out, pair.public)
    run(site, out, pair.public, "--sha256", sha256(DATA))
    assert site.asked == ["catsdogs.mar.sig", "catsdogs.mar"]


def test_an_archive_that_is_there_unsigned_needs_its_signature(site: Signed, out: Path, pair: Pair) -> None:
    out.parent.mkdir()
    out.write_bytes(DATA)
    run(site, out, pair.public)
    assert site.asked == ["catsdogs.mar.sig"]
    assert signature_of(out).exists()


def test_a_key_that_was_replaced_is_asked_for_its_signature(site: Signed, out: Path, pair: Pair) -> None:
    run(site, out, pair.public)
    other = Pair(out.parent, "other")
    site.signature = bundle(other, DATA)
    run(site, out, other.public)
    assert signature_of(out).read_bytes() == site.signature


@pytest.mark.parametrize(
    ("signature", "sentence"),
    [
        (None, r"No signature of the archive: .*catsdogs\.mar\.sig cannot be fetched: the server answers 404"),
        (b"<html>", r"catsdogs\.mar\.sig is not accepted: it is not JSON"),
        (b"{" * (MAX_BYTES + 1), "No signature of the archive: .* is too large"),
    ],
    ids=["none", "a page", "endless"],
)
def test_an_unsigned_archive_is_not_asked_for(
    site: Signed, out: Path, pair: Pair, signature: bytes | None, sentence: str
) -> None:
    site.signature = signature
    with pytest.raises(SignatureError, match=sentence):
        run(site, out, pair.public, "--sha256", sha256(DATA))
    assert site.asked == ["catsdogs.mar.sig"]
    assert left(out) == []


def test_a_signature_by_another_key_is_refused(site: Signed, out: Path, tmp_path: Path) -> None:
    with pytest.raises(SignatureError, match="made with another key"):
        run(site, out, Pair(tmp_path, "other").public, "--sha256", sha256(DATA))
    assert left(out) == []


def test_another_archive_than_the_signed_one_is_refused(site: Signed, out: Path, pair: Pair) -> None:
    site.web.data = OTHER
    with pytest.raises(UserError, match="is not the archive that was asked for"):
        run(site, out, pair.public)
    assert left(out) == []


def test_an_earlier_archive_with_its_signature_is_not_the_one_asked_for(site: Signed, out: Path, pair: Pair) -> None:
    with pytest.raises(SignatureError, match="is the signature of another archive"):
        run(site, out, pair.public, "--sha256", sha256(OTHER))
    assert site.asked == ["catsdogs.mar.sig"]


def test_a_signature_that_breaks_off_is_asked_for_again(site: Signed, out: Path, pair: Pair) -> None:
    site.web.turns = [cut(10)]
    site.web.etag = ""
    run(site, out, pair.public)
    assert site.asked[-1] == "catsdogs.mar"
    assert out.read_bytes() == DATA


def test_without_a_key_the_sha256_is_required_and_suffices(site: Signed, out: Path) -> None:
    done = CliRunner().invoke(catsdogs.cli, ["fetch", site.web.url, str(out)])
    assert isinstance(done.exception, UserError)
    assert "--sha256" in str(done.exception)
    done = CliRunner().invoke(catsdogs.cli, ["fetch", site.web.url, str(out), "--sha256", sha256(DATA)])
    assert done.exit_code == 0
    assert left(out) == ["catsdogs.mar"]


def test_an_address_that_is_signed_itself_has_none_for_the_signature() -> None:
    with pytest.raises(UserError, match="name an address without one"):
        signature_source("https://models.example/a.mar?X-Amz-Signature=1", None)
    with signature_source("s3://bucket/what?.mar", None) as source:
        assert str(source) == "s3://bucket/what?.mar.sig"
