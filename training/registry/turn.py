"""One promotion or rollback of a model at a time."""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from handler.files import UserError
from training.locks import Busy, Lock
from training.registry.registry import Registry, Version


@contextmanager
def turn(registry: Registry, name: str) -> Iterator[None]:
    """Hold this machine's lock of a registered model.

    Raises:
        UserError: another process on this machine promotes or rolls back the same model.
    """
    key = hashlib.sha256(f"{registry.place} {name}".encode()).hexdigest()[:16]
    path = Path(tempfile.gettempdir(), f"catsdogs-registry-{os.getuid()}-{key}.lock")
    try:
        lock = Lock(path)
    except Busy:
        raise UserError(f"Another process is changing the champion of {name}: wait for it, or stop it.") from None
    with lock:
        yield


def same_champion(registry: Registry, name: str, before: Version | None) -> bool:
    """Return whether the champion is still the one that it was: another machine may have moved the alias."""
    now = registry.champion(name)
    return (now.number if now else None) == (before.number if before else None)
