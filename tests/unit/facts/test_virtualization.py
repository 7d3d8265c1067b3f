from pathlib import Path

import pytest

from lattice_agent.facts.virtualization import has_hypervisor_flag, parse_cgroup_container, read_virtualization
from tests.unit.facts.trees import CPUINFO, write_tree

DOCKER = {".dockerenv": ""}
PODMAN = {"run/.containerenv": ""}
POD = {"proc/1/cgroup": "0::/kubepods.slice/cri-containerd-1.scope\n"}


@pytest.mark.parametrize(
    ("files", "cpuinfo", "variable", "expected"),
    [
        ({**DOCKER, **PODMAN, **POD}, CPUINFO, "lxc", "lxc"),  # each row drops the first hit of the one above
        ({**DOCKER, **PODMAN, **POD}, CPUINFO, "", "docker"),
        ({**PODMAN, **POD}, CPUINFO, "", "container"),
        (POD, CPUINFO, "", "kubepods"),
        ({}, CPUINFO, "", "vm"),
        ({}, "flags: fpu nohypervisor\n", "", "unknown"),
        ({}, "", " \x00", "unknown"),
    ],
)
def test_the_first_hit_wins(tmp_path: Path, files: dict[str, str], cpuinfo: str, variable: str, expected: str) -> None:
    assert read_virtualization(write_tree(tmp_path, dict(files)), cpuinfo, variable) == expected


@pytest.mark.parametrize(
    ("cgroup", "word"),
    [("12:pids:/docker/4f", "docker"), ("0::/lxc.payload.web", "lxc"), ("0::/init.scope", ""), ("", "")],
)
def test_the_cgroup_of_pid_1_names_the_runtime(cgroup: str, word: str) -> None:
    assert parse_cgroup_container(cgroup) == word


def test_the_hypervisor_flag_is_a_word_of_its_own() -> None:
    assert has_hypervisor_flag(CPUINFO)
    assert not has_hypervisor_flag("flags: hypervisors")
