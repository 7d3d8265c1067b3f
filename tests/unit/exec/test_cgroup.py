"""Groups below a real cgroup v2 tree. What needs controllers is in tests/guest; here there may be none.

Each test makes a group of its own below the root of the hierarchy and works in a fork of itself that is in that group,
because what is tested moves its own process.
"""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lattice_agent.exec.kernel import cgroup, cgroup_place, cgroup_tree, libc
from lattice_agent.exec.kernel.cgroup_tree import Directory
from tests.rigs.cgroups import SPAWNER, inside, members, own_group, program, temporary_group, wait_unpopulated

NOBODY = 65534
CLONE_NEWPID = 0x20000000

HYBRID = """\
12:pids:/user.slice
1:name=systemd:/user.slice/session-1.scope
0::/user.slice/session-1.scope
"""
MOUNTS = r"""22 28 0:21 / /sys rw,nosuid shared:7 - sysfs sysfs rw
31 22 0:27 / /sys/fs/cgroup ro - tmpfs tmpfs ro,mode=755
32 31 0:28 / /sys/fs/cgroup/unified rw,nosuid shared:9 master:2 - cgroup2 cgroup2 rw,nsdelegate
33 31 0:29 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
40 22 0:28 /user.slice /mnt/with\040space\134040 rw - cgroup2 cgroup2 rw
"""

needs_root = pytest.mark.needs_root


@pytest.fixture
def group() -> Iterator[Path]:
    """A group that nobody delegated."""
    mounts = cgroup_place.parse_mounts(Path("/proc/self/mountinfo").read_text())
    point = next((point for root, point in mounts if root == "/"), None)
    if point is None:
        pytest.skip("needs a cgroup2 mount")
    with temporary_group(Path(point)) as made:
        yield made


@pytest.fixture
def delegated(group: Path) -> Path:
    """A group as systemd leaves it for Delegate=yes."""
    os.setxattr(group, "trusted.delegate", b"1")
    return group


def give_to_nobody(group: Path) -> None:
    for path in (group, group / "cgroup.procs", group / "cgroup.subtree_control", group / "cgroup.threads"):
        os.chown(path, NOBODY, NOBODY)


def opened() -> cgroup.Groups:
    groups = cgroup.open_groups()
    assert groups is not None
    return groups


def subgroups(group: Path) -> set[str]:
    return {path.name for path in group.iterdir() if path.is_dir()}


# --- where we are ---


def test_the_own_group_is_the_line_without_controllers() -> None:
    assert cgroup_place.parse_own(HYBRID) == "/user.slice/session-1.scope"
    assert cgroup_place.parse_own("0::/\n") == "/"
    assert cgroup_place.parse_own("1:name=systemd:/\n") is None


def test_mounts_of_cgroup2_with_their_roots() -> None:
    assert cgroup_place.parse_mounts(MOUNTS) == [
        ("/", "/sys/fs/cgroup/unified"),
        ("/user.slice", "/mnt/with space\\040"),
    ]


@given(st.text(alphabet="0 -/\\cgroup2\n", max_size=80))
def test_any_text_is_parsed_or_ignored(text: str) -> None:
    cgroup_place.parse_own(text)
    for root, point in cgroup_place.parse_mounts(text):
        cgroup_place.locate("/a", [(root, point)])


@pytest.mark.parametrize(
    ("own", "mounts", "expected"),
    [
        ("/", [("/", "/sys/fs/cgroup")], ["/sys/fs/cgroup"]),
        ("/a/b", [("/", "/sys/fs/cgroup")], ["/sys/fs/cgroup/a/b"]),
        ("/a/b", [("/a", "/mnt")], ["/mnt/b"]),
        ("/a", [("/a", "/mnt")], ["/mnt"]),
        ("/ab", [("/a", "/mnt")], []),
        ("/a", [("/a/b", "/mnt"), ("/", "/cg")], ["/cg/a"]),
        ("/../other", [("/", "/cg")], []),
        ("/a", [("/..", "/cg")], []),
        ("/a..b", [("/", "/cg")], ["/cg/a..b"]),
    ],
)
def test_the_directory_of_a_group(own: str, mounts: list[tuple[str, str]], expected: list[str]) -> None:
    assert cgroup_place.locate(own, mounts) == expected


# --- whether it is ours ---


@needs_root
def test_the_root_of_the_hierarchy_is_left_alone(group: Path) -> None:
    def body() -> None:
        before = subgroups(group.parent)
        assert cgroup_place.survey() == (
            str(group.parent),
            f"{group.parent} is the root of the hierarchy, which nobody delegates",
        )
        assert cgroup.open_groups() is None
        assert subgroups(group.parent) == before

    inside(group.parent, body)


@needs_root
def test_a_group_that_is_not_delegated_is_left_alone(group: Path) -> None:
    def body() -> None:
        path, refusal = cgroup_place.survey()
        assert path == str(group)
        assert "Delegate=yes" in refusal
        assert cgroup.open_groups() is None
        assert own_group().endswith(group.name)
        assert subgroups(group) == set()

    inside(group, body)


@needs_root
@pytest.mark.parametrize(
    ("owner", "marks", "uid", "ours"),
    [
        (0, {"trusted.delegate": b"1"}, 0, True),
        (NOBODY, {"trusted.delegate": b"1"}, 0, True),
        (0, {"trusted.delegate": b"0"}, 0, False),
        (0, {"user.delegate": b"1"}, 0, True),
        (NOBODY, {"user.delegate": b"1"}, 0, False),  # anybody can set that on what is his
        (NOBODY, {}, 0, False),
        (NOBODY, {}, NOBODY, True),
        (NOBODY, {"user.invocation_id": b"1" * 32}, NOBODY, False),  # systemd's own
        (NOBODY, {"user.invocation_id": b"1" * 32, "user.delegate": b"1"}, NOBODY, True),
        (0, {}, NOBODY, False),
        (0, {"user.delegate": b"1"}, NOBODY, False),
    ],
)
def test_who_may_manage_which_group(group: Path, owner: int, marks: dict[str, bytes], uid: int, ours: bool) -> None:
    for name, value in marks.items():
        os.setxattr(group, name, value)
    if owner:
        give_to_nobody(group)

    def body() -> None:
        path, refusal = cgroup_place.survey()
        assert (path, not refusal) == (str(group), ours)

    inside(group, body, uid)


@needs_root
@pytest.mark.parametrize("name", ["cgroup.procs", "cgroup.subtree_control"])
def test_a_group_is_ours_only_if_every_file_that_matters_is_writable(group: Path, name: str) -> None:
    give_to_nobody(group)
    os.chown(group / name, 0, 0)

    def body() -> None:
        assert cgroup_place.survey() == (str(group), f"{group} may not be written by uid {NOBODY}")

    inside(group, body, NOBODY)


@needs_root
def test_a_directory_that_something_is_mounted_over_is_not_mistaken_for_the_group(
    delegated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / delegated.name).mkdir()
    monkeypatch.setattr(cgroup_place, "parse_mounts", lambda _text: [("/", str(tmp_path))])

    def body() -> None:
        path, refusal = cgroup_place.survey()
        assert path == ""
        assert delegated.name in refusal

    inside(delegated, body)


@needs_root
def test_being_moved_by_another_spawner_while_looking_does_not_matter(
    delegated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (delegated / "agent").mkdir()
    parse = cgroup_place.parse_mounts

    def move_and_parse(text: str) -> list[tuple[str, str]]:
        (delegated / "agent" / "cgroup.procs").write_text("0")
        return parse(text)

    monkeypatch.setattr(cgroup_place, "parse_mounts", move_and_parse)

    def body() -> None:
        assert cgroup_place.survey() == (str(delegated), "")

    inside(delegated, body)


# --- taking it into use ---


@needs_root
@pytest.mark.parametrize("uid", [0, NOBODY])
def test_every_process_moves_into_the_leaf(delegated: Path, uid: int) -> None:
    give_to_nobody(delegated)
    os.setxattr(delegated, "user.delegate", b"1")

    def body() -> None:
        with program("sleep", "60") as sleeper:
            groups = opened()
            assert members(delegated) == set()
            assert members(delegated / "agent") == {os.getpid(), sleeper.pid}
            assert own_group().endswith(f"/{delegated.name}/agent")
            assert subgroups(delegated) == {"agent", Path(groups.path).name}
            assert groups.leftovers == []
            assert groups.controllers | groups.missing.keys() == set(cgroup.CONTROLLERS)
            assert groups.close()
            assert subgroups(delegated) == {"agent"}

    inside(delegated, body, uid)


@needs_root
def test_a_missing_controller_is_named_and_its_limit_refused(delegated: Path) -> None:
    def body() -> None:
        groups = opened()
        made = groups.create("cell")
        absent = set(cgroup.CONTROLLERS) - set((delegated / "cgroup.controllers").read_text().split())
        assert groups.missing.keys() == absent
        for name, limit in (("memory", "memory_bytes"), ("pids", "pids"), ("cpu", "cpu_percent")):
            if name in absent:
                assert f"{delegated}/cgroup.controllers" in groups.missing[name]
                with pytest.raises(FileNotFoundError, match=f"{made.path}/{name}"):
                    made.limit(**{limit: 100})
            else:
                made.limit(**{limit: 100})
        groups.close()

    inside(delegated, body)


@needs_root
def test_who_is_in_the_leaf_uses_the_group_above_beside_others(delegated: Path) -> None:
    def body() -> None:
        first, second = opened(), opened()
        assert Path(first.path).parent == Path(second.path).parent == delegated
        assert first.path != second.path
        assert first.close()
        assert Path(second.path).exists()
        assert second.close()

    inside(delegated, body)


@needs_root
def test_a_failure_on_the_way_leaves_everything_where_it_was(group: Path) -> None:
    """A leaf that somebody else made, into which we may not move."""
    give_to_nobody(group)
    (group / "agent").mkdir()

    def body() -> None:
        with pytest.raises(PermissionError) as failure:
            cgroup.open_groups()
        assert failure.value.filename == f"{group}/agent/cgroup.procs"
        assert own_group().endswith(group.name)
        assert subgroups(group) == {"agent"}

    inside(group, body, NOBODY)


@needs_root
def test_processes_are_moved_back_if_one_cannot_be_moved(delegated: Path) -> None:
    """One that our pid namespace does not show: it is listed as 0, and cannot be named."""

    def in_a_new_pid_namespace() -> None:
        with pytest.raises(OSError, match="another pid namespace") as failure:
            cgroup.open_groups()
        assert failure.value.errno == errno.EBUSY
        assert failure.value.filename == f"{delegated}/cgroup.procs"
        assert own_group().endswith(delegated.name)
        assert subgroups(delegated) == set()

    def body() -> None:
        libc.call("unshare", CLONE_NEWPID)
        inside(delegated, in_a_new_pid_namespace)

    inside(delegated, body)


@needs_root
def test_a_failure_does_not_move_those_who_were_in_the_leaf_before(
    delegated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def body() -> None:
        first = opened()
        with program("sleep", "60", group=delegated) as newcomer:
            monkeypatch.setattr(cgroup, "_CELLS", "no/such/")
            with pytest.raises(FileNotFoundError, match="no/such"):
                cgroup.open_groups()
            monkeypatch.undo()
            if not first.controllers:  # else the first one's controllers keep the group free of processes
                assert members(delegated) == {newcomer.pid}
            assert os.getpid() in members(delegated / "agent")
        assert first.close()

    inside(delegated, body)


@needs_root
def test_a_group_taken_for_a_leftover_before_it_was_locked_is_given_up(
    delegated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([False, True])
    monkeypatch.setattr(Directory, "lock", lambda _self: next(answers))

    def body() -> None:
        assert opened().path.endswith(f"/cells-{os.getpid()}.1")

    inside(delegated, body)


@needs_root
def test_a_process_that_ends_before_it_is_moved_is_no_failure(delegated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with program("true") as ended:
        ended.wait()
    looks = iter([[ended.pid], []])
    processes = Directory.processes

    def with_the_ended(directory: Directory) -> list[int]:
        return processes(directory) + next(looks, [])

    monkeypatch.setattr(Directory, "processes", with_the_ended)

    def body() -> None:
        assert opened().close()
        assert members(delegated) == set()

    inside(delegated, body)


# --- using it ---

TREE = """
sleep 60 &
setsid sh -c '(sleep 60 &); sleep 60' &
sh -c 'kill -STOP $$' &
sh -c 'trap "" TERM INT HUP; echo ready; while :; do sleep 60; done' &
wait
"""
FORKING = "sleep 60 & echo ready; n=0; while [ $n -lt 300 ]; do sleep 60 & n=$((n+1)); done; wait"
# Each forks once and ends; by itself it stops after 20,000 links.
CHAIN = f"""exec {sys.executable} -c '
import os
print("ready", flush=True)
for _ in range(20_000):
    if os.fork():
        os._exit(0)
'"""


@needs_root
@pytest.mark.parametrize("script", [TREE, FORKING, CHAIN], ids=["tree", "forking", "chain"])
@pytest.mark.parametrize("by", ["kernel", "hand"])
def test_kill_ends_everything_in_a_group_and_nothing_else(
    delegated: Path, monkeypatch: pytest.MonkeyPatch, by: str, script: str
) -> None:
    if by == "hand":  # as on Linux before 5.14
        monkeypatch.setattr(cgroup_tree, "KILL", "cgroup.kill.not.there")

    def body() -> None:
        groups = opened()
        cell, other = groups.create("cell"), groups.create("other")
        with (
            program("sleep", "60", group=other.path) as bystander,
            program("sh", "-c", script, group=cell.path) as shell,
        ):
            assert shell.stdout is not None
            assert shell.stdout.readline() == "ready\n"
            assert cell.read().populated
            cell.kill()
            wait_unpopulated(Path(cell.path))
            assert not cell.read().populated
            # The first link of the chain may be past its end already.
            assert shell.wait() in {-signal.SIGKILL, 0 if script == CHAIN else -signal.SIGKILL}
            assert bystander.poll() is None
            assert cell.remove()
        assert groups.close()

    inside(delegated, body)


@needs_root
def test_a_group_is_removed_once_it_is_empty(delegated: Path) -> None:
    def body() -> None:
        groups = opened()
        cell = groups.create("cell")
        with program("sleep", "60") as sleeper:
            cell.join(sleeper.pid)
            assert members(cell.path) == {sleeper.pid}
            assert not cell.remove()
            assert os.fstat(cell.fd)
            cell.kill()
            cell.kill()
            sleeper.wait()
        assert cell.remove()
        assert not Path(cell.path).exists()
        assert cell.remove()
        assert groups.close()

    inside(delegated, body)


@needs_root
def test_a_group_that_somebody_else_removed_is_gone_and_no_failure(delegated: Path) -> None:
    def body() -> None:
        groups = opened()
        cell = groups.create("cell")
        os.rmdir(cell.path)
        cell.kill()
        used = cell.read()
        assert (used.populated, used.cpu_usec, used.memory_peak) == (False, None, None)
        assert cell.remove()
        assert groups.close()

    inside(delegated, body)


@needs_root
def test_what_was_made_below_a_group_goes_with_it(delegated: Path) -> None:
    def body() -> None:
        groups = opened()
        cell = groups.create("cell")
        deepest = Path(cell.path, *"abcdefgh")
        deepest.mkdir(parents=True)
        Path(cell.path, "a", "beside").mkdir()
        with program("sleep", "60", group=deepest) as sleeper:
            assert not cell.remove()
            cell.kill()
            sleeper.wait()
        assert cell.remove()
        assert groups.close()

    inside(delegated, body)


@needs_root
def test_killing_by_hand_reaches_groups_below(delegated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroup_tree, "KILL", "cgroup.kill.not.there")

    def body() -> None:
        groups = opened()
        cell = groups.create("cell")
        below = Path(cell.path, "a", "b")
        below.mkdir(parents=True)
        with program("sleep", "60", group=below) as sleeper:
            cell.kill()
            assert sleeper.wait(10) == -signal.SIGKILL
        assert Path(cell.path, "cgroup.freeze").read_text() == "1\n"  # so that nothing could fork meanwhile
        assert groups.close()

    inside(delegated, body)


@needs_root
def test_a_reading_counts_processor_time_without_a_controller(delegated: Path) -> None:
    def body() -> None:
        groups = opened()
        cell = groups.create("cell")
        assert cell.read().cpu_usec == 0
        with program(
            sys.executable, "-c", "import time\nwhile time.process_time() < 0.05: pass", group=cell.path
        ) as it:
            it.wait()
        used = cell.read()
        assert used.cpu_usec is not None
        assert 50_000 <= used.cpu_usec < 5_000_000
        for name, values in (
            ("memory", (used.memory_peak, used.oom_kills)),
            ("pids", (used.pids_max_events,)),
        ):
            assert all((value is None) == (name in groups.missing) for value in values)
        assert groups.close()

    inside(delegated, body)


@needs_root
def test_closing_kills_and_removes_what_is_left(delegated: Path) -> None:
    def body() -> None:
        groups = opened()
        groups.create("empty")
        cell = groups.create("cell")
        with program("sh", "-c", TREE, group=cell.path) as shell:
            assert shell.stdout is not None
            assert shell.stdout.readline() == "ready\n"
            assert groups.close()
            assert shell.wait() == -signal.SIGKILL
        assert subgroups(delegated) == {"agent"}

    inside(delegated, body)


@needs_root
def test_waiting_for_a_group_to_become_empty_has_an_end(delegated: Path) -> None:
    def body() -> None:
        groups = opened()
        cell = groups.create("cell")
        directory = Directory(cell.path)
        with program("sleep", "60", group=cell.path):
            assert not directory.wait_empty(deadline=0)
        assert directory.wait_empty(deadline=0)
        assert cell.remove()
        assert directory.wait_empty(deadline=0)
        directory.close()
        directory.close()
        assert groups.close()

    inside(delegated, body)


@needs_root
def test_what_a_dead_spawner_left_is_cleared_and_what_a_living_one_has_is_not(delegated: Path) -> None:
    def body() -> None:
        with (
            program(sys.executable, "-c", SPAWNER) as living,
            program(sys.executable, "-c", SPAWNER) as dying,
        ):
            assert living.stdout is not None
            assert dying.stdout is not None
            kept, spared = living.stdout.readline().split()
            left, lost = dying.stdout.readline().split()
            dying.kill()
            dying.wait()
            assert members(f"{left}/cell") == {int(lost)}
            groups = opened()
            assert groups.leftovers == []
            assert not Path(left).exists()
            assert members(f"{kept}/cell") == {int(spared)}
            assert groups.close()

    inside(delegated, body)


@needs_root
def test_descriptors_are_given_back(delegated: Path) -> None:
    def body() -> None:
        def descriptors() -> int:
            return len(os.listdir("/proc/self/fd"))

        before = descriptors()
        for _ in range(3):
            groups = opened()
            cell = groups.create("cell")
            cell.read()
            cell.limit()
            cell.kill()
            assert cell.remove()
            assert groups.close()
        assert descriptors() == before

    inside(delegated, body)


def test_the_privileged_side_grows_by_nothing_but_these_modules() -> None:
    """The spawner loads them: what they import beyond it costs every host memory."""
    code = """
from __future__ import annotations
import sys, errno, fcntl, os, select, signal, time
before = set(sys.modules)
from lattice_agent.exec.kernel import cgroup
print(*sorted(name for name in set(sys.modules) - before if not name.startswith("lattice_agent")))
"""
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert shown.stdout.split() == []
