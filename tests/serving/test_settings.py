from pathlib import Path

import pytest

from handler.files import UserError
from serving.java import Java
from serving.settings import Limits, Settings, choose_limits, cpu_limit


@pytest.mark.parametrize(
    ("quota", "expected"), [("100000 100000", 1), ("50000 100000", 1), ("150000 100000", 1), ("max 100000", None)]
)
def test_workers_follow_the_cgroups_whole_cores(tmp_path: Path, quota: str, expected: int | None) -> None:
    (tmp_path / "cpu.max").write_text(f"{quota}\n")
    assert cpu_limit(tmp_path) == (expected or cpu_limit(tmp_path / "none"))


def test_without_a_cgroup_the_affinity_counts(tmp_path: Path) -> None:
    assert cpu_limit(tmp_path) >= 1


@pytest.mark.parametrize(
    ("memory", "workers", "expected"),
    [
        ("max", 2, Limits(2, 32, 1024)),
        (str(8 << 30), 2, Limits(2, 32, 1024)),
        (str(2 << 30), 2, Limits(2, 24, 768)),
        (str(1 << 30), 1, Limits(1, 8, 256)),
    ],
)
def test_the_heap_takes_what_workers_leave_of_the_memory_and_the_queue_follows(
    tmp_path: Path, memory: str, workers: int, expected: Limits
) -> None:
    (tmp_path / "memory.max").write_text(f"{memory}\n")
    assert choose_limits(workers, cgroup=tmp_path) == expected


def test_a_queue_that_is_named_is_taken(tmp_path: Path) -> None:
    assert choose_limits(1, queue=5, cgroup=tmp_path).queue == 5


def test_too_little_memory_is_one_sentence_that_says_how_much_is_needed(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text(str(1 << 30))
    with pytest.raises(UserError, match="limit is 1024 MiB; 2 workers need 1536 MiB, and 2304 MiB for a full queue"):
        choose_limits(2, cgroup=tmp_path)


def written(folder: Path) -> dict[str, str]:
    Settings(folder, "catsdogs=catsdogs.mar", workers=3, grpc_port=17070, grpc_management_port=17071).write()
    lines = (folder / "config.properties").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_torchserve_is_closed_down(tmp_path: Path) -> None:
    properties = written(tmp_path)
    for name in ("inference", "management", "metrics"):
        assert properties[f"{name}_address"].startswith(f"unix:{tmp_path}/")
    assert properties["grpc_inference_address"] == properties["grpc_management_address"] == "127.0.0.1"
    assert properties["enable_model_api"] == "false"
    assert properties["allowed_urls"] == "^$"


def test_the_machines_facts_are_filled_in(tmp_path: Path) -> None:
    properties = written(tmp_path)
    assert properties["default_workers_per_model"] == "3"
    assert properties["load_models"] == "catsdogs=catsdogs.mar"
    assert "$" not in (tmp_path / "log4j2.xml").read_text()


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
