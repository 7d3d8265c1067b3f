"""Who made the processor, what it is called, and which instruction sets it has: ``/proc/cpuinfo``.

An arm processor has no name it could give away, only two numbers: who designed the core, and which one it is (MIDR_EL1
in the Arm Architecture Reference Manual). The tables hold what servers and small boards are built from.
"""

from collections.abc import Iterator
from typing import Final

from lattice_agent.facts.cpu import parse_cpu_model
from lattice_agent.facts.lexical import clean_text
from lattice_agent.wire.host_inventory import TEXT_BYTES

FLAGS: Final = ("aes", "avx2", "avx512f", "vmx", "svm", "sve")
"""The instruction sets of interest, in the order they are reported in. ``vmx`` and ``svm`` run virtual machines."""

_FLAG_KEYS: Final = frozenset({"flags", "Features"})
_DIGITS_LIMIT: Final = 16  # characters of a hexadecimal number that are looked at
_IMPLEMENTERS: Final = {
    0x41: "ARM",
    0x42: "Broadcom",
    0x43: "Cavium",
    0x46: "Fujitsu",
    0x48: "HiSilicon",
    0x4E: "NVIDIA",
    0x50: "APM",
    0x51: "Qualcomm",
    0x53: "Samsung",
    0x56: "Marvell",
    0x61: "Apple",
    0x69: "Intel",
    0x6D: "Microsoft",
    0x70: "Phytium",
    0xC0: "Ampere",
}
_CORES: Final = {
    (0x41, 0xB76): "ARM1176",
    (0x41, 0xC07): "Cortex-A7",
    (0x41, 0xC08): "Cortex-A8",
    (0x41, 0xC09): "Cortex-A9",
    (0x41, 0xC0F): "Cortex-A15",
    (0x41, 0xD03): "Cortex-A53",
    (0x41, 0xD04): "Cortex-A35",
    (0x41, 0xD05): "Cortex-A55",
    (0x41, 0xD07): "Cortex-A57",
    (0x41, 0xD08): "Cortex-A72",
    (0x41, 0xD09): "Cortex-A73",
    (0x41, 0xD0A): "Cortex-A75",
    (0x41, 0xD0B): "Cortex-A76",
    (0x41, 0xD0C): "Neoverse-N1",
    (0x41, 0xD0D): "Cortex-A77",
    (0x41, 0xD40): "Neoverse-V1",
    (0x41, 0xD41): "Cortex-A78",
    (0x41, 0xD49): "Neoverse-N2",
    (0x41, 0xD4A): "Neoverse-E1",
    (0x41, 0xD4F): "Neoverse-V2",
    (0x41, 0xD84): "Neoverse-V3",
    (0x41, 0xD8E): "Neoverse-N3",
    (0x42, 0x516): "ThunderX2",
    (0x43, 0x0A1): "ThunderX",
    (0x43, 0x0AF): "ThunderX2",
    (0x46, 0x001): "A64FX",
    (0x48, 0xD01): "TaiShan-v110",
    (0x50, 0x000): "X-Gene",
    (0xC0, 0xAC3): "Ampere-1",
    (0xC0, 0xAC4): "Ampere-1a",
}


def parse_model(cpuinfo: str) -> str:
    """The processor's name; without one the names of its arm cores, of which there may be two kinds in one chip."""
    if model := parse_cpu_model(cpuinfo):
        return model
    names = (_CORES.get(core, "") for core in _arm_cores(cpuinfo))
    return " + ".join(dict.fromkeys(name for name in names if name))


def parse_vendor(cpuinfo: str) -> str:
    """``vendor_id``, which x86 and s390x have; on arm who designed the first core. "" elsewhere."""
    for key, value in _pairs(cpuinfo):
        if key == "vendor_id" and (vendor := clean_text(value, TEXT_BYTES)):
            return vendor
    return next((_IMPLEMENTERS.get(implementer, "") for implementer, _ in _arm_cores(cpuinfo)), "")


def parse_flags(cpuinfo: str) -> tuple[str, ...]:
    """Those of ``FLAGS`` that the first CPU has."""
    listed = next((value for key, value in _pairs(cpuinfo) if key in _FLAG_KEYS), "")
    present = frozenset(listed.split())
    return tuple(flag for flag in FLAGS if flag in present)


def _arm_cores(cpuinfo: str) -> Iterator[tuple[int, int]]:
    """Implementer and part of each CPU, in the order of the file."""
    implementer = -1
    for key, value in _pairs(cpuinfo):
        if key == "CPU implementer":
            implementer = _hexadecimal(value)
        elif key == "CPU part":
            yield implementer, _hexadecimal(value)


def _pairs(cpuinfo: str) -> Iterator[tuple[str, str]]:
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        yield key.strip(), value.strip()


def _hexadecimal(text: str) -> int:
    """A number such as ``0xd08``; -1, which no core has, for anything else."""
    try:
        return int(text[:_DIGITS_LIMIT], 16)
    except ValueError:
        return -1
