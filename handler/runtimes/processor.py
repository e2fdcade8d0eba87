"""The processor of this machine: who made it and which instruction sets it has."""

import platform
import re
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
X86_64 = ("x86_64", "AMD64")
# Flags of /proc/cpuinfo that decide how fast a network is, and their usual names.
INSTRUCTION_SETS = {
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx_vnni": "AVX-VNNI",
    "avx512_vnni": "AVX-512 VNNI",
    "avx512_bf16": "AVX-512 BF16",
    "amx_int8": "AMX int8",
    "asimd": "NEON",
    "asimddp": "NEON dot product",
    "i8mm": "I8MM",
}


def read_cpuinfo(path: Path = CPUINFO) -> str:
    """Return the text of /proc/cpuinfo, empty where the system has none."""
    try:
        return path.read_text()
    except OSError:
        return ""


def flags_of(cpuinfo: str) -> set[str]:
    """Return the flags of the first processor that a text of /proc/cpuinfo describes."""
    match = re.search(r"^(?:flags|Features)\s*:(.*)$", cpuinfo, re.MULTILINE)
    return set(match[1].split()) if match else set()


def instruction_sets(cpuinfo: str) -> list[str]:
    """Return the usual names of the instruction sets that matter to a network."""
    flags = flags_of(cpuinfo)
    return [name for flag, name in INSTRUCTION_SETS.items() if flag in flags]


def model_name(cpuinfo: str) -> str:
    """Return the processor's name as /proc/cpuinfo gives it, else the machine's type."""
    match = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    return match[1] if match else platform.machine()


def is_x86_64() -> bool:
    """Return whether this is a 64-bit processor of Intel's or AMD's kind."""
    return platform.machine() in X86_64
