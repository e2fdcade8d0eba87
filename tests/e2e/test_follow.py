"""An archive that is replaced while it is served: `catsdogs serve FILE --follow`."""

import json
import shutil
from pathlib import Path

import httpx

from handler.members import MANIFEST, manifest_text
from tests import zoo
from tests.archives import read_members, write_archive
from tests.e2e.support import PATH, command, wait_for


def other_version(archive: Path, out: Path) -> Path:
    """Write the archive as version 9.9.9 of a tracked run."""
    members = read_members(archive)
    release = {**json.loads(members["release.json"]), "version": "9.9.9", "run_id": "0123abcd"}
    manifest = json.loads(members[MANIFEST])
    manifest["model"]["modelVersion"] = "9.9.9"
    changed = {
        **members,
        "release.json": json.dumps(release, indent=2).encode() + b"\n",
        MANIFEST: manifest_text(manifest),
    }
    return write_archive(out, changed)


def test_a_replaced_archive_is_served_and_a_broken_one_is_not(archive: Path, tmp_path: Path) -> None:
    served = tmp_path / "served.mar"
    shutil.copyfile(archive, served)
    with command(str(served), "--follow", "--workers", "1") as (child, port, _):
        url = f"http://127.0.0.1:{port}"

        def model() -> dict[str, str]:
            try:
                answer = httpx.post(f"{url}{PATH}", content=zoo.CAT.read_bytes(), trust_env=False, timeout=10)
            except httpx.HTTPError:
                return {}
            return answer.json().get("model", {}) if answer.status_code == 200 else {}

        before = model()
        assert "run_id" not in before  # the release was not tracked
        (tmp_path / "broken.mar").write_bytes(archive.read_bytes()[:1000])
        (tmp_path / "broken.mar").rename(served)
        assert child.stderr is not None
        line = next(line for line in child.stderr if "served on" in line)
        assert "The last archive is served on." in line
        assert model() == before
        other_version(archive, tmp_path / "other.mar").rename(served)
        wait_for(lambda: model().get("version") == "9.9.9", 60, "the other version is served")
        assert model() == {**before, "version": "9.9.9", "run_id": "0123abcd"}
        document = httpx.get(f"{url}/openapi.json", trust_env=False).json()
        assert "run_id" not in document["components"]["schemas"]["Model"]["required"]
        child.terminate()
        assert child.wait(60) == 0


def test_a_followed_archive_cannot_be_pinned(archive: Path) -> None:
    import click.testing

    import catsdogs

    arguments = ["serve", str(archive), "--follow", "--sha256", "0" * 64]
    done = click.testing.CliRunner().invoke(catsdogs.cli, arguments)
    assert done.exit_code == 2
    assert "--follow" in done.output
