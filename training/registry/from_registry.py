"""The archive of a registered version, made of the release that the registry keeps."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from handler.files import UserError, write_atomic
from training.registry.chart import values_file
from training.registry.contents import fetch
from training.registry.open_registry import open_registry
from training.registry.registry import ARCHIVE, ARCHIVE_SHA256, find_version
from training.release.kinds import CPU
from training.release.naming import STORE
from training.release.package import package


def package_version(
    address: str,
    out: Path | None,
    kind: str,
    replace: bool,
    say: Callable[[str], None],
    chart_values: Path | None = None,
) -> tuple[Path, str]:
    """Package the release of a version, and return the archive's path and its SHA-256.

    Args:
        chart_values: file for the chart's values by which pods fetch the promoted archive from the registry.

    Raises:
        UserError: there is no such version, the archive for CPUs is not the one that was promoted, or pods cannot fetch
            from this registry.
    """
    registry = open_registry()
    version = find_version(registry, address)
    say(f"{address} is {version}.")
    values = values_file(version) if chart_values is not None else ""
    with TemporaryDirectory(prefix="catsdogs-registry-") as scratch:
        contents = fetch(registry, version, Path(scratch))
        out = out or STORE / version.tags[ARCHIVE]
        out.parent.mkdir(parents=True, exist_ok=True)
        digest = package(contents.release, out, kind, replace)
    if kind == CPU and digest != version.tags[ARCHIVE_SHA256]:
        raise UserError(
            f"{out} is not the archive that was promoted, whose SHA-256 is {version.tags[ARCHIVE_SHA256]}: this is "
            f"another version of catsdogs. Package the release with that version, or serve the promoted archive by: "
            f"catsdogs fetch {version.address} {out}"
        )
    if chart_values is not None:
        write_atomic(chart_values, values.encode())
    return out, digest
