"""Earlier manifests, kept beside the current one."""

from collections.abc import Callable
from pathlib import Path

import pytest

from handler.files import UserError
from training.data import manifest
from training.data.prepare import prepare

Grow = Callable[..., Path]


def test_every_manifest_is_kept_and_read_back(grow: Grow, tmp_path: Path) -> None:
    root, out = grow("rose", "tulip"), tmp_path / "data"
    first = prepare([root])
    digest = manifest.write(first, out)
    grow("daisy")
    manifest.write(prepare([root]), out)
    assert len(list(out.glob("manifest-*.csv"))) == 2
    assert (out / f"manifest-{digest[:16]}.csv").exists()
    assert manifest.read_earlier(out, digest) == first.pictures


def test_a_manifest_of_an_older_version_is_kept_when_it_is_replaced(grow: Grow, tmp_path: Path) -> None:
    root, out = grow("rose", "tulip"), tmp_path / "data"
    first = prepare([root])
    digest = manifest.write(first, out)
    (out / f"manifest-{digest[:16]}.csv").unlink()
    grow("daisy")
    manifest.write(prepare([root]), out)
    assert manifest.read_earlier(out, digest) == first.pictures


def test_an_earlier_manifest_that_is_gone_or_changed_is_told(grow: Grow, tmp_path: Path) -> None:
    out = tmp_path / "data"
    digest = manifest.write(prepare([grow("rose", "tulip")]), out)
    with pytest.raises(UserError, match=r"/manifest-0{16}\.csv, an earlier manifest, is missing"):
        manifest.read_earlier(out, "0" * 64)
    kept = out / f"manifest-{digest[:16]}.csv"
    kept.write_text(kept.read_text().replace(",train,", ",test,", 1))
    with pytest.raises(UserError, match="an earlier manifest, was changed after it was made"):
        manifest.read_earlier(out, digest)
