"""Operations on files of this machine, in this process."""

import sys
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

from handler.files import UserError, write_atomic
from handler.open_image import MAX_BYTES
from handler.preprocess import InputSpec
from handler.problem import Problem
from handler.release import read_release
from serving.client.pictures import find_pictures, read_picture
from serving.images.bounds import Bounds
from serving.images.operations import JSON, NPY, PNG, SUFFIXES, apply
from serving.images.parameters import read_parameters
from serving.server.archive import read_archive
from serving.server.workers import Say

STANDARD = Path("-")
# Of an operation that needs no network.
NO_NETWORK = InputSpec(224)


def run(
    operation: str,
    paths: Sequence[Path],
    out: Path,
    force: bool,
    given: Iterable[tuple[str, str]],
    model: Path | None,
    say: Say,
) -> bool:
    """Carry out an operation on each picture, and write the results.

    Args:
        out: a file, a folder, or - for standard output.
        force: whether files that exist are replaced.
        given: parameters.
        model: archive or release folder of the network, for operations that need one.
        say: told why a picture was refused.

    Returns:
        Whether every picture has a result.

    Raises:
        UserError: nothing was written.
    """
    try:
        parameters = read_parameters(operation, given)
    except Problem as problem:
        raise UserError(problem.detail) from problem
    suffix = SUFFIXES[{"npy": NPY, "json": JSON, "png": PNG}[parameters.format]]
    targets = find_targets(paths, out, suffix, force, say)
    spec = NO_NETWORK if model is None else input_of(model)
    bounds = Bounds()
    complete = True
    for source, target in targets:
        try:
            data = sys.stdin.buffer.read(MAX_BYTES + 1) if source == STANDARD else read_picture(source)
            result = bounds.run(partial(apply, operation, data, parameters, spec))
        except Problem as problem:
            say(f"{source}: {problem.detail}")
            complete = False
            continue
        except OSError as error:
            say(f"{source} cannot be read: {error.strerror}.")
            complete = False
            continue
        write_result(target, result.data)
    return complete


def write_result(target: Path, data: bytes) -> None:
    """Write a result to its file, or to standard output.

    Raises:
        UserError: its folder is a file.
    """
    if target == STANDARD:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise UserError(f"{target.parent} is a file, and no folder for {target.name}: name another by --out.") from None
    write_atomic(target, data)


def find_targets(paths: Sequence[Path], out: Path, suffix: str, force: bool, say: Say) -> list[tuple[Path, Path]]:
    """Return each picture with the file that its result is written to.

    Raises:
        UserError: a file exists, two results have the same name, or a result would not go where it is wanted.
    """
    named = [path for path in paths if path != STANDARD]
    sources = [STANDARD] * (len(paths) - len(named)) + (find_pictures(named, say) if named else [])
    if len(paths) - len(named) > 1:
        raise UserError("Standard input can be read once: give - once.")
    if out == STANDARD:
        if len(sources) > 1:
            raise UserError(f"{len(sources)} results do not go to standard output: name a folder by --out.")
        if sys.stdout.isatty():
            raise UserError("The result is no text for a terminal: name a file by --out, or redirect the output.")
        return [(sources[0], STANDARD)]
    into_folder = len(sources) > 1 or out.is_dir() or any(path.is_dir() for path in named)
    if not into_folder:
        if out.suffix.lower() != suffix:
            raise UserError(f"{out} must end in {suffix}, as the result is of that format.")
        targets = [out]
    else:
        if out.exists() and not out.is_dir():
            raise UserError(f"{out} is a file: name a folder by --out for {len(sources)} results.")
        targets = [out / f"{'stdin' if source == STANDARD else source.stem}{suffix}" for source in sources]
    for number, target in enumerate(targets):
        if target in targets[:number]:
            raise UserError(f"Two pictures would be written to {target}: give them in two commands.")
        if target.exists() and not force:
            raise UserError(f"{target} exists. To replace it, add --force.")
    return list(zip(sources, targets, strict=True))


def input_of(model: Path) -> InputSpec:
    """Return the input of the network of an archive or a release folder."""
    return read_release(model).input if model.is_dir() else read_archive(model).input
