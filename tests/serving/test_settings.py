from pathlib import Path

import pytest

from handler.files import UserError
from serving.server.find_java import Java
from serving.server.settings import (
    DIRECT_MIB,
    HEAP_MIB,
    JAVA_MIB,
    QUEUE,
    WORKER_MIB,
    Limits,
    Settings,
    choose_limits,
    cpu_limit,
)


@pytest.mark.parametrize(
    ("quota", "expected"), [("100000 100000", 1), ("50000 100000", 1), ("150000 100000", 1), ("max 100000", None)]
)
def test_workers_follow_the_cgroups_whole_cores(tmp_path: Path, quota: str, expected: int | None) -> None:
    (tmp_path / "cpu.max").write_text(f"{quota}\n")
    assert cpu_limit(tmp_path) == (expected or cpu_limit(tmp_path / "none"))


def test_without_a_cgroup_the_affinity_counts(tmp_path: Path) -> None:
    assert cpu_limit(tmp_path) >= 1


@pytest.mark.parametrize("memory", ["max", str(8 << 30), str((JAVA_MIB + 2 * WORKER_MIB) << 20)])
def test_memory_that_suffices_is_used_as_planned(tmp_path: Path, memory: str) -> None:
    (tmp_path / "memory.max").write_text(f"{memory}\n")
    assert choose_limits(2, cgroup=tmp_path) == Limits(2, QUEUE, HEAP_MIB)


def test_a_queue_that_is_named_is_taken(tmp_path: Path) -> None:
    assert choose_limits(1, queue=5, cgroup=tmp_path).queue == 5


def test_too_little_memory_is_one_sentence_that_says_how_much_is_needed(tmp_path: Path) -> None:
    needed = JAVA_MIB + 2 * WORKER_MIB
    (tmp_path / "memory.max").write_text(str((needed << 20) - 1))
    with pytest.raises(UserError, match=f"limit is {needed - 1} MiB, and {needed} MiB are needed: .* Raise it, or"):
        choose_limits(2, cgroup=tmp_path)


def written(folder: Path) -> dict[str, str]:
    Settings(
        folder, folder / "private", "catsdogs=catsdogs.mar", workers=3, grpc_port=17070, grpc_management_port=17071
    ).write()
    lines = (folder / "private" / "config.properties").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "private").mkdir()
    return tmp_path


def test_torchserve_is_closed_down(folder: Path) -> None:
    properties = written(folder)
    for name in ("inference", "metrics"):
        assert properties[f"{name}_address"] == f"unix:{folder}/{name}.sock"
    assert properties["management_address"] == f"unix:{folder}/private/management.sock"
    assert properties["grpc_inference_address"] == properties["grpc_management_address"] == "127.0.0.1"
    assert properties["disable_token_authorization"] == "false"
    assert properties["enable_model_api"] == "false"
    assert properties["allowed_urls"] == "^$"


def test_the_machines_facts_are_filled_in(folder: Path) -> None:
    properties = written(folder)
    assert properties["default_workers_per_model"] == "3"
    assert properties["load_models"] == "catsdogs=catsdogs.mar"
    assert "$" not in (folder / "private" / "log4j2.xml").read_text()
    assert "$" not in (folder / "private" / "logging.properties").read_text()


def test_java_takes_no_more_memory_than_is_planned_for_it(tmp_path: Path) -> None:
    arguments = Settings.java_arguments(Java(tmp_path, 17), tmp_path, tmp_path)
    assert f"-Xmx{HEAP_MIB}m" in arguments
    assert f"-XX:MaxDirectMemorySize={DIRECT_MIB}m" in arguments
    assert HEAP_MIB + DIRECT_MIB < JAVA_MIB


def test_only_a_new_java_gets_the_flags_that_an_old_one_refuses(tmp_path: Path) -> None:
    flag = "--enable-native-access=ALL-UNNAMED"
    assert flag in Settings.java_arguments(Java(tmp_path, 25), tmp_path, tmp_path)
    assert flag not in Settings.java_arguments(Java(tmp_path, 17), tmp_path, tmp_path)


def test_a_cache_of_classes_is_used_where_one_was_made_by_a_java_that_can(tmp_path: Path) -> None:
    java = tmp_path / "bin" / "java"
    flag = f"-XX:AOTCache={tmp_path}/lib/torchserve.aot"
    assert flag not in Settings.java_arguments(Java(java, 25), tmp_path, tmp_path)
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "torchserve.aot").touch()
    assert flag in Settings.java_arguments(Java(java, 25), tmp_path, tmp_path)
    assert flag not in Settings.java_arguments(Java(java, 21), tmp_path, tmp_path)
