"""The description of the machine."""

from pathlib import Path

import pytest

from loadtest.judge import machine

CPUINFO = "processor\t: 0\nmodel name\t: {model}\nflags\t\t: fpu sse2 {flags}\n\nprocessor\t: 1\nflags\t\t: amx_tile\n"


@pytest.mark.parametrize(
    ("flags", "sets"),
    [
        ("avx", []),
        ("avx avx2", ["AVX2"]),
        ("avx2 avx_vnni", ["AVX2", "VNNI"]),
        ("avx2 avx512f avx512_vnni amx_tile amx_int8", ["AVX2", "AVX-512", "VNNI", "AMX"]),
    ],
)
def test_the_instruction_sets_are_those_of_the_first_processor_s_flags(
    flags: str, sets: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpuinfo").write_text(CPUINFO.format(model="Xeon: Gold", flags=flags))
    monkeypatch.setattr(machine, "CPUINFO", tmp_path / "cpuinfo")
    assert machine.instruction_sets() == sets
    assert machine.processor() == "Xeon: Gold"


def test_a_system_without_cpuinfo_has_no_known_instruction_sets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "CPUINFO", tmp_path / "none")
    assert machine.instruction_sets() == []


def test_the_stolen_share_is_of_all_processor_time_since_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "stolen", lambda: (30.0, 1100.0))
    assert machine.stolen_share((10.0, 1000.0)) == 0.2
