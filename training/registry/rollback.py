"""The way back: the alias names the champion before this one again."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from common.verdicts import Verdict
from handler.files import UserError, write_atomic
from training.registry.audit import Audit, identity
from training.registry.contents import fetch
from training.registry.registry import PROMOTED_AT, Registry, Version
from training.registry.turn import turn

Stage = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Back:
    """A rollback that was done."""

    before: Version
    after: Version
    record: Path


def rollback(
    registry: Registry,
    name: str,
    audit_root: Path,
    who: str,
    reason: str = "",
    to: int | None = None,
    archive: Path | None = None,
    on_stage: Stage = lambda text: None,
) -> Back:
    """Move the alias to the previous champion, and write that one's archive to `archive`.

    Its files are fetched and verified first: a rollback to a broken version changes nothing.

    Args:
        to: number of another version that was the champion once.

    Raises:
        UserError: there is no champion before this one, or its files are broken.
    """
    with turn(registry, name), TemporaryDirectory(prefix="catsdogs-rollback-") as scratch:
        champion = registry.champion(name)
        if champion is None:
            raise UserError(f"{name} has no champion in the registry {registry.place}. Make one by: catsdogs promote")
        target = _target(registry, champion, to)
        audit = Audit(audit_root, "rollback", who, registry.place, name)
        audit.write(champion=identity(champion), target=identity(target), reason=reason)
        try:
            on_stage(f"fetching {target}")
            contents = fetch(registry, target, Path(scratch))
            registry.move(target)
        except BaseException as error:
            sentence = str(error) if isinstance(error, UserError) else f"Stopped by {type(error).__name__}."
            audit.end("ERROR" if isinstance(error, Exception) else "STOPPED", sentence, moved=False)
            raise
        if archive:
            write_atomic(archive, contents.archive.read_bytes())
        audit.end(str(Verdict.PASS), f"{target} is the champion again, in the place of {champion}.", moved=True)
        audit.store(registry, target)
    return Back(champion, target, audit.folder)


def _target(registry: Registry, champion: Version, to: int | None) -> Version:
    number = champion.predecessor if to is None else to
    if number is None:
        raise UserError(f"{champion} was the first champion: there is none before it. Nothing was changed.")
    versions = {version.number: version for version in registry.versions(champion.name)}
    target = versions.get(number)
    if target is None:
        raise UserError(f"The registry {registry.place} has no version {number} of {champion.name}.")
    if target.number == champion.number:
        raise UserError(f"{champion} is the champion already. Nothing was changed.")
    if not target.tags.get(PROMOTED_AT):
        raise UserError(f"{target} was never the champion: it has not passed the gate. Promote its release instead.")
    return target
