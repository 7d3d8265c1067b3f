import os
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lattice_agent.facts.cpu_identity import parse_flags, parse_model, parse_vendor
from lattice_agent.facts.cpu_topology import CPU_NUMBERS, Topology, parse_cpu_list, parse_cpuinfo_topology
from lattice_agent.facts.errors import FactsError
from lattice_agent.facts.inventory.cpu import fingerprint, read
from lattice_agent.wire.host_inventory import Cpu
from tests.unit.facts.trees import CPUINFO, STAT, write_tree

CPU = "sys/devices/system/cpu"
RASPBERRY_64 = """\
processor	: 0
BogoMIPS	: 108.00
Features	: fp asimd evtstrm crc32 cpuid
CPU implementer	: 0x41
CPU architecture: 8
CPU variant	: 0x0
CPU part	: 0xd08
CPU revision	: 3

processor	: 1
CPU implementer	: 0x41
CPU part	: 0xd08
"""
RASPBERRY_32 = """\
processor	: 0
model name	: ARMv7 Processor rev 4 (v7l)
Features	: half thumb fastmult vfp edsp neon vfpv3
CPU implementer	: 0x41
CPU part	: 0xd03

Hardware	: BCM2835
Model		: Raspberry Pi 3 Model B
"""
S390 = """\
vendor_id       : IBM/S390
# processors    : 2
features	: esan3 zarch stfle msa
processor 0: version = 00,  identification = 0A1B2C,  machine = 8561
processor 1: version = 00,  identification = 0A1B2C,  machine = 8561
"""
RISCV = "processor\t: 0\nhart\t\t: 1\nisa\t\t: rv64imafdc\nuarch\t\t: sifive,u74-mc\nmvendorid\t: 0x489\n"


def arm(*cores: str) -> str:
    return "\n".join(
        f"processor\t: {n}\nCPU implementer\t: {c[:4]}\nCPU part\t: {c[5:]}\n" for n, c in enumerate(cores)
    )


def topology(cpu: int, package: int | str, core: str, siblings: str, *, old: bool = False) -> dict[str, str | bytes]:
    names = ("thread_siblings_list", "core_siblings_list") if old else ("core_cpus_list", "package_cpus_list")
    values = (f"{package}\n", f"{core}\n", f"{siblings}\n")
    files = zip(("physical_package_id", *names), values, strict=True)
    return {f"{CPU}/cpu{cpu}/topology/{name}": value for name, value in files}


@pytest.mark.parametrize(
    ("cpuinfo", "model", "vendor"),
    [
        (CPUINFO, "Example CPU @ 2.00GHz", "ExampleVendor"),
        (RASPBERRY_64, "Cortex-A72", "ARM"),
        (RASPBERRY_32, "ARMv7 Processor rev 4 (v7l)", "ARM"),
        (S390, "", "IBM/S390"),
        (RISCV, "", ""),
        (arm("0x41/0xd03", "0x41/0xd03", "0x41/0xd08"), "Cortex-A53 + Cortex-A72", "ARM"),
        (arm("0x41/0xd0c"), "Neoverse-N1", "ARM"),
        (arm("0x41/0xd4f"), "Neoverse-V2", "ARM"),
        (arm("0xc0/0xac3"), "Ampere-1", "Ampere"),
        (arm("0x48/0xd01"), "TaiShan-v110", "HiSilicon"),
        (arm("0x41/0xfff"), "", "ARM"),
        (arm("0xff/0xd08"), "", ""),
        ("CPU part\t: 0xd08\n", "", ""),
        ("vendor_id\t:\nvendor_id\t: B\n", "", "B"),
        ("", "", ""),
    ],
)
def test_a_processor_has_a_name_and_a_maker(cpuinfo: str, model: str, vendor: str) -> None:
    assert (parse_model(cpuinfo), parse_vendor(cpuinfo)) == (model, vendor)


@pytest.mark.parametrize(
    ("cpuinfo", "flags"),
    [
        ("flags\t\t: fpu svm avx512f aes avx2 avx512bw\n", ("aes", "avx2", "avx512f", "svm")),
        ("flags\t\t: vmx\nvmx flags\t: vnmi ept\n", ("vmx",)),
        ("Features\t: fp asimd aes sve sve2\n", ("aes", "sve")),
        ("flags\t: aes\nflags\t: aes avx2\n", ("aes",)),
        ("bugs\t: aes\nflags\t:\n", ()),
        ("", ()),
    ],
)
def test_flags_of_interest_come_in_a_fixed_order(cpuinfo: str, flags: tuple[str, ...]) -> None:
    assert parse_flags(cpuinfo) == flags


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("0\n", (0,)),
        ("0-3,8\n", (0, 1, 2, 3, 8)),
        ("0,1\n", (0, 1)),
        ("4,0-1", (0, 1, 4)),
        ("3-1", ()),
        ("1-,2", (2,)),
        ("-1", ()),
        ("0-99999999999", ()),
        (f"{CPU_NUMBERS - 1}-{CPU_NUMBERS}", ()),
        ("\n", ()),
        ("", ()),
    ],
)
def test_a_list_of_cpus_is_read_within_bounds(text: str, numbers: tuple[int, ...]) -> None:
    assert parse_cpu_list(text) == numbers


@pytest.mark.parametrize("old", [False, True])
def test_two_packages_of_two_cores_with_two_threads(tmp_path: Path, old: bool) -> None:
    files: dict[str, str | bytes] = {"proc/cpuinfo": CPUINFO, f"{CPU}/online": "0-7\n"}
    for cpu in range(8):
        package = cpu // 2 % 2
        files |= topology(cpu, package, f"{cpu % 4},{cpu % 4 + 4}", ("0-1,4-5", "2-3,6-7")[package], old=old)
    cpu = read(write_tree(tmp_path, files))
    assert (cpu.sockets, cpu.cores, cpu.threads) == (2, 4, 8)


def test_a_cpu_that_is_offline_does_not_count(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {"proc/cpuinfo": CPUINFO, f"{CPU}/online": "0-1,3\n"}
    files |= topology(0, 0, "0-1", "0-1,3") | topology(1, 0, "0-1", "0-1,3") | topology(3, 0, "3", "0-1,3")
    files |= topology(2, 1, "2", "2")
    cpu = read(write_tree(tmp_path, files))
    assert (cpu.sockets, cpu.cores, cpu.threads) == (1, 2, 3)


def test_a_core_whose_first_thread_is_offline_counts_once(tmp_path: Path) -> None:
    files = topology(1, 0, "1,3", "1-3") | topology(2, 0, "2", "1-3") | topology(3, 0, "1,3", "1-3")
    cpu = read(write_tree(tmp_path, {**files, "proc/cpuinfo": CPUINFO, f"{CPU}/online": "1-3\n"}))
    assert (cpu.sockets, cpu.cores, cpu.threads) == (1, 2, 3)


def test_cpus_without_a_package_are_in_one(tmp_path: Path) -> None:
    files = {name: text for cpu in range(3) for name, text in topology(cpu, -1, f"{cpu}", f"{cpu}").items()}
    cpu = read(write_tree(tmp_path, {**files, "proc/cpuinfo": CPUINFO, f"{CPU}/online": "0-2\n"}))
    assert (cpu.sockets, cpu.cores, cpu.threads) == (1, 3, 3)


def test_packages_are_told_apart_even_if_their_numbers_are_the_same(tmp_path: Path) -> None:
    files = topology(0, 0, "0", "0") | topology(1, 0, "1", "1")  # s390x numbers them anew in each book
    assert read(write_tree(tmp_path, {**files, "proc/cpuinfo": CPUINFO, f"{CPU}/online": "0-1\n"})).sockets == 2


def test_the_greatest_rate_of_all_cores_counts(tmp_path: Path) -> None:
    files = topology(0, 0, "0", "0-2") | topology(1, 0, "1", "0-2") | topology(2, 0, "2", "0-2")
    rates = {0: "3200000\n", 1: "4208203\n", 2: "x\n"}
    files |= {f"{CPU}/cpu{cpu}/cpufreq/cpuinfo_max_freq": rate for cpu, rate in rates.items()}
    assert read(write_tree(tmp_path, {**files, "proc/cpuinfo": CPUINFO, f"{CPU}/online": "0-2\n"})).max_mhz == 4208


@pytest.mark.parametrize("rate", ["", "0\n", "-1\n", "99999999999999999999\n", "499\n"])
def test_a_rate_that_is_none_is_not_known(tmp_path: Path, rate: str) -> None:
    files = {"proc/cpuinfo": CPUINFO, f"{CPU}/online": "0\n", f"{CPU}/cpu0/cpufreq/cpuinfo_max_freq": rate}
    assert read(write_tree(tmp_path, {**files})).max_mhz is None


def x86(*places: tuple[int, int]) -> str:
    lines = "processor\t: {}\nmodel name\t: X\nphysical id\t: {}\ncore id\t\t: {}\npower management:\n"
    return "\n".join(lines.format(number, *place) for number, place in enumerate(places))


@pytest.mark.parametrize(
    ("cpuinfo", "expected"),
    [
        (x86((0, 0), (0, 0), (0, 8), (1, 0)), Topology(2, 3, 4)),
        (RASPBERRY_64, Topology(None, None, 2)),
        (RASPBERRY_32, Topology(None, None, 1)),
        (S390, Topology()),
        ("Processor\t: ARMv6\nprocessor\t: x\n", Topology()),
        ("", Topology()),
    ],
)
def test_cpuinfo_says_where_cpus_are(cpuinfo: str, expected: Topology) -> None:
    assert parse_cpuinfo_topology(cpuinfo) == expected


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"proc/cpuinfo": x86((0, 0), (0, 1), (1, 0))}, (2, 3, 3)),
        ({"proc/cpuinfo": x86((0, 0), (0, 1)), f"{CPU}/online": "0-3\n"}, (1, 2, 4)),
        ({"proc/cpuinfo": S390, "proc/stat": STAT}, (None, None, 2)),
        ({"proc/cpuinfo": S390}, (None, None, None)),
    ],
)
def test_what_sysfs_hides_the_text_files_say(
    tmp_path: Path, files: dict[str, str | bytes], expected: tuple[int | None, ...]
) -> None:
    cpu = read(write_tree(tmp_path, files))
    assert (cpu.sockets, cpu.cores, cpu.threads) == expected


def test_a_long_cpuinfo_is_counted_to_its_end(tmp_path: Path) -> None:
    sections = x86(*((0, core) for core in range(600))).replace("model name", f"flags\t: {'f ' * 1000}\nmodel name")
    assert len(sections) > 2**20
    assert read(write_tree(tmp_path, {"proc/cpuinfo": sections})).threads == 600


def test_a_host_without_cpuinfo_is_a_gap(tmp_path: Path) -> None:
    with pytest.raises(FactsError, match="/proc/cpuinfo"):
        read(write_tree(tmp_path, {f"{CPU}/online": "0-3\n"}))


def test_the_fingerprint_follows_the_boot_and_the_online_cpus(tmp_path: Path) -> None:
    def of(boot_id: str, online: str) -> object:
        files = {"proc/sys/kernel/random/boot_id": boot_id, f"{CPU}/online": online}
        return fingerprint(write_tree(tmp_path, {**files}))

    assert of("a", "0-1") == of("a", "0-1")
    assert len({of("a", "0-1"), of("b", "0-1"), of("a", "0-2")}) == 3


def test_this_machine_agrees_with_the_c_library() -> None:
    cpu = read(Path("/"))
    assert cpu.threads == os.sysconf("SC_NPROCESSORS_ONLN")
    assert cpu.sockets is None or cpu.cores is None or cpu.sockets <= cpu.cores <= cpu.threads


@given(st.text(), st.text())
def test_no_text_raises(one: str, other: str) -> None:
    parse_cpu_list(one)
    parse_cpu_list(f"{one}-{other},")
    for text in (one, f"CPU implementer:{one}\nCPU part:{other}\nflags:{one}", f"processor: 1\nphysical id:{one}"):
        parse_model(text)
        parse_vendor(text)
        parse_flags(text)
        parse_cpuinfo_topology(text)


@given(st.binary(max_size=32), st.binary(max_size=32))
def test_a_broken_host_is_at_most_a_gap(tmp_path_factory: pytest.TempPathFactory, one: bytes, other: bytes) -> None:
    files: dict[str, str | bytes] = {name: other for cpu in (0, 1) for name in topology(cpu, 0, "", "")}
    files |= {"proc/cpuinfo": one, "proc/stat": other, f"{CPU}/cpu0/cpufreq/cpuinfo_max_freq": one}
    root = write_tree(tmp_path_factory.mktemp("host"), {**files, f"{CPU}/online": b"0-1," + one})
    fingerprint(root)
    with suppress(FactsError):
        assert isinstance(read(root), Cpu)
