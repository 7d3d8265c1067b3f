from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lattice_agent.facts.inventory.container import parse_cgroup, parse_environment, read_container
from lattice_agent.facts.inventory.container_mounts import parse_mounts
from lattice_agent.facts.inventory.finding import Finding
from lattice_agent.wire.host_inventory import TEXT_BYTES
from tests.unit.facts.trees import write_tree

Files = dict[str, str | bytes]
HOST: Files = {
    "proc/1/cgroup": "0::/init.scope\n",
    "proc/self/mountinfo": "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n",
    "proc/sys/kernel/osrelease": "6.1.0-18-amd64\n",
    "proc/self/status": "Name:\tagent\nTracerPid:\t0\n",
}
OPENVZ: Files = {"proc/vz/": ""}
WSL: Files = {"proc/sys/kernel/osrelease": "5.15.90.1-microsoft-standard-WSL2\n"}
PROOT: Files = {"proc/self/status": "Name:\tagent\nTracerPid:\t41\n", "proc/41/comm": "proot-x86_64\n"}
MANAGER: Files = {"run/host/container-manager": "podman\n"}
INIT: Files = {"run/systemd/container": "lxc\n"}
ENVIRONMENT: Files = {"proc/1/environ": "PATH=/bin\0container=systemd-nspawn\0TERM=\0"}
PODMAN: Files = {"run/.containerenv": ""}
DOCKER: Files = {".dockerenv": ""}
POD: Files = {"proc/1/cgroup": "0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-1.scope\n"}
GROUP: Files = {"sys/fs/cgroup/cgroup.type": "domain\n"}


def found(root: Path, files: Files, variable: str = "") -> tuple[str, str]:
    finding = read_container(write_tree(root, dict(files)), variable)
    assert finding is not None
    return finding


@pytest.mark.parametrize(
    ("files", "variable", "expected"),
    [
        # each row drops the first hit of the one above
        (
            OPENVZ | WSL | MANAGER | INIT | ENVIRONMENT | PODMAN | DOCKER | POD | GROUP,
            "rkt",
            ("openvz", "/proc/vz"),
        ),
        (
            WSL | PROOT | MANAGER | INIT | ENVIRONMENT | PODMAN | DOCKER | POD | GROUP,
            "rkt",
            ("wsl", "/proc/sys/kernel/osrelease: 5.15.90.1-microsoft-standard-WSL2"),
        ),
        (
            PROOT | MANAGER | INIT | ENVIRONMENT | PODMAN | DOCKER | POD | GROUP,
            "rkt",
            ("proot", "TracerPid: proot-x86_64"),
        ),
        (
            MANAGER | INIT | ENVIRONMENT | PODMAN | DOCKER | POD | GROUP,
            "rkt",
            ("podman", "/run/host/container-manager: podman"),
        ),
        (INIT | ENVIRONMENT | PODMAN | DOCKER | POD | GROUP, "rkt", ("lxc", "/run/systemd/container: lxc")),
        (
            ENVIRONMENT | PODMAN | DOCKER | POD | GROUP,
            "rkt",
            ("systemd-nspawn", "/proc/1/environ container: systemd-nspawn"),
        ),
        (PODMAN | DOCKER | POD | GROUP, "rkt", ("rkt", "$container: rkt")),
        (PODMAN | DOCKER | POD | GROUP, "", ("podman", "/run/.containerenv")),
        (DOCKER | POD | GROUP, "", ("docker", "/.dockerenv")),
        (POD | GROUP, "", ("kubernetes", "/proc/1/cgroup: kubepods")),
        (GROUP, "", ("container-other", "/sys/fs/cgroup/cgroup.type")),
        ({}, "", ("none", "")),
    ],
)
def test_the_first_hit_wins(tmp_path: Path, files: Files, variable: str, expected: tuple[str, str]) -> None:
    assert found(tmp_path, HOST | files, variable) == expected


@pytest.mark.parametrize(
    ("files", "variable", "name"),
    [
        ({"proc/vz/": "", "proc/bc/": ""}, "", "none"),  # the host of OpenVZ containers
        ({"proc/sys/kernel/osrelease": "4.4.0-19041-Microsoft\n"}, "", "wsl"),
        ({"proc/self/status": "TracerPid:\t41\n", "proc/41/comm": "gdb\n"}, "", "none"),
        ({"proc/self/status": "TracerPid:\t41\n"}, "", "none"),
        ({"run/systemd/container": "garden\n"}, "", "container-other"),
        ({"run/systemd/container": "\n"}, "", "none"),
        ({"run/systemd/container": "kvm\n"}, "", "container-other"),  # a name, but not of a container
        ({"run/systemd/container": "docker\nlxc\n"}, "", "docker"),
        ({"proc/1/environ": "mycontainer=lxc\0"}, "", "none"),
        ({"proc/1/environ": "container=\0"}, "", "none"),
        (DOCKER, "oci", "docker"),
        (PODMAN | DOCKER, "oci", "podman"),
        ({}, "oci", "container-other"),
        (POD, "oci", "container-other"),
        (INIT, "oci", "lxc"),
        ({}, " \x00", "none"),
        ({"sys/fs/cgroup/systemd/tasks": ""}, "", "container-other"),
        ({"sys/fs/cgroup/systemd/tasks": "", "sys/fs/cgroup/systemd/release_agent": ""}, "", "none"),
        ({"sys/fs/cgroup/cgroup.procs": ""}, "", "none"),
    ],
)
def test_edges(tmp_path: Path, files: Files, variable: str, name: str) -> None:
    assert found(tmp_path, HOST | files, variable)[0] == name


def test_where_nothing_can_be_read_nothing_is_claimed(tmp_path: Path) -> None:
    assert read_container(tmp_path) is None


@pytest.mark.parametrize(
    ("cgroup", "name"),
    [
        ("12:pids:/docker/4f\n0::/\n", "docker"),
        ("0::/system.slice/docker-4f.scope", "docker"),
        ("1:name=systemd:/kubepods/besteffort/pod1/docker-4f", "kubernetes"),
        ("0::/machine.slice/libpod-4f.scope/container", "podman"),
        ("0::/lxc.payload.web/init.scope", "lxc"),
        ("0::/.lxc", "lxc"),
        ("4:cpu:/machine.slice/machine-lxc\\x2d7\\x2dweb.scope", "lxc-libvirt"),
        ("0::/machine.slice/systemd-nspawn@web.service/payload", "systemd-nspawn"),
        ("0::/default/containerd-4f", "container-other"),
    ],
)
def test_the_cgroup_of_process_1_names_the_manager(cgroup: str, name: str) -> None:
    finding = parse_cgroup(cgroup)
    assert finding is not None
    assert finding.name == name


@pytest.mark.parametrize("cgroup", ["0::/init.scope\n", "0::/\n", ""])
def test_the_cgroup_of_a_host_names_none(cgroup: str) -> None:
    assert parse_cgroup(cgroup) is None


def mount(place: str, root: str = "/", kind: str = "ext4", source: str = "/dev/vda1", options: str = "rw") -> str:
    return f"30 22 8:1 {root} {place} rw,relatime shared:1 master:2 - {kind} {source} {options}\n"


ROOT_OF_DOCKER = mount("/", kind="overlay", source="overlay", options="rw,upperdir=/var/lib/docker/overlay2/1/diff")
HOSTS_OF_DOCKER = mount("/etc/hosts", root="/var/lib/docker/containers/4f/hosts")


@pytest.mark.parametrize(
    ("mountinfo", "expected"),
    [
        (ROOT_OF_DOCKER, Finding("docker", "/proc/self/mountinfo /: /docker/")),
        (HOSTS_OF_DOCKER, Finding("docker", "/proc/self/mountinfo /etc/hosts: /docker/")),
        (
            ROOT_OF_DOCKER + mount("/etc/hosts", root="/var/lib/kubelet/pods/1/etc-hosts"),
            Finding("kubernetes", "/proc/self/mountinfo /etc/hosts: /kubelet/pods/"),
        ),
        (
            mount("/var/run/secrets/kubernetes.io/serviceaccount", kind="tmpfs", source="tmpfs"),
            Finding(
                "kubernetes",
                "/proc/self/mountinfo /var/run/secrets/kubernetes.io/serviceaccount: serviceaccount",
            ),
        ),
        (
            mount("/", kind="overlay", source="overlay", options="rw,lowerdir=/var/lib/containers/storage/overlay/l/A"),
            Finding("podman", "/proc/self/mountinfo /: /containers/storage/"),
        ),
        (
            mount("/etc/hosts", root="/containers/overlay-containers/1/userdata/hosts", kind="tmpfs", source="tmpfs"),
            Finding("podman", "/proc/self/mountinfo /etc/hosts: /overlay-containers/"),
        ),
        (
            mount("/", kind="overlay", options="rw,upperdir=/var/lib/containerd/io.containerd.snapshotter.v1/1/fs"),
            Finding("container-other", "/proc/self/mountinfo /: containerd"),
        ),
        (mount("/", root="/var/lib/lxc/web/rootfs"), Finding("lxc", "/proc/self/mountinfo /: /lxc/")),
        (
            mount("/proc/meminfo", root="/proc/meminfo", kind="fuse.lxcfs", source="lxcfs"),
            Finding("lxc", "/proc/self/mountinfo /proc/meminfo: fuse.lxcfs"),
        ),
    ],
)
def test_mounts_name_the_manager(mountinfo: str, expected: Finding) -> None:
    assert parse_mounts(mount("/dev", kind="devtmpfs") + mountinfo) == expected


@pytest.mark.parametrize(
    "mountinfo",
    [
        "",
        HOSTS_OF_DOCKER.replace(" - ", " "),
        "30 22 8:1 /docker/ /\n",
        mount("/"),
        # a host of containers
        mount("/var/lib/docker/overlay2/1/merged", kind="overlay", options="upperdir=/var/lib/docker/overlay2/1/diff"),
        mount("/var/lib/lxcfs", kind="fuse.lxcfs", source="lxcfs"),
        mount("/var/lib/kubelet/pods/1/volumes/token", kind="tmpfs"),
    ],
)
def test_mounts_of_a_host_name_none(mountinfo: str) -> None:
    assert parse_mounts(mountinfo) is None


@given(st.text())
def test_no_text_raises(text: str) -> None:
    parse_cgroup(text)
    parse_mounts(text)
    parse_mounts(mount(text, text, text, text, text))
    assert len(parse_environment("container=" + text).encode()) <= TEXT_BYTES


@given(st.text())
def test_no_variable_raises(tmp_path_factory: pytest.TempPathFactory, variable: str) -> None:
    finding = read_container(tmp_path_factory.getbasetemp() / "nowhere", variable)
    assert finding is None or len(finding.evidence.encode()) <= TEXT_BYTES
