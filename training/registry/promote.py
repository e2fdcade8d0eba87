"""A release becomes a registered version, and the champion where it passes the gate.

The alias moves in one step, after all else: a kill leaves the champion that was, or the new one with all its tags.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from common.verdicts import Verdict
from handler.files import UserError, write_atomic
from training.data.manifest import Manifest
from training.evaluation.comparison import compare
from training.evaluation.contestants import Progress
from training.registry.audit import Audit, identity
from training.registry.contents import Contents, fetch, stage
from training.registry.gate import Check, Limits, judge, overall
from training.registry.measure import latency_of, measure, test_sha256
from training.registry.registry import (
    ARCHIVE_BYTES,
    PREDECESSOR,
    PROMOTED_AT,
    RELEASE_SHA256,
    TEST_SHA256,
    VERDICT,
    Registry,
    Version,
)
from training.registry.turn import same_champion, turn

Stage = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Request:
    """A release, its test pictures, and how the promotion is to be judged."""

    release: Path
    manifest: Manifest
    audit: Path
    """Folder that the records are written below."""
    who: str
    limits: Limits = field(default_factory=Limits)
    new_test_set: bool = False
    """Whether the test split may be another one than the champion was promoted on."""
    archive: Path | None = None
    """File that gets the archive of the version that passes."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of a promotion."""

    verdict: Verdict
    sentence: str
    checks: list[Check]
    version: Version
    champion: Version | None
    """The champion before."""
    record: Path

    @property
    def moved(self) -> bool:
        return self.verdict is Verdict.PASS


def promote(
    registry: Registry,
    request: Request,
    on_stage: Stage = lambda text: None,
    progress: Progress = lambda done, total: None,
) -> Outcome:
    """Register a release, judge it beside the champion, and make it the champion on a pass.

    Raises:
        UserError: the release or a registered file is broken, the registry does not answer, the release is the
            champion already, or another process promotes.
    """
    with TemporaryDirectory(prefix="catsdogs-promote-") as scratch:
        on_stage("packaging the release")
        contents = stage(request.release, Path(scratch, "candidate"))
        name = contents.facts.name
        with turn(registry, name):
            champion = registry.champion(name)
            if champion and champion.tags.get(RELEASE_SHA256) == contents.tags[RELEASE_SHA256]:
                raise UserError(f"{champion} is the champion already, with the same files. Nothing was changed.")
            audit = Audit(request.audit, "promote", request.who, registry.place, name)
            try:
                return _promote(registry, request, contents, champion, audit, Path(scratch), on_stage, progress)
            except BaseException as error:
                sentence = str(error) if isinstance(error, UserError) else f"Stopped by {type(error).__name__}."
                audit.end("ERROR" if isinstance(error, Exception) else "STOPPED", sentence, moved=False)
                raise


def _promote(
    registry: Registry,
    request: Request,
    contents: Contents,
    champion: Version | None,
    audit: Audit,
    scratch: Path,
    on_stage: Stage,
    progress: Progress,
) -> Outcome:
    on_stage("registering the release")
    version = _register(registry, contents)
    locked = test_sha256(request.manifest)
    audit.write(
        candidate=identity(version),
        champion=identity(champion),
        manifest_sha256=request.manifest.sha256,
        test_sha256=locked,
        test_pictures=len(request.manifest.split("test")),
        limits=dataclasses.asdict(request.limits),
    )
    on_stage("asking the test pictures")
    if champion is None:
        checks = _first(contents, request, audit, progress)
    else:
        checks = _against(registry, champion, contents, request, audit, scratch, progress)
    verdict, sentence = overall(checks), _sentence(checks, version, champion)
    if verdict is Verdict.PASS and not same_champion(registry, version.name, champion):
        verdict = Verdict.INVALID
        sentence = "Another machine changed the champion during the comparison: promote again to compare with that one."
    audit.write(
        checks=[dataclasses.asdict(check) for check in checks], verdict=str(verdict), exit_code=verdict.exit_code
    )
    registry.tag(version, {VERDICT: str(verdict)})
    if verdict is Verdict.PASS:
        registry.tag(
            version,
            {
                TEST_SHA256: locked,
                PROMOTED_AT: datetime.now(UTC).isoformat(timespec="seconds"),
                PREDECESSOR: str(champion.number) if champion else "",
            },
        )
        registry.move(version)
    audit.end(str(verdict), sentence, moved=verdict is Verdict.PASS)
    audit.store(registry, version)
    if verdict is Verdict.PASS and request.archive:
        write_atomic(request.archive, contents.archive.read_bytes())
    return Outcome(verdict, sentence, checks, version, champion, audit.folder)


def _register(registry: Registry, contents: Contents) -> Version:
    """Return the version of these very files, which an earlier attempt may have registered."""
    name, tags = contents.facts.name, contents.tags
    for version in reversed(registry.versions(name)):
        if version.tags.get(RELEASE_SHA256) == tags[RELEASE_SHA256]:
            return version
    return registry.register(name, contents.folder, contents.facts.run_id, tags)


def _first(contents: Contents, request: Request, audit: Audit, progress: Progress) -> list[Check]:
    """Measure a first version, which there is nothing to compare with."""
    measured = measure(contents.archive, request.manifest, progress)
    if measured.invalid:
        return [Check("test set", Verdict.INVALID, measured.invalid)]
    figures = measured.figures
    audit.write(figures=figures)
    share = f"{figures['right']} of {figures['count']} test pictures are right"
    bounds = f"95 % interval {100 * figures['low']:.2f} to {100 * figures['high']:.2f} %"
    return [
        Check(
            "accuracy",
            Verdict.PASS,
            f"There is no champion to compare with. {share}: {100 * figures['accuracy']:.2f} % ({bounds}).",
            figures,
        )
    ]


def _against(
    registry: Registry,
    champion: Version,
    contents: Contents,
    request: Request,
    audit: Audit,
    scratch: Path,
    progress: Progress,
) -> list[Check]:
    """Compare with the champion, archive against archive."""
    locked, now = champion.tags.get(TEST_SHA256, ""), test_sha256(request.manifest)
    if locked != now and not request.new_test_set:
        return [
            Check(
                "test set",
                Verdict.INVALID,
                f"The test pictures are not those that {champion} was promoted on ({now[:12]}, not {locked[:12]}). "
                "Name the folder of that manifest by --data, or accept this test set by --new-test-set.",
                {"locked": locked, "test_sha256": now},
            )
        ]
    old = fetch(registry, champion, _empty(scratch / "champion")).archive
    report = compare(old, contents.archive, request.manifest, audit.folder, request.limits.margin, progress=progress)
    if "all" not in report:
        sentence = report["sentence"].replace("OLD", "The champion").replace("NEW", "The candidate")
        return [Check("test set", Verdict.INVALID, sentence)]
    sha256s = {picture.path: picture.sha256 for picture in request.manifest.split("test")}
    audit.write(discordant=[{**row, "sha256": sha256s[row["path"]]} for row in report["differences"]])
    sizes = (int(champion.tags[ARCHIVE_BYTES]), contents.archive.stat().st_size)
    return judge(report, latency_of(old, contents.archive, request.manifest), sizes, request.limits)


def _sentence(checks: list[Check], version: Version, champion: Version | None) -> str:
    failed = [check.name for check in checks if check.verdict is not Verdict.PASS]
    if not failed:
        return f"{version} is the champion" + (f", in the place of {champion}." if champion else ", the first one.")
    stays = f"{champion} stays the champion" if champion else "There is still no champion"
    return f"{version} is registered and not promoted ({', '.join(failed)}). {stays}."


def _empty(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder
