"""Results of decoding are kept, so that a stopped run goes on and the next one is quick."""

import errno
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from handler.files import UserError
from training.data import manifest, scan
from training.data.prepare import prepare

Invoke = Callable[..., str]
Folders = Callable[..., Path]

# A shell without job control starts background jobs deaf to Ctrl-C, and pytest may be one.
COMMAND = """
import os, signal
import catsdogs, training.data.scan, training.data.manifest
signal.signal(signal.SIGINT, signal.default_int_handler)
{patch}
catsdogs.main()
"""
AFTER_100 = """
write, count = training.data.scan._write_line, 0
def counted(*arguments):
    global count
    write(*arguments)
    count += 1
    if count == 100:
        {action}
training.data.scan._write_line = counted
"""
BEFORE_MANIFEST = """
write = training.data.manifest.write_atomic
def killed(path, *arguments):
    if path.name == "manifest.csv":
        os.kill(os.getpid(), signal.SIGKILL)
    write(path, *arguments)
training.data.manifest.write_atomic = killed
"""


def run_patched(patch: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The command in a process group of its own; returns when its last worker has ended, as they hold the pipes."""
    return subprocess.run(
        [sys.executable, "-c", COMMAND.format(patch=patch), "prepare", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        start_new_session=True,
    )


def decoded(output: str) -> tuple[int, int]:
    """Return the number of files that had to be decoded, and of all files."""
    counts = re.search(r"(\d+) of (\d+) files had to be decoded", output)
    assert counts is not None
    return int(counts[1]), int(counts[2])


def die(path: Path) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_second_run_decodes_nothing_and_gives_the_same(tmp_path: Path, class_folders: Folders) -> None:
    folder, kept = class_folders(tmp_path / "web", 20), tmp_path / "scan.jsonl"
    (folder / "Cat" / "broken.jpg").write_bytes(b"broken")
    first = prepare([folder], kept=kept)
    second = prepare([folder], kept=kept)
    assert (first.decoded, second.decoded) == (41, 0)
    assert (second.pictures, second.quarantine) == (first.pictures, first.quarantine)


def test_only_a_changed_file_is_decoded_again(tmp_path: Path, class_folders: Folders) -> None:
    folder, kept = class_folders(tmp_path / "web", 5), tmp_path / "scan.jsonl"
    prepare([folder], kept=kept)
    changed = folder / "Cat" / "0.jpg"
    changed.write_bytes((folder / "Cat" / "1.jpg").read_bytes())
    again = prepare([folder], kept=kept)
    shas = {picture.path: picture.sha256 for picture in again.pictures}
    assert again.decoded == 1
    assert shas["Cat/0.jpg"] == shas["Cat/1.jpg"]


def test_a_change_that_keeps_the_size_is_seen_by_the_time(tmp_path: Path, class_folders: Folders) -> None:
    folder, kept = class_folders(tmp_path / "web", 3), tmp_path / "scan.jsonl"
    prepare([folder], kept=kept)
    path = folder / "Cat" / "0.jpg"
    before = path.stat()
    path.write_bytes(bytes(before.st_size))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert [row.path for row in prepare([folder], kept=kept).quarantine] == ["Cat/0.jpg"]


@pytest.mark.parametrize("end", [b"", b'["1, Pillow', b"\xff\xfe\n", b"{}\n[1]\n"])
def test_a_line_that_was_cut_off_costs_its_picture_only(tmp_path: Path, class_folders: Folders, end: bytes) -> None:
    folder, kept = class_folders(tmp_path / "web", 5), tmp_path / "scan.jsonl"
    whole = prepare([folder], kept=kept)
    lines = kept.read_bytes().splitlines(keepends=True)
    kept.write_bytes(b"".join(lines[:-1]) + lines[-1][:20] + end)
    again = prepare([folder], kept=kept)
    assert (again.decoded, again.pictures) == (1, whole.pictures)
    assert prepare([folder], kept=kept).decoded == 0


def test_what_another_decoder_found_is_not_taken(
    tmp_path: Path, class_folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, kept = class_folders(tmp_path / "web", 3), tmp_path / "scan.jsonl"
    prepare([folder], kept=kept)
    monkeypatch.setattr(scan, "DECODER", "1, Pillow 1.0")
    assert prepare([folder], kept=kept).decoded == 6


def test_a_reason_that_may_pass_is_not_kept(tmp_path: Path, class_folders: Folders) -> None:
    folder, kept = class_folders(tmp_path / "web", 3), tmp_path / "scan.jsonl"
    (folder / "Cat" / "link.jpg").symlink_to(tmp_path / "later.jpg")
    before = prepare([folder], kept=kept)
    assert [(row.path, row.reason) for row in before.quarantine] == [
        ("Cat/link.jpg", "unreadable: No such file or directory")
    ]
    class_folders(tmp_path / "other", 1, first_seed=50)
    (tmp_path / "other" / "Cat" / "50.jpg").rename(tmp_path / "later.jpg")
    after = prepare([folder], kept=kept)
    assert (after.decoded, after.quarantine, len(after.pictures)) == (1, [], 7)


def test_old_lines_of_changed_pictures_do_not_pile_up(tmp_path: Path, class_folders: Folders) -> None:
    folder, kept = class_folders(tmp_path / "web", 3), tmp_path / "scan.jsonl"
    prepare([folder], kept=kept)
    kept.write_bytes(kept.read_bytes() * 300)
    assert prepare([folder], kept=kept).decoded == 0
    assert len(kept.read_bytes().splitlines()) == 6


def test_odd_names_are_kept_too(tmp_path: Path, class_folders: Folders) -> None:
    folder, kept = class_folders(tmp_path / "web", 3), tmp_path / "scan.jsonl"
    (folder / "Cat" / "0.jpg").rename(folder / "Cat" / 'a "strange",\n\u2028 näme.jpg')
    (folder / "Cat" / "1.jpg").rename(folder / "Cat" / os.fsdecode(b"\xff.jpg"))
    assert [prepare([folder], kept=kept).decoded for _ in range(2)] == [6, 0]


def test_progress_begins_with_what_is_known(tmp_path: Path, class_folders: Folders) -> None:
    folder, kept = class_folders(tmp_path / "web", 20), tmp_path / "scan.jsonl"
    seen: list[tuple[int, int]] = []
    prepare([folder], progress=lambda done, total: seen.append((done, total)), kept=kept)
    assert (seen[0], seen[-1]) == ((0, 40), (40, 40))
    assert seen == sorted(seen)
    seen.clear()
    prepare([folder], progress=lambda done, total: seen.append((done, total)), kept=kept)
    assert seen == [(40, 40)]


def test_a_killed_run_goes_on_and_ends_as_an_undisturbed_one(
    tmp_path: Path, class_folders: Folders, invoke: Invoke
) -> None:
    folder = class_folders(tmp_path / "web", 150)
    (folder / "Dog" / "broken.jpg").write_bytes(b"broken")
    patch = AFTER_100.format(action="os.kill(os.getpid(), signal.SIGKILL)")
    killed = run_patched(patch, folder, "--out", tmp_path / "killed")
    assert killed.returncode == -signal.SIGKILL
    assert sorted(path.name for path in (tmp_path / "killed").iterdir()) == ["scan.jsonl"]
    assert decoded(invoke("prepare", folder, "--out", tmp_path / "killed")) == (201, 301)
    assert decoded(invoke("prepare", folder, "--out", tmp_path / "undisturbed")) == (301, 301)
    for name in ("manifest.csv", "quarantine.csv", "moves.csv"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "undisturbed" / name).read_bytes()


def test_a_run_killed_between_its_files_leaves_a_manifest_that_the_next_run_takes(
    tmp_path: Path, class_folders: Folders, invoke: Invoke
) -> None:
    folder, out = class_folders(tmp_path / "web", 5), tmp_path / "data"
    for place in (out, tmp_path / "undisturbed"):
        invoke("prepare", folder, "--out", place, "--split", "1/1/1")
    class_folders(folder, 5, first_seed=70)
    killed = run_patched(BEFORE_MANIFEST, folder, "--out", out, "--split", "1/1/1")
    assert killed.returncode == -signal.SIGKILL
    with pytest.raises(UserError, match=r"prepare was stopped before it had written .*manifest\.csv\. Run it again\."):
        manifest.read(out)
    invoke("prepare", folder, "--out", out, "--split", "1/1/1")
    invoke("prepare", folder, "--out", tmp_path / "undisturbed", "--split", "1/1/1")
    assert (out / "manifest.csv").read_bytes() == (tmp_path / "undisturbed" / "manifest.csv").read_bytes()


def test_ctrl_c_ends_all_processes_with_one_sentence(tmp_path: Path, class_folders: Folders, invoke: Invoke) -> None:
    folder, out = class_folders(tmp_path / "web", 150), tmp_path / "data"
    # As a terminal does: to the command and its workers.
    patch = AFTER_100.format(action="os.killpg(0, signal.SIGINT)")
    stopped = run_patched(patch, folder, "--out", out)
    assert stopped.stderr == "catsdogs: Stopped. To resume, give the same command again.\n"
    assert (stopped.returncode, stopped.stdout) == (130, "")
    assert decoded(invoke("prepare", folder, "--out", out)) == (200, 300)


def test_a_full_disk_is_told_and_leaves_no_manifest(
    tmp_path: Path, class_folders: Folders, monkeypatch: pytest.MonkeyPatch, invoke: Invoke
) -> None:
    def full(write: object, result: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(scan, "_write_line", full)
    with pytest.raises(OSError, match="No space left on device"):
        invoke("prepare", class_folders(tmp_path / "web", 30), "--out", tmp_path / "data")
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["scan.jsonl"]


def test_a_worker_that_was_killed_is_told_in_a_sentence(
    tmp_path: Path, class_folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "scan_file", die)
    with pytest.raises(UserError, match="A process that decodes pictures was killed"):
        prepare([class_folders(tmp_path / "web", 3)])
