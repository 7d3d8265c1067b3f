"""What waits for a task: two tiny processes, seen in /proc from outside, as root and as an ordinary user makes them."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from lattice_agent.exec import blueprint, cell_steps
from lattice_agent.exec.blueprint import LANDLOCK, STRICT, Blueprint, Build, Identity
from lattice_agent.exec.cell_ends import CellEnds
from lattice_agent.exec.step import Step, StepError, carry_out
from tests.hostile.rig import children_of, parent_of
from tests.rigs.cells import (
    NOBODY,
    CellLine,
    a_cell_line,
    a_reachable_program,
    descriptors_of,
    fork_spawner_as,
    init_of,
    its_init_listens,
    settled,
    status_of,
)

pytestmark = pytest.mark.needs_root

CAP_KILL = 1 << 5
KINDS = ("pid", "mnt", "net", "ipc", "uts", "cgroup", "user")
NO_CAPABILITIES = "0" * 16


@pytest.fixture(scope="module")
def line() -> Iterator[CellLine]:
    with a_cell_line() as line:
        yield line


@pytest.fixture(scope="module")
def nobodys_line() -> Iterator[CellLine]:
    with (
        pytest.MonkeyPatch.context() as patch,
        a_reachable_program(patch),
        a_cell_line(fork_spawner_as(NOBODY)) as line,
    ):
        yield line


def pair(cell_: CellEnds) -> tuple[int, int]:
    """Init and launcher, when both wait."""
    its_init_listens(cell_)
    init = init_of(cell_)
    settled(lambda: len(children_of(init)) == 1)
    [launcher] = children_of(init)
    settled(lambda: status_of(launcher)["CapEff"] == NO_CAPABILITIES)
    return init, launcher


@pytest.fixture(params=["root", "nobody"])
def who(request: pytest.FixtureRequest, line: CellLine, nobodys_line: CellLine) -> CellLine:
    return line if request.param == "root" else nobodys_line


def test_two_processes_wait_below_the_spawner(who: CellLine) -> None:
    init, launcher = pair(who.cell())
    assert parent_of(init) == who.spawner.pid
    assert parent_of(launcher) == init
    assert (status_of(init)["NSpid"].split()[-1], status_of(launcher)["NSpid"].split()[-1]) == ("1", "2")
    assert status_of(launcher)["Threads"] == "1"


def test_they_are_the_native_program_and_nothing_of_the_spawner_is_in_them(who: CellLine) -> None:
    for pid in pair(who.cell()):
        assert Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"lattice-cell\0")
        assert Path(f"/proc/{pid}/environ").read_bytes() == b""
        mapped = {entry.split()[-1] for entry in Path(f"/proc/{pid}/maps").read_text().splitlines() if "/" in entry}
        assert {os.path.basename(path) for path in mapped} <= {"cell"}
        assert int(status_of(pid)["VmRSS"].split()[0]) < 256  # kB


def test_they_hold_what_they_wait_with(who: CellLine) -> None:
    init, launcher = pair(who.cell())
    held = descriptors_of(init)
    assert set(held) == {0, 1, 2, 4}
    waits = descriptors_of(launcher)
    assert set(waits) == {0, 1, 2, 3}
    assert waits[0] == os.devnull
    assert [waits[number].split(":")[0] for number in (1, 2, 3)] == ["pipe", "pipe", "socket"]


def test_they_are_confined_before_any_task_comes(who: CellLine) -> None:
    init, launcher = pair(who.cell())
    for pid in (init, launcher):
        seen = status_of(pid)
        assert (seen["NoNewPrivs"], seen["Seccomp"]) == ("1", "2")
        assert {seen[name] for name in ("CapInh", "CapBnd", "CapAmb")} == {NO_CAPABILITIES}
        assert Path(f"/proc/{pid}/oom_score_adj").read_text() == "1000\n"
        assert int(seen["SigBlk"], 16) == 0
    assert status_of(launcher)["CapPrm"] == NO_CAPABILITIES
    kept = int(status_of(init)["CapPrm"], 16)
    assert kept == (CAP_KILL if who.spawner.pid and status_of(init)["Uid"].split()[0] != str(NOBODY) else 0)


def test_their_ids_are_nobody_elses(line: CellLine) -> None:
    init, launcher = pair(line.cell())
    ours, theirs = status_of(init)["Uid"].split(), status_of(launcher)["Uid"].split()
    assert len(set(ours)) == len(set(theirs)) == 1
    assert ours != theirs
    assert min(int(ours[0]), int(theirs[0])) >= 0x7000_0000
    for pid in (init, launcher):
        assert status_of(pid)["Groups"] == ""


def test_an_ordinary_user_maps_one_id_that_is_not_root(nobodys_line: CellLine) -> None:
    _init, launcher = pair(nobodys_line.cell())
    assert status_of(launcher)["Uid"].split() == [str(NOBODY)] * 4
    mapping = Path(f"/proc/{launcher}/uid_map").read_text().split()
    assert (mapping[0], mapping[2]) == ("1000", "1")


def test_every_namespace_is_its_own(who: CellLine) -> None:
    first, second = pair(who.cell()), pair(who.cell())
    kinds = KINDS if status_of(first[0])["Uid"].split()[0] == str(NOBODY) else KINDS[:-1]
    for kind in kinds:
        seen = [os.readlink(f"/proc/{pid}/ns/{kind}") for pid in (first[0], first[1], second[0], os.getpid())]
        assert seen[0] == seen[1]
        assert len({seen[0], seen[2], seen[3]}) == 3, kind


def test_they_have_a_session_without_a_terminal(who: CellLine) -> None:
    for pid in pair(who.cell()):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        assert fields[4] == "0"  # tty_nr


def test_the_script_file_is_held_by_the_agent_alone(line: CellLine) -> None:
    ends = line.cell()
    status = os.fstat(ends._script)
    assert stat.S_IMODE(status.st_mode) == 0o600
    assert status.st_size == 0
    _init, launcher = pair(ends)
    assert status.st_uid == int(status_of(launcher)["Uid"].split()[0])


def test_the_pipes_belong_to_the_script(line: CellLine) -> None:
    ends = line.cell()
    _init, launcher = pair(ends)
    assert os.fstat(ends.stdout).st_uid == int(status_of(launcher)["Uid"].split()[0])


def test_what_the_agent_gets_is_closed_on_exec(line: CellLine) -> None:
    ends = line.cell()
    numbers = [ends._control.fileno(), ends._script, ends._status, ends.stdout, ends.stderr, ends.pidfd]
    assert not any(os.get_inheritable(number) for number in numbers)


def test_at_level_landlock_there_are_no_namespaces(line: CellLine, tmp_path: Path) -> None:
    init, launcher = pair(line.cell(level=LANDLOCK, directory=os.fsencode(tmp_path)))
    for kind in KINDS:
        assert os.readlink(f"/proc/{launcher}/ns/{kind}") == os.readlink(f"/proc/self/ns/{kind}")
    assert status_of(launcher)["Seccomp"] == "2"
    assert os.readlink(f"/proc/{init}/cwd") == os.fspath(tmp_path)


# --- making one ---


def test_a_step_that_fails_names_itself_and_what_it_was_about() -> None:
    def fail(_values: object) -> None:
        raise FileNotFoundError(2, "No such file or directory", "/somewhere")

    done: list[str] = []
    steps = (
        Step("first", lambda _values: done.append("first"), "", ""),
        Step("second", fail, "", ""),
        Step("third", lambda _values: done.append("third"), "", ""),
    )
    with pytest.raises(StepError, match=r"^second: No such file or directory \(/somewhere\)$"):
        carry_out(steps, None)
    assert done == ["first"]


def test_a_step_that_fails_without_a_name_still_tells_the_reason() -> None:
    def fail(_values: object) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(StepError, match=r"^only: No space left on device$"):
        carry_out((Step("only", fail, "", ""),), None)


def a_build(level: bytes, **changes: object) -> Build:
    identity = Identity(70_000, 70_000, 70_001, unique=True, keep_groups=False)
    values: dict[str, object] = {"filter_program": bytes(16)}
    return Build(Blueprint(level), identity, **(values | changes))  # type: ignore[arg-type]  # values by name


def test_where_a_script_runs() -> None:
    assert a_build(STRICT).work_directory == blueprint.WORK
    assert a_build(STRICT, directory=b"/srv/x").work_directory == blueprint.WORK
    assert a_build(LANDLOCK, directory=b"/srv/\xff").work_directory == "/srv/\udcff"


def test_the_order_of_the_steps_keeps_what_it_must() -> None:
    """The reasons are in cell_steps; a step that moves across one of these lines stops protecting."""
    names = [step.name for step in cell_steps.CELL_STEPS]
    assert len(set(names)) == len(names)
    before = [
        ("resolver-file", "template"),
        ("template", "namespaces"),
        ("namespaces", "root"),
        ("root", "proc"),
        ("proc", "proc-sealed"),
        ("no-new-privs", "landlock"),
        ("no-new-privs", "seccomp"),
        ("groups", "identity"),
        ("identity", "capabilities"),
        ("identity", "end-with-spawner"),
    ]
    assert [pair_ for pair_ in before if names.index(pair_[0]) >= names.index(pair_[1])] == []
    assert names[-1] == "seccomp"


@pytest.mark.parametrize("level", [STRICT, LANDLOCK])
def test_each_step_says_what_it_does_and_why(level: bytes) -> None:
    build = a_build(level, directory=b"/srv/work" if level == LANDLOCK else b"")
    for step in cell_steps.steps_for(build):
        assert step.describe(build).strip()
        assert step.reason.strip()
