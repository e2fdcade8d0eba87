"""Limits of control groups of both versions, as containers and services find them."""

from pathlib import Path

import pytest

from serving.server.cgroup import cpu_quota, memory_limit

NONE_V1 = str((1 << 63) - 4096)


def write(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")


@pytest.fixture
def own(tmp_path: Path) -> Path:
    return tmp_path / "own"


def test_a_container_of_version_2_finds_its_limits_at_the_root(tmp_path: Path, own: Path) -> None:
    own.write_text("0::/\n")
    write(tmp_path, memory_DOT_max=str(512 << 20), cpu_DOT_max="150000 100000")
    assert (memory_limit(tmp_path, own), cpu_quota(tmp_path, own)) == (512, 1.5)


def test_a_container_of_version_1_finds_them_by_controller(tmp_path: Path, own: Path) -> None:
    own.write_text("4:memory:/kubepods/pod1\n3:cpu,cpuacct:/kubepods/pod1\n0::/x\n")
    write(tmp_path, memory__memory_DOT_limit_in_bytes=str(256 << 20))
    write(tmp_path, cpu__cpu_DOT_cfs_quota_us="100000", cpu__cpu_DOT_cfs_period_us="100000")
    assert (memory_limit(tmp_path, own), cpu_quota(tmp_path, own)) == (256, 1.0)


@pytest.mark.parametrize(
    ("line", "folder", "file"),
    [("0::/a/b", "a", "memory_DOT_max"), ("7:memory:/a/b", "memory/a", "memory_DOT_limit_in_bytes")],
)
def test_a_service_is_bound_by_the_smallest_limit_above_it(
    tmp_path: Path, own: Path, line: str, folder: str, file: str
) -> None:
    own.write_text(f"{line}\n")
    write(tmp_path / folder, **{file: str(64 << 20), f"b__{file}": str(128 << 20)})
    assert memory_limit(tmp_path, own) == 64


def test_no_limit_is_none_by_either_version(tmp_path: Path, own: Path) -> None:
    own.write_text("0::/\n")
    assert (memory_limit(tmp_path, own), cpu_quota(tmp_path, own)) == (None, None)
    write(tmp_path, memory_DOT_max="max", cpu_DOT_max="max 100000", memory__memory_DOT_limit_in_bytes=NONE_V1)
    write(tmp_path, cpu__cpu_DOT_cfs_quota_us="-1", cpu__cpu_DOT_cfs_period_us="100000")
    assert (memory_limit(tmp_path, own), cpu_quota(tmp_path, own)) == (None, None)
