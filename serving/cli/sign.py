"""catsdogs sign and catsdogs verify: the signature of an archive or a release."""

import sys
from pathlib import Path

import click

from serving.cli.options import PATH


@click.command()
@click.argument("model", type=PATH)
@click.option("--key", required=True, type=PATH, metavar="PRIVATE.pem", help="Private key (PEM, elliptic curve).")
@click.option(
    "--out", type=PATH, metavar="FILE", show_default="MODEL.sig, or MODEL/model.sig", help="File of the signature."
)
def sign(model: Path, key: Path, out: Path | None) -> None:
    """Sign an archive or a release with a private key.

    MODEL is a .mar that `catsdogs package` made, or the folder of a release. The signature is an OpenSSF model-signing
    bundle, which `model_signing verify key` accepts too. The password of an encrypted key is read from
    $CATSDOGS_SIGNING_PASSWORD, or from the file that $CATSDOGS_SIGNING_PASSWORD_FILE names.
    """
    from handler.files import sha256_file
    from serving.gateway.keys import read_secret
    from serving.server.archive import read_archive
    from serving.signature.keys import read_private_key
    from serving.signature.model import sign as run_sign
    from serving.signature.model import signature_of

    private = read_private_key(key, read_secret("CATSDOGS_SIGNING_PASSWORD").rstrip("\n") or None)
    sha256 = None
    if not model.is_dir():
        sha256 = sha256_file(model) if model.is_file() else None
        read_archive(model, sha256)  # no server would take a signed one that is damaged
    signature = out or signature_of(model)
    statement = run_sign(model, signature, private, sha256)
    facts = f"sha256 {sha256}" if sha256 else f"{len(statement.files)} files"
    click.echo(f"{signature}  signature of {model}, {facts}")


@click.command()
@click.argument("model", type=PATH)
@click.option(
    "--model-key",
    envvar="CATSDOGS_MODEL_KEY",
    required=True,
    type=PATH,
    metavar="PUBLIC.pem",
    help="File with public keys (PEM), one of which must have signed. Default: $CATSDOGS_MODEL_KEY.",
)
@click.option(
    "--signature",
    type=PATH,
    metavar="FILE",
    show_default="MODEL.sig, or MODEL/model.sig",
    help="File of the signature.",
)
def verify(model: Path, model_key: Path, signature: Path | None) -> None:
    """Verify the signature of an archive or a release.

    MODEL is a .mar, or the folder of a release. The signature may also have been made by `model_signing sign key`. Exit
    status: 0 verified, 1 unsigned, altered, or signed with another key.
    """
    from serving.signature.keys import read_public_keys
    from serving.signature.model import SignatureError, signature_of
    from serving.signature.model import verify as run_verify

    keys = read_public_keys(model_key)
    try:
        statement = run_verify(model, signature or signature_of(model), keys)
    except SignatureError as error:
        click.echo(f"catsdogs: {error}", err=True)
        sys.exit(1)
    count = len(statement.files)
    click.echo(f"{model} is as it was signed: {count} {'file' if count == 1 else 'files'}")
