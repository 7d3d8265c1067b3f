import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lattice_agent.facts.cgroup_place import (
    Hierarchy,
    Place,
    find_place,
    groups_on,
    parse_cgroup_mounts,
    parse_membership,
    way_below,
)
from lattice_agent.facts.inventory.cgroup import (
    count_allowed_cpus,
    fingerprint,
    parse_cpu_max,
    parse_hierarchical_limit,
    parse_limit,
    read,
)
from lattice_agent.wire.host_inventory import CgroupLimits
from tests.unit.facts.trees import MEMINFO, STAT, write_tree

Tree = dict[str, str | bytes]
TOP = "sys/fs/cgroup"
UNLIMITED = "9223372036854771712\n"
GIB = 2**30
HOST: Tree = {"proc/meminfo": MEMINFO, "proc/stat": STAT}  # 8 GiB and two CPUs


def v2(root: str = "/", point: str = "/sys/fs/cgroup") -> str:
    return f"30 23 0:26 {root} {point} rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"


def v1(controllers: str, root: str = "/", point: str = "") -> str:
    point = point or f"/sys/fs/cgroup/{controllers}"
    return f"33 31 0:30 {root} {point} rw,nosuid - cgroup cgroup rw,{controllers}\n"


def test_membership_is_read_by_controller() -> None:
    text = "12:cpu,cpuacct:/a\n9:name=systemd:/b\n4:memory:/with:colon\n0::/c\n"
    assert parse_membership(text) == {
        "cpu": "/a",
        "cpuacct": "/a",
        "name=systemd": "/b",
        "memory": "/with:colon",
        "": "/c",
    }


@pytest.mark.parametrize("line", ["", "0", "0::", "0::relative", "4::/no-controller", "x"])
def test_a_broken_membership_is_left_out(line: str) -> None:
    assert parse_membership(line) == {}


@pytest.mark.parametrize(
    ("line", "mounts"),
    [
        (v2(), [Hierarchy(2, "/", "/sys/fs/cgroup")]),
        (v2("/..", "/a\\040b\\134"), [Hierarchy(2, "/..", "/a b\\")]),
        (
            v1("cpu,cpuacct", "/docker/1f"),
            [Hierarchy(1, "/docker/1f", "/sys/fs/cgroup/cpu,cpuacct", frozenset({"cpu"}))],
        ),
        (v1("name=systemd"), []),
        (v1("cpuset"), []),
        (v2(point="/sys/../../etc"), []),
        ("30 23 0:26 / /sys/fs/cgroup rw - tmpfs cgroup rw\n", []),
        ("30 23 0:26 / /sys/fs/cgroup rw - cgroup2\n", []),
        ("30 23 - cgroup2 cgroup2 rw\n", []),
        ("", []),
    ],
)
def test_mounts_of_our_controllers_are_found(line: str, mounts: list[Hierarchy]) -> None:
    assert parse_cgroup_mounts(line) == mounts


@pytest.mark.parametrize(
    ("path", "root", "way"),
    [
        ("/", "/", ()),
        ("/system.slice/a.service", "/", ("system.slice", "a.service")),
        ("/docker/1f", "/docker/1f", ()),
        ("/docker/1f/init", "/docker/1f", ("init",)),
        ("/docker/1f2", "/docker/1f", None),  # a name that starts alike is another group
        ("/user/session-2", "/user/session-3", None),
        ("/", "/docker/1f", None),
        ("/../b", "/", None),
        ("/../../x/y", "/", None),
        ("/", "/..", ()),
        ("/a", "/../..", ()),
        ("/../b/c", "/../b", ("c",)),
        ("/../b", "/..", ("b",)),
        ("/../b", "/../..", ()),
        ("/", "/../b", None),
        ("/a/../../b", "/", None),
        ("", "/", None),
    ],
)
def test_the_way_from_a_mount_to_our_group(path: str, root: str, way: tuple[str, ...] | None) -> None:
    assert way_below(path, root) == way


def test_groups_are_walked_from_ours_to_the_top() -> None:
    assert groups_on("/sys/fs/cgroup", ("a", "b")) == (f"{TOP}/a/b", f"{TOP}/a", TOP)


def test_of_an_absurdly_deep_group_the_nearest_count() -> None:
    groups = groups_on("/c", ["g"] * 1000)
    assert (len(groups), groups[0].count("g")) == (64, 1000)


@pytest.mark.parametrize("backwards", [False, True])
def test_of_several_mounts_that_with_most_groups_counts(backwards: bool) -> None:
    mounts = [Hierarchy(2, "/a/b", "/inner"), Hierarchy(2, "/", "/outer"), Hierarchy(2, "/other", "/foreign")]
    place = find_place("memory", {"": "/a/b"}, reversed(mounts) if backwards else mounts)
    assert place == Place(2, ("outer/a/b", "outer/a", "outer"))


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("max\n", None),
        ("1048576\n", 2**20),
        ("0\n", 0),
        (UNLIMITED, None),
        ("9223372036854775807\n", None),
        ("9223372036854710272\n", None),  # with pages of 64 KiB
        ("18446744073709551615\n", None),
        (str(2**62 - 1), 2**62 - 1),
        ("-1\n", None),
        ("", None),
    ],
)
def test_a_limit_beyond_any_machine_is_none(text: str, limit: int | None) -> None:
    assert parse_limit(text) == limit


@pytest.mark.parametrize(
    ("text", "cores"),
    [
        ("max 100000\n", None),
        ("50000 100000\n", 0.5),
        ("250000 50000\n", 5.0),
        ("50000\n", 0.5),
        ("max\n", None),
        ("-1\n 100000\n", None),
        ("150000\n 100000\n", 1.5),
        ("0 100000\n", None),
        ("100000 0\n", None),
        ("100000 x\n", None),
        ("", None),
        (" ", None),
    ],
)
def test_a_quota_is_time_per_time(text: str, cores: float | None) -> None:
    assert parse_cpu_max(text) == cores


@pytest.mark.parametrize(
    ("stat", "limit"),
    [
        ("cache 1\nhierarchical_memory_limit 4096\nhierarchical_memsw_limit 8192\n", 4096),
        (f"hierarchical_memory_limit {UNLIMITED}", None),
        ("hierarchical_memory_limit \n", None),
        ("total_hierarchical_memory_limit 1\n", None),
        ("", None),
    ],
)
def test_the_least_limit_above_is_in_memory_stat(stat: str, limit: int | None) -> None:
    assert parse_hierarchical_limit(stat) == limit


@pytest.mark.parametrize(
    ("status", "cpus"),
    [
        ("Cpus_allowed:\tff\nCpus_allowed_list:\t0-3,7\n", 5),
        ("Name:\tCpus_allowed_list: 0-3\nCpus_allowed_list:\t0\n", 1),
        ("Cpus_allowed_list:\n", 0),
        ("", 0),
    ],
)
def test_allowed_cpus_are_counted(status: str, cpus: int) -> None:
    assert count_allowed_cpus(status) == cpus


def test_version_2_takes_the_least_on_the_way_up(tmp_path: Path) -> None:
    files: Tree = {
        "proc/self/cgroup": "0::/system.slice/a.service\n",
        "proc/self/mountinfo": v2(),
        f"{TOP}/system.slice/a.service/memory.max": "max\n",
        f"{TOP}/system.slice/a.service/cpu.max": "150000 100000\n",
        f"{TOP}/system.slice/a.service/pids.max": "512\n",
        f"{TOP}/system.slice/memory.max": f"{4 * GIB}\n",
        f"{TOP}/system.slice/cpu.max": "max 100000\n",
        f"{TOP}/system.slice/pids.max": "100\n",
    }
    assert read(write_tree(tmp_path, {**HOST, **files})) == CgroupLimits(
        version=2,
        memory_limit_bytes=4 * GIB,
        cpu_quota_cores=1.5,
        pids_limit=100,
        effective_cpus=1.5,
        effective_memory_bytes=4 * GIB,
    )


def test_a_container_with_a_namespace_sees_its_limits_at_the_top(tmp_path: Path) -> None:
    files: Tree = {"proc/self/cgroup": "0::/\n", "proc/self/mountinfo": v2(), f"{TOP}/memory.max": f"{GIB}\n"}
    limits = read(write_tree(tmp_path, {**HOST, **files}))
    assert (limits.version, limits.memory_limit_bytes, limits.effective_memory_bytes) == (2, GIB, GIB)
    assert (limits.cpu_quota_cores, limits.pids_limit, limits.effective_cpus) == (None, None, 2.0)


def test_docker_on_version_1_without_a_namespace(tmp_path: Path) -> None:
    path = "/docker/1f2e"
    files: Tree = {
        "proc/self/cgroup": f"5:memory:{path}\n4:cpu,cpuacct:{path}\n3:pids:{path}\n1:name=systemd:{path}\n",
        "proc/self/mountinfo": v1("memory", path) + v1("cpu,cpuacct", path) + v1("pids", path),
        f"{TOP}/memory/memory.limit_in_bytes": f"{2 * GIB}\n",
        f"{TOP}/cpu,cpuacct/cpu.cfs_quota_us": "50000\n",
        f"{TOP}/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
        f"{TOP}/pids/pids.max": "64\n",
    }
    assert read(write_tree(tmp_path, {**HOST, **files})) == CgroupLimits(
        version=1,
        memory_limit_bytes=2 * GIB,
        cpu_quota_cores=0.5,
        pids_limit=64,
        effective_cpus=0.5,
        effective_memory_bytes=2 * GIB,
    )


def test_version_1_without_limits(tmp_path: Path) -> None:
    files: Tree = {
        "proc/self/cgroup": "5:memory:/a\n4:cpu:/a\n3:pids:/a\n",
        "proc/self/mountinfo": v1("memory") + v1("cpu") + v1("pids"),
        f"{TOP}/memory/a/memory.limit_in_bytes": UNLIMITED,
        f"{TOP}/memory/memory.limit_in_bytes": UNLIMITED,
        f"{TOP}/cpu/a/cpu.cfs_quota_us": "-1\n",
        f"{TOP}/cpu/a/cpu.cfs_period_us": "100000\n",
        f"{TOP}/pids/a/pids.max": "max\n",
    }
    expected = CgroupLimits(version=1, effective_cpus=2.0, effective_memory_bytes=8 * GIB)
    assert read(write_tree(tmp_path, {**HOST, **files})) == expected


def test_a_hidden_parents_limit_is_in_the_groups_memory_stat(tmp_path: Path) -> None:
    files: Tree = {
        "proc/self/cgroup": "5:memory:/\n",
        "proc/self/mountinfo": v1("memory"),
        f"{TOP}/memory/memory.limit_in_bytes": UNLIMITED,
        f"{TOP}/memory/memory.stat": f"cache 0\nhierarchical_memory_limit {GIB}\n",
    }
    assert read(write_tree(tmp_path, files)).memory_limit_bytes == GIB


def test_of_a_hybrid_host_the_limits_are_of_version_1(tmp_path: Path) -> None:
    files: Tree = {
        "proc/self/cgroup": "4:memory:/a\n2:cpu:/\n1:name=systemd:/a\n0::/a\n",
        "proc/self/mountinfo": v2(point="/sys/fs/cgroup/unified") + v1("memory") + v1("cpu"),
        f"{TOP}/memory/a/memory.limit_in_bytes": f"{GIB}\n",
    }
    limits = read(write_tree(tmp_path, files))
    assert (limits.version, limits.memory_limit_bytes) == (1, GIB)


def test_a_named_hierarchy_beside_version_2_has_no_limits(tmp_path: Path) -> None:
    files: Tree = {
        "proc/self/cgroup": "2:net_cls:/x\n1:name=systemd:/y\n0::/a\n",
        "proc/self/mountinfo": v1("net_cls") + v1("name=systemd") + v2(),
        f"{TOP}/a/pids.max": "7\n",
    }
    limits = read(write_tree(tmp_path, files))
    assert (limits.version, limits.pids_limit) == (2, 7)


def test_a_group_outside_the_namespace_shows_no_limits(tmp_path: Path) -> None:
    files: Tree = {
        "proc/self/cgroup": "0::/../other\n",
        "proc/self/mountinfo": v2(),
        f"{TOP}/memory.max": f"{GIB}\n",
        "sys/fs/other/memory.max": "1\n",
    }
    assert read(write_tree(tmp_path, {**HOST, **files})).memory_limit_bytes is None


def test_without_control_groups_the_machine_can_be_used(tmp_path: Path) -> None:
    expected = CgroupLimits(effective_cpus=2.0, effective_memory_bytes=8 * GIB)
    assert read(write_tree(tmp_path, {**HOST, "proc/self/cgroup": "0::/\n"})) == expected


def test_an_empty_host_says_nothing(tmp_path: Path) -> None:
    assert read(tmp_path) == CgroupLimits()


@pytest.mark.parametrize(
    ("files", "cpus"),
    [
        ({"proc/self/status": "Cpus_allowed_list:\t0-127\n", "proc/stat": STAT}, 2.0),  # CPUs that are not plugged in
        ({"proc/self/status": "Cpus_allowed_list:\t1\n", "proc/stat": STAT}, 1.0),
        ({"proc/self/status": "Cpus_allowed_list:\t0-3\n"}, 4.0),
        ({"proc/stat": STAT}, 2.0),
        ({}, None),
    ],
)
def test_cpus_of_a_recorded_host_are_those_its_recorder_might_use(
    tmp_path: Path, files: Tree, cpus: float | None
) -> None:
    assert read(write_tree(tmp_path, files)).effective_cpus == cpus


def test_a_limit_above_the_machine_does_not_make_it_larger(tmp_path: Path) -> None:
    files: Tree = {
        "proc/self/cgroup": "0::/\n",
        "proc/self/mountinfo": v2(),
        f"{TOP}/memory.max": f"{64 * GIB}\n",
        f"{TOP}/cpu.max": "6400000 100000\n",
    }
    limits = read(write_tree(tmp_path, {**HOST, **files}))
    assert (limits.cpu_quota_cores, limits.memory_limit_bytes) == (64.0, 64 * GIB)
    assert (limits.effective_cpus, limits.effective_memory_bytes) == (2.0, 8 * GIB)


def test_the_fingerprint_follows_a_limit_that_is_set(tmp_path: Path) -> None:
    files: Tree = {"proc/self/cgroup": "0::/\n", "proc/self/mountinfo": v2(), f"{TOP}/memory.max": "max\n"}
    before = fingerprint(write_tree(tmp_path, {**HOST, **files}))
    assert hash(fingerprint(tmp_path)) == hash(before)
    assert fingerprint(tmp_path) == before
    assert fingerprint(write_tree(tmp_path, {f"{TOP}/memory.max": "4096\n"})) != before


def test_this_process_may_run_on_what_its_affinity_says() -> None:
    limits = read(Path("/"))
    affinity = len(os.sched_getaffinity(0))
    assert limits.effective_cpus == min(affinity, limits.cpu_quota_cores or affinity)
    assert limits.effective_memory_bytes is not None


@given(st.text(), st.text())
def test_no_text_raises(one: str, other: str) -> None:
    parse_limit(one)
    parse_cpu_max(f"{one} {other}")
    parse_hierarchical_limit(f"hierarchical_memory_limit {one}")
    count_allowed_cpus(f"Cpus_allowed_list:{one}")
    paths = parse_membership(f"0::/{one}\n3:memory:/{other}")
    mounts = parse_cgroup_mounts(f"{v2('/' + one, '/' + other)}\n{v1('memory', one, other)}\n{one} - cgroup{other}")
    for controller in ("memory", "cpu", "pids"):
        find_place(controller, paths, mounts)


@given(st.binary(max_size=32), st.binary(max_size=32))
def test_a_broken_host_is_never_a_gap(tmp_path_factory: pytest.TempPathFactory, one: bytes, other: bytes) -> None:
    names = ("proc/meminfo", "proc/stat", "proc/self/status", f"{TOP}/memory.max", f"{TOP}/cpu.max", f"{TOP}/pids.max")
    mounts = v2().encode() + v1("memory", "/" + other.hex()).encode() + one
    files: Tree = {"proc/self/cgroup": b"0::/\n3:memory:/" + other, "proc/self/mountinfo": mounts}
    root = write_tree(tmp_path_factory.mktemp("host"), {**dict.fromkeys(names, one), **files})
    assert read(root) == fingerprint(root)
