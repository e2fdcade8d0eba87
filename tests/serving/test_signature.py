"""Signatures of models: what the real model-signing writes and reads, and what is refused."""

import base64
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

import catsdogs
from handler.files import UserError
from serving.server.archive import read_archive
from serving.signature.bundle import MAX_BYTES, make_bundle, open_bundle, signed_bytes
from serving.signature.keys import HASHES, read_private_key, read_public_keys
from serving.signature.model import SignatureError, sign, signature_of, verify
from serving.signature.statement import MAX_FILES, PREDICATE, SINGLE, Statement, parse_statement
from tests.archives import read_members, write_archive
from tests.signing import Pair, model_signing, really_sign, really_verify

Document = dict[str, Any]
CURVES = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}
STATEMENT = Statement("m.mar", {SINGLE: "ab" * 32})


def run(*arguments: str | Path, **environment: str) -> Result:
    return CliRunner().invoke(catsdogs.cli, list(map(str, arguments)), env=environment)


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path)


@pytest.fixture(scope="module")
def small(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The released archive without its models."""
    members = {name: data for name, data in read_members(archive).items() if not name.startswith("model.")}
    return write_archive(tmp_path_factory.mktemp("small") / "small.mar", members)


@pytest.fixture
def release(tmp_path: Path) -> Path:
    folder = tmp_path / "release"
    (folder / "figures").mkdir(parents=True)
    for name in ("model.onnx", "release.json", "a-file", "figures/b.png", ".hidden"):
        (folder / name).write_text(name)
    return folder


def test_the_real_package_accepts_what_we_sign(small: Path, release: Path, tmp_path: Path) -> None:
    commands = []
    for name, curve in CURVES.items():
        pair, signature = Pair(tmp_path, name, curve), tmp_path / f"{name}.sig"
        assert run("sign", small, "--key", pair.private, "--out", signature).exit_code == 0
        commands.append(really_verify(pair, small, signature))
    assert run("sign", release, "--key", pair.private).exit_code == 0
    altered = tmp_path / "altered"
    shutil.copytree(release, altered)
    (altered / "figures" / "b.png").write_text("another")
    commands += [really_verify(pair, folder, folder / "model.sig") for folder in (release, altered)]
    assert model_signing(*commands) == [0, 0, 0, 0, 1]


def test_we_accept_what_the_real_package_signs(small: Path, release: Path, tmp_path: Path) -> None:
    pairs = {name: Pair(tmp_path, name, curve) for name, curve in CURVES.items()}
    commands = [really_sign(pair, small, tmp_path / f"{name}.sig") for name, pair in pairs.items()]
    pair = pairs["P-256"]
    commands.append(really_sign(pair, release, release / "model.sig"))
    # A signature may name any path that it ignores, where files could then be exchanged.
    ignoring = tmp_path / "ignoring.sig"
    commands.append(really_sign(pair, release, ignoring, "--ignore-paths", release / "figures"))
    assert model_signing(*commands) == [0] * 5
    for name, signer in pairs.items():
        done = run("verify", small, "--model-key", signer.public, "--signature", tmp_path / f"{name}.sig")
        assert (done.exit_code, done.output) == (0, f"{small} is as it was signed: 1 file\n")
    done = run("verify", release, CATSDOGS_MODEL_KEY=str(pair.public))
    assert (done.exit_code, done.output) == (0, f"{release} is as it was signed: 5 files\n")
    with pytest.raises(SignatureError, match=r"figures/b\.png was not signed"):
        verify(release, ignoring, [pair.key.public_key()])


def change(release: Path) -> None:
    (release / "figures" / "b.png").write_text("another")


def add(release: Path) -> None:
    (release / "figures" / "new.py").write_text("import os")


def remove(release: Path) -> None:
    (release / "model.onnx").unlink()


def link(release: Path) -> None:
    (release / "model.onnx").rename(release.parent / "elsewhere")
    (release / "model.onnx").symlink_to(release.parent / "elsewhere")


def link_folder(release: Path) -> None:
    (release / "figures").rename(release.parent / "elsewhere")
    (release / "figures").symlink_to(release.parent / "elsewhere")


@pytest.mark.parametrize(
    ("step", "sentence"),
    [
        (change, r"figures/b\.png is not what was signed: its sha256 is "),
        (add, "figures/new.py was not signed"),
        (remove, "model.onnx was signed, and is missing"),
        (link, "model.onnx is a link or no plain file"),
        (link_folder, "figures is a link or no plain file"),
    ],
)
def test_a_folder_is_exactly_what_was_signed(
    release: Path, pair: Pair, step: Callable[[Path], None], sentence: str
) -> None:
    sign(release, release / "model.sig", pair.key)
    assert verify(release, release / "model.sig", [pair.key.public_key()]).name == "release"
    step(release)
    with pytest.raises(SignatureError, match=sentence):
        verify(release, release / "model.sig", [pair.key.public_key()])


def envelope(bundle: Document) -> Document:
    value: Document = bundle["dsseEnvelope"]
    return value


def set_payload(bundle: Document, change: Callable[[Document], object]) -> None:
    """Change the statement and leave its signature."""
    statement = json.loads(base64.b64decode(envelope(bundle)["payload"]))
    change(statement)
    envelope(bundle)["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()


def flip(bundle: Document) -> None:
    (signature,) = envelope(bundle)["signatures"]
    data = bytearray(base64.b64decode(signature["sig"]))
    data[-1] ^= 1
    signature["sig"] = base64.b64encode(data).decode()


CHANGES: dict[str, tuple[Callable[[Document], object], str]] = {
    "the signature": (flip, "does not match"),
    "the statement": (
        lambda bundle: set_payload(bundle, lambda made: made["predicate"]["resources"][0].update(digest="0" * 64)),
        "does not match",
    ),
    "its spaces alone": (lambda bundle: set_payload(bundle, lambda made: None), "does not match"),
    "the payload's type": (lambda bundle: envelope(bundle).update(payloadType="text/plain"), "it signs 'text/plain'"),
    "the bundle's type": (lambda bundle: bundle.update(mediaType="application/json"), "no sigstore bundle"),
    "the key's name": (lambda bundle: bundle["verificationMaterial"]["publicKey"].update(hint="0" * 64), "another key"),
    "a certificate": (
        lambda bundle: bundle.update(verificationMaterial={"certificate": {"rawBytes": ""}}),
        "not made with a key",
    ),
    "no signature": (lambda bundle: envelope(bundle).update(signatures=[]), "one signature"),
    "two signatures": (lambda bundle: envelope(bundle)["signatures"].append({"sig": "", "keyid": ""}), "one signature"),
    "no envelope": (lambda bundle: bundle.pop("dsseEnvelope"), "a member of it is missing"),
    "no base64": (lambda bundle: envelope(bundle).update(payload="%"), "not base64"),
    "a number for a signature": (lambda bundle: envelope(bundle).update(signatures=[{"sig": 1}]), "does not match"),
    "a list for the envelope": (lambda bundle: bundle.update(dsseEnvelope=[]), "a member of it is missing"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_bundle_is_refused(pair: Pair, name: str) -> None:
    change, sentence = CHANGES[name]
    bundle = json.loads(make_bundle(STATEMENT, pair.key))
    assert open_bundle(json.dumps(bundle).encode(), [pair.key.public_key()]) == STATEMENT
    change(bundle)
    with pytest.raises(ValueError, match=sentence):
        open_bundle(json.dumps(bundle).encode(), [pair.key.public_key()])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b'{"mediaType": 1}',
        b"{" * 100_000,
        b"[" * 100_000,
        b'{"a": ' * 50_000,
        b"\xff\xfe{}",
        b'{"mediaType": "x", "mediaType": "y"}',
        b'{"mediaType": ' + b"9" * 10_000 + b"}",
        b" " * (MAX_BYTES + 1),
        b'{"mediaType": "\\ud800"}',
    ],
    ids=range(12),
)
def test_hostile_bytes_are_refused_in_one_sentence(pair: Pair, tmp_path: Path, small: Path, data: bytes) -> None:
    signature = tmp_path / "hostile.sig"
    signature.write_bytes(data)
    with pytest.raises(SignatureError, match=r"hostile\.sig is not accepted: ") as raised:
        verify(small, signature, [pair.key.public_key()])
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 400


def bundle_of(pair: Pair, payload: bytes) -> bytes:
    """A bundle in which any payload is signed rightly."""
    document = json.loads(make_bundle(STATEMENT, pair.key))
    signature = pair.key.sign(signed_bytes(payload), ec.ECDSA(HASHES[pair.key.curve.name]))
    envelope(document).update(payload=base64.b64encode(payload).decode())
    envelope(document)["signatures"] = [{"sig": base64.b64encode(signature).decode(), "keyid": ""}]
    return json.dumps(document).encode()


def resource(**values: object) -> Callable[[Document], object]:
    return lambda made: made["predicate"]["resources"][0].update(values)


PAYLOADS: dict[str, tuple[Callable[[Document], object], str]] = {
    "another predicate": (lambda made: made.update(predicateType="https://slsa.dev/provenance/v1"), "not https"),
    "an earlier predicate": (lambda made: made.update(predicateType="https://model_signing/Digests/v0.1"), PREDICATE),
    "another statement": (lambda made: made.update(_type="https://in-toto.io/Statement/v0.1"), "no in-toto"),
    "two subjects": (lambda made: made["subject"].append(made["subject"][0]), "is no JSON object"),
    "another root": (lambda made: made["subject"][0].update(digest={"sha256": "0" * 64}), "not that of its files"),
    "shards": (lambda made: made["predicate"]["serialization"].update(method="shards"), "sign files by sha256"),
    "blake3": (lambda made: made["predicate"]["serialization"].update(hash_type="blake3"), "sign files by sha256"),
    "a file by blake3": (resource(algorithm="blake3"), "must give the sha256"),
    "a short digest": (resource(digest="ab"), "must give the sha256"),
    "no files": (lambda made: made["predicate"].update(resources=[]), f"1 to {MAX_FILES} files"),
    "too many files": (
        lambda made: made["predicate"].update(resources=made["predicate"]["resources"] * (MAX_FILES + 1)),
        f"1 to {MAX_FILES} files",
    ),
    "a file twice": (lambda made: made["predicate"]["resources"].append(made["predicate"]["resources"][0]), "twice"),
    "a file besides": (
        lambda made: made["predicate"]["resources"].append({"name": "b", "algorithm": "sha256", "digest": "0" * 64}),
        "a single file and of others",
    ),
    **{
        f"the name {name!r}": (resource(name=name), "may lead elsewhere")
        for name in ("../x", "/etc/passwd", "a//b", "a/./b", "a/../b", "", "a\\b", "a\nb", "x" * 2000, 7)
    },
}


@pytest.mark.parametrize("name", PAYLOADS)
def test_a_signed_statement_on_anything_else_is_refused(pair: Pair, name: str) -> None:
    change, sentence = PAYLOADS[name]
    document = json.loads(STATEMENT.to_bytes())
    assert open_bundle(bundle_of(pair, json.dumps(document).encode()), [pair.key.public_key()]) == STATEMENT
    change(document)
    with pytest.raises(ValueError, match=sentence):
        open_bundle(bundle_of(pair, json.dumps(document).encode()), [pair.key.public_key()])


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff", b"[" * 100_000])
def test_a_signed_payload_that_is_no_statement_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"^it "):
        parse_statement(data)


def test_another_key_is_refused(small: Path, tmp_path: Path, pair: Pair) -> None:
    signature = tmp_path / "a.sig"
    sign(small, signature, pair.key)
    other = Pair(tmp_path, "other")
    done = run("verify", small, "--model-key", other.public, "--signature", signature)
    assert (done.exit_code, done.output) == (
        1,
        f"catsdogs: The signature {signature} is not accepted: it was made with another key.\n",
    )


def test_a_signature_by_another_key_in_the_name_of_ours_is_refused(pair: Pair, tmp_path: Path) -> None:
    for curve in CURVES.values():
        document = json.loads(make_bundle(STATEMENT, Pair(tmp_path, "other", curve).key))
        document["verificationMaterial"] = json.loads(make_bundle(STATEMENT, pair.key))["verificationMaterial"]
        with pytest.raises(ValueError, match="does not match"):
            open_bundle(json.dumps(document).encode(), [pair.key.public_key()])
        del document["verificationMaterial"]["publicKey"]["hint"]
        with pytest.raises(ValueError, match="does not match"):
            open_bundle(json.dumps(document).encode(), [pair.key.public_key()])


def test_while_a_key_is_replaced_both_are_accepted(small: Path, tmp_path: Path, pair: Pair) -> None:
    other, both, signature = Pair(tmp_path, "other"), tmp_path / "both.pem", tmp_path / "a.sig"
    both.write_bytes(other.public.read_bytes() + b"\n" + pair.public.read_bytes())
    for signer in (pair, other):
        sign(small, signature, signer.key)
        assert verify(small, signature, read_public_keys(both)).files


def public_pem(key: Any) -> bytes:
    pem: bytes = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return pem


BAD_KEYS: dict[str, tuple[bytes, str]] = {
    "a curve that is not for signatures of models": (
        public_pem(ec.generate_private_key(ec.SECP256K1())),
        "of the curve secp256k1; secp256r1, secp384r1, secp521r1 are supported",
    ),
    "another kind": (public_pem(ed25519.Ed25519PrivateKey.generate()), "another kind than elliptic curve"),
    "nothing": (b"", "must hold 1 to 16 public keys in PEM; it holds 0"),
    "no PEM": (b"AAAA" * 100, "it holds 0"),
    "a broken PEM": (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "cannot be read"),
    "a large file": (b"x" * (1 << 17), "more than 65536 bytes"),
    "a good key and a bad one": (
        public_pem(ec.generate_private_key(ec.SECP256R1())) + public_pem(ed25519.Ed25519PrivateKey.generate()),
        "another kind",
    ),
}


@pytest.mark.parametrize("name", BAD_KEYS)
def test_a_key_that_cannot_be_used_is_wrong_usage(small: Path, tmp_path: Path, name: str) -> None:
    data, sentence = BAD_KEYS[name]
    key = tmp_path / "bad.pem"
    key.write_bytes(data)
    with pytest.raises(UserError, match=sentence) as raised:
        read_public_keys(key)
    assert not isinstance(raised.value, SignatureError)


def test_a_private_key_is_no_trust_root(pair: Pair) -> None:
    with pytest.raises(UserError, match="holds a private key"):
        read_public_keys(pair.private)


def test_an_encrypted_key_needs_its_password(tmp_path: Path, small: Path, pair: Pair) -> None:
    secret, encrypted = b"correct horse", tmp_path / "encrypted.pem"
    encrypted.write_bytes(
        pair.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(secret),
        )
    )
    with pytest.raises(UserError, match="is encrypted: set CATSDOGS_SIGNING_PASSWORD"):
        read_private_key(encrypted)
    with pytest.raises(UserError, match="cannot be read with this password"):
        read_private_key(encrypted, "wrong")
    file = tmp_path / "password"
    file.write_bytes(secret + b"\n")
    out = tmp_path / "x.sig"
    done = run("sign", small, "--key", encrypted, "--out", out, CATSDOGS_SIGNING_PASSWORD_FILE=str(file))
    assert done.exit_code == 0, done.output
    assert verify(small, out, [pair.key.public_key()]).files
    with pytest.raises(UserError, match="is not encrypted: leave the password out"):
        read_private_key(pair.private, "x")


def test_what_no_server_would_take_is_not_signed(tmp_path: Path, pair: Pair) -> None:
    file = tmp_path / "other.mar"
    file.write_bytes(b"no archive")
    done = run("sign", file, "--key", pair.private)
    assert isinstance(done.exception, UserError)
    assert "is not an archive of catsdogs" in str(done.exception)
    assert not signature_of(file).exists()


class Signed:
    """An archive with its signature beside it, and the maker's public key."""

    def __init__(self, small: Path, folder: Path, pair: Pair) -> None:
        self.path, self.pair = folder / "catsdogs.mar", pair
        self.path.write_bytes(small.read_bytes())
        sign(self.path, signature_of(self.path), pair.key)


@pytest.fixture
def signed(small: Path, tmp_path: Path, pair: Pair) -> Signed:
    return Signed(small, tmp_path, pair)


def test_a_server_takes_a_signed_archive(signed: Signed) -> None:
    assert read_archive(signed.path, None, signed.pair.public) == read_archive(signed.path)


def test_a_server_refuses_an_unsigned_one(signed: Signed) -> None:
    signature_of(signed.path).unlink()
    with pytest.raises(SignatureError, match=r"catsdogs\.mar\.sig is missing: the model is not signed"):
        read_archive(signed.path, None, signed.pair.public)


def test_a_server_refuses_one_that_was_changed_and_is_whole(signed: Signed) -> None:
    members = read_members(signed.path)
    write_archive(signed.path, members | {"catsdogs_handler.py": members["catsdogs_handler.py"] + b"\nimport os\n"})
    assert read_archive(signed.path).name == "catsdogs", "without a key nothing changes"
    with pytest.raises(UserError, match=r"is not the archive that was signed: its sha256 is "):
        read_archive(signed.path, None, signed.pair.public)


def test_a_server_refuses_the_signature_of_a_folder(signed: Signed, release: Path) -> None:
    sign(release, signature_of(signed.path), signed.pair.key)
    with pytest.raises(SignatureError, match="is the signature of a folder"):
        read_archive(signed.path, None, signed.pair.public)


def test_a_signed_archive_that_is_not_the_one_that_is_wanted_is_refused(signed: Signed) -> None:
    """Somebody may put an earlier archive, with its own signature, in the place of the newest."""
    with pytest.raises(SignatureError, match="is the signature of another archive: it names "):
        read_archive(signed.path, "0" * 64, signed.pair.public)
