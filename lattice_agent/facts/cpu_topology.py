"""How many packages, cores and threads the machine has: ``/sys/devices/system/cpu``, or ``/proc/cpuinfo`` without it.

Each CPU's ``topology`` directory lists the CPUs it shares a core and a package with. A core is looked at once, through
the first of its CPUs: with 512 of them the file of each would cost several milliseconds.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lattice_agent.facts.lexical import parse_count
from lattice_agent.facts.rooted import read_text

CPU_NUMBERS: Final = 8192
"""What the largest kernels are built for. A number from there on is a fault, and not a reason to count up to it."""

_PLACE: Final = "sys/devices/system/cpu"
_SHORT: Final = 4096  # bytes; each of these files is one line
_CORE_LISTS: Final = ("core_cpus_list", "thread_siblings_list")  # the second name is that of kernels before 5.3
_PACKAGE_LISTS: Final = ("package_cpus_list", "core_siblings_list")
_NO_PACKAGE: Final = "-1"  # what arm and some hypervisors say; such CPUs count as one package


@dataclass(frozen=True, slots=True)
class Topology:
    """``None`` is not known. ``first_cpus`` holds one CPU of each core, or all if cores are not known."""

    sockets: int | None = None
    cores: int | None = None
    threads: int | None = None
    first_cpus: tuple[int, ...] = ()


def parse_cpu_list(text: str) -> tuple[int, ...]:
    """The numbers of a list as the kernel writes it, ascending; parts that are broken or absurd are left out.

    >>> parse_cpu_list("0-3,8\\n"), parse_cpu_list("5-4,x,1")
    ((0, 1, 2, 3, 8), (1,))
    """
    numbers: set[int] = set()
    for part in text.strip().split(","):
        first, dash, last = part.partition("-")
        start = parse_count(first, CPU_NUMBERS - 1)
        end = parse_count(last, CPU_NUMBERS - 1) if dash else start
        if start is not None and end is not None:
            numbers.update(range(start, end + 1))
    return tuple(sorted(numbers))


def read_online(root: Path) -> str:
    """The list of online CPUs as the kernel writes it."""
    return read_text(root, f"{_PLACE}/online", _SHORT)


def read_topology(root: Path, online: Sequence[int]) -> Topology:
    """What sysfs says of the given CPUs; a figure it does not give is ``None``."""
    cores = tuple(cpu for cpu, _ in _groups(root, online, _CORE_LISTS))
    return Topology(
        sockets=_count_packages(root, online, cores) or None,
        cores=len(cores) or None,
        threads=len(online) or None,
        first_cpus=cores or tuple(online),
    )


def _count_packages(root: Path, online: Sequence[int], cores: Sequence[int]) -> int:
    """By lists, because numbers may repeat (s390x); by numbers where there are no lists."""
    listed = [_read_package(root, cpu) for cpu, _ in _groups(root, online, _PACKAGE_LISTS)]
    numbered = {number for cpu in cores or online if (number := _read_package(root, cpu))} if not listed else set()
    packages = listed or list(numbered)
    return sum(1 for package in packages if package != _NO_PACKAGE) + (_NO_PACKAGE in packages)


def _read_package(root: Path, cpu: int) -> str:
    return _read(root, cpu, "physical_package_id")


def _groups(root: Path, online: Sequence[int], names: Sequence[str]) -> Iterator[tuple[int, set[int]]]:
    """The sets that CPUs are divided into by the first of these lists that is there, each with its first online CPU.

    A CPU without a list (it went offline just now) is passed over.
    """
    seen: set[int] = set()
    for cpu in online:
        if cpu not in seen and (siblings := _read_siblings(root, cpu, names)):
            seen |= siblings
            yield cpu, siblings


def _read_siblings(root: Path, cpu: int, names: Sequence[str]) -> set[int]:
    lists = (parse_cpu_list(_read(root, cpu, name)) for name in names)
    return set(next((cpus for cpus in lists if cpus), ()))


def _read(root: Path, cpu: int, name: str) -> str:
    return read_text(root, f"{_PLACE}/cpu{cpu}/topology/{name}", _SHORT).strip()


def parse_cpuinfo_topology(cpuinfo: str) -> Topology:
    """What ``/proc/cpuinfo`` says in its sections, one per CPU: x86 numbers packages and cores there, arm only CPUs.

    Core numbers start anew in each package.
    """
    sections = list(_sections(cpuinfo))
    packages = {section["physical id"] for section in sections if "physical id" in section}
    cores = {(section.get("physical id"), section["core id"]) for section in sections if "core id" in section}
    return Topology(len(packages) or None, len(cores) or None, len(sections) or None)


def _sections(cpuinfo: str) -> Iterator[dict[str, str]]:
    for text in cpuinfo.split("\n\n"):
        pairs = (line.partition(":") for line in text.splitlines())
        section = {key.strip(): value.strip() for key, _, value in pairs}
        if section.get("processor", "").isdigit():
            yield section


def read_max_khz(root: Path, cpus: Sequence[int]) -> int | None:
    """The highest clock rate any of the CPUs can be driven at; ``None`` when none says it. Siblings share theirs."""
    texts = (read_text(root, f"{_PLACE}/cpu{cpu}/cpufreq/cpuinfo_max_freq", _SHORT) for cpu in cpus)
    return max((rate for text in texts if (rate := parse_count(text.strip()))), default=None)
