"""Subordinate ids, for real: an ordinary user's spawner on a host that has given its user a range, or not quite."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import prctl
import pytest

from lattice_agent.exec import blueprint, cells, id_mapping
from lattice_agent.exec.cell_ends import CellEnds
from lattice_agent.exec.id_mapping import NoMappingError
from lattice_agent.exec.kernel import privileges
from lattice_agent.exec.requests import CellFailed, CellGone
from tests.hostile.rig import children_of
from tests.rigs.cells import (
    CellLine,
    a_cell_line,
    a_place,
    a_reachable_program,
    apart,
    ended,
    fork_spawner_as,
    heard_from,
    init_of,
    its_init_listens,
    settled,
    start,
    status_of,
)
from tests.rigs.extent import mostly_long
from tests.rigs.subordinate import GIVEN, LINE, TOO_FEW, USER, give_here

pytestmark = pytest.mark.needs_root

GROUPS = (4, 27)
NO_CAPABILITIES = "0" * 16


@contextmanager
def a_line(monkeypatch: pytest.MonkeyPatch, before: Callable[[], None] = give_here) -> Iterator[CellLine]:
    with a_reachable_program(monkeypatch), a_cell_line(fork_spawner_as(USER, GROUPS, before)) as line:
        yield line


@pytest.fixture(scope="module")
def shared() -> Iterator[CellLine]:
    with pytest.MonkeyPatch.context() as patch, a_line(patch) as line:
        yield line


@pytest.fixture
def line(shared: CellLine) -> Iterator[CellLine]:
    yield shared
    assert shared.forget()


def pair(cell: CellEnds) -> tuple[int, int]:
    """Init and launcher, when both wait."""
    its_init_listens(cell)
    init = init_of(cell)
    settled(lambda: len(children_of(init)) == 1)
    [launcher] = children_of(init)
    settled(lambda: status_of(launcher)["CapEff"] == NO_CAPABILITIES)
    return init, launcher


def ids_of(pid: int) -> tuple[int, int]:
    """The one uid and the one gid of a process, as this namespace calls them."""
    status = status_of(pid)
    [uid], [gid] = set(status["Uid"].split()), set(status["Gid"].split())
    return int(uid), int(gid)


def output_of(line: CellLine, cell: CellEnds, script: str) -> str:
    start(cell, script)
    ended(cell)
    gone = line.hear()
    assert isinstance(gone, CellGone)
    assert gone.cell == cell.number
    return os.read(cell.stdout, 65_536).decode()


# --- with a range ---


def test_every_script_and_every_init_has_ids_of_the_range_that_no_other_has(line: CellLine) -> None:
    pairs = [pair(line.cell()) for _ in range(4)]
    uids = [ids_of(pid)[0] for both in pairs for pid in both]
    assert len(set(uids)) == len(uids)
    assert set(uids) <= set(GIVEN)
    assert {ids_of(pid)[1] for both in pairs for pid in both} <= set(GIVEN)


def test_the_supplementary_groups_of_the_agent_are_dropped(line: CellLine) -> None:
    assert status_of(line.spawner.pid)["Groups"].split() == ["4", "27"]
    for pid in pair(line.cell()):
        assert status_of(pid)["Groups"] == ""
    assert output_of(line, line.cell(), "id -G").split() == output_of(line, line.cell(), "id -g").split()


def test_nobody_in_a_cell_is_root_or_the_agent_and_their_user_namespace_knows_no_root(line: CellLine) -> None:
    for pid in pair(line.cell()):
        for kind, own in (("uid_map", USER), ("gid_map", USER)):
            mapped, given = Path(f"/proc/{pid}/{kind}").read_text().splitlines()
            assert mapped.split() == [str(blueprint.OWN_INSIDE), str(own), "1"]
            assert given.split()[0] == str(blueprint.FIRST_INSIDE)
            assert given.split()[2] == str(cells.SUBORDINATE_IDS)
        assert not set(ids_of(pid)) & {0, USER}


def test_they_are_confined_as_those_of_root(line: CellLine) -> None:
    init, launcher = pair(line.cell())
    for pid in (init, launcher):
        seen = status_of(pid)
        assert (seen["NoNewPrivs"], seen["Seccomp"]) == ("1", "2")
        assert {seen[name] for name in ("CapInh", "CapBnd", "CapAmb")} == {NO_CAPABILITIES}
    assert status_of(launcher)["CapPrm"] == NO_CAPABILITIES
    settled(lambda: int(status_of(init)["CapPrm"], 16) == 1 << privileges.CAP_KILL)


def test_cells_of_one_template_share_its_user_namespace_and_nothing_else(line: CellLine) -> None:
    first, second = pair(line.cell())[0], pair(line.cell())[0]
    for kind in ("pid", "mnt", "net", "ipc", "uts", "cgroup", "user"):
        spaces = {os.readlink(f"/proc/{pid}/ns/{kind}") for pid in (first, second, os.getpid())}
        assert len(spaces) == (2 if kind == "user" else 3), kind


def test_a_script_can_signal_neither_its_init_nor_another_cell_nor_the_agent(line: CellLine) -> None:
    other_init, other_launcher = pair(line.cell())
    cell = line.cell()
    targets = f"1 {other_init} {other_launcher} {line.spawner.pid}"
    told = output_of(line, cell, f"for pid in {targets}; do kill -9 $pid && echo $pid; done; kill -9 -1; echo after")
    assert told in ("", "after\n")  # the last one reaches all that it may: at most itself
    for pid in (other_init, other_launcher, line.spawner.pid):
        assert status_of(pid)["State"][0] in "SR"


def test_the_pipes_and_the_script_belong_to_the_script(line: CellLine) -> None:
    cell = line.cell()
    _init, launcher = pair(cell)
    owners = {os.fstat(fd).st_uid for fd in (cell.stdout, cell.stderr, cell._script)}
    assert owners == {ids_of(launcher)[0]}
    assert output_of(line, cell, "echo by name > /dev/stdout; touch file; stat -c %u . file script | uniq | wc -l") == (
        "by name\n1\n"
    )


def test_a_slot_that_is_free_again_gives_its_ids_again(line: CellLine) -> None:
    cell = line.cell()
    before = ids_of(pair(cell)[1])
    line.end(cell)
    assert ids_of(pair(line.cell())[1]) == before


def test_on_disk_a_script_has_the_agents_ids_and_still_no_groups_and_another_init(line: CellLine) -> None:
    with a_place() as place:
        os.chown(place, USER, USER)
        cell = line.cell(directory=os.fsencode(place))
        init, launcher = pair(cell)
        assert ids_of(launcher) == (USER, USER)
        assert ids_of(init)[0] in GIVEN
        assert status_of(launcher)["Groups"] == ""
        assert output_of(line, cell, "mkdir d; echo x > d/file; id -G; kill -9 1 || echo refused") == "1000\nrefused\n"
        owners = {path.stat().st_uid for path in (place, *place.rglob("*"))}
        assert owners == {USER}
        # And one in memory, of the same template.
        assert ids_of(pair(line.cell())[1])[0] in GIVEN


@pytest.mark.long
def test_when_the_spawner_is_gone_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    with a_line(monkeypatch) as line:
        cell = line.cell()
        start(cell, "setsid sleep 60 & echo up; sleep 60")
        heard_from(cell, b"up\n")
        init = init_of(cell)
    assert not Path(f"/proc/{init}").exists()
    of_the_range = [
        entry
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and entry.exists() and entry.stat().st_uid in GIVEN
    ]
    assert of_the_range == []


# --- without one ---


def no_tools(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    monkeypatch.setattr(id_mapping, "TOOLS", ("/nowhere/newuidmap", "/nowhere/newgidmap"))
    return give_here


def a_tool_that_fails(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    monkeypatch.setattr(id_mapping, "TOOLS", ("/usr/bin/newuidmap", "/bin/false"))
    return give_here


def no_new_privileges(_monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    def before() -> None:
        give_here()
        prctl.set_no_new_privs(1)

    return before


def a_range(line: bytes) -> Callable[[pytest.MonkeyPatch], Callable[[], None]]:
    return lambda _monkeypatch: lambda: give_here(line)


def a_name_of_another(_monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    return lambda: give_here(uid=USER + 1)


WITHOUT = {
    "no tools": (no_tools, "/nowhere/newuidmap is not there"),
    "a tool that fails": (a_tool_that_fails, r"it was tried: /bin/false ended with 1"),
    "no_new_privs": (no_new_privileges, r"no_new_privs is set .*"),
    "too few": (a_range(TOO_FEW), "/etc/subuid: line 1 gives 127 ids, and 128 are needed"),
    "malformed": (a_range(b"\xff\0:\nlattice-test:x"), "/etc/subuid: line 2 is not OWNER:FIRST:COUNT"),
    "empty": (a_range(b""), "/etc/subuid: has no line for this user"),
    "too large": (a_range(LINE + b"#" * id_mapping.FILE_MOST), "/etc/subuid: is no file, or larger than .*"),
    "no login name": (a_name_of_another, f"uid {USER} has no login name, .*"),
    "ids of others": (a_range(b"lattice-test:0:65536\n"), "/etc/subuid: line 1 has id 0, .*"),
}


@pytest.mark.parametrize("what", mostly_long(WITHOUT))
def test_without_a_range_cells_have_the_agents_one_id(
    what: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    make, reason = WITHOUT[what]
    with a_line(monkeypatch, make(monkeypatch)) as line:
        init, launcher = pair(line.cell())
        assert ids_of(init) == ids_of(launcher) == (USER, USER)
        assert status_of(launcher)["Groups"].split() == ["4", "27"]
        mapped = Path(f"/proc/{launcher}/uid_map").read_text().split()
        assert (mapped[0], mapped[2]) == ("1000", "1")
        # Another template: it is not tried again.
        assert ids_of(pair(line.cell(network=1))[1]) == (USER, USER)
    told = capfd.readouterr().err
    assert told.count("cells share the agent's uid") == ("it was tried" in reason)
    assert "it was tried" not in reason or re.search(reason, told)


@pytest.mark.parametrize("what", [name for name, (_, reason) in WITHOUT.items() if "tried" not in reason])
def test_why_there_is_none_can_be_asked(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make, reason = WITHOUT[what]

    def story() -> str:
        make(monkeypatch)()
        os.setresgid(USER, USER, USER)
        os.setresuid(USER, USER, USER)
        with pytest.raises(NoMappingError) as refusal:
            id_mapping.look(cells.SUBORDINATE_IDS)
        return str(refusal.value)

    assert re.fullmatch(reason, apart(story))


def test_a_range_that_is_taken_away_later_is_a_failure_and_nothing_weaker(monkeypatch: pytest.MonkeyPatch) -> None:
    """The agent has seen by then that ids are unique and no groups are kept."""
    with a_place() as place:
        marker = place / "gone"
        look = id_mapping.look

        def look_unless_gone(count: int) -> tuple[range, range]:
            if marker.exists():
                raise NoMappingError("the range is gone")
            return look(count)

        monkeypatch.setattr(id_mapping, "look", look_unless_gone)
        with a_line(monkeypatch) as line:
            line.end(line.cell())
            marker.touch()
            line.send(line.request(5, network=1))
            assert line.hear() == CellFailed(5, b"the range is gone")
            assert ids_of(pair(line.cell())[1])[0] in GIVEN  # of the template that is there
            marker.unlink()
            assert ids_of(pair(line.cell(network=1))[1])[0] in GIVEN


@pytest.mark.long
def test_a_program_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    with a_place() as place:
        hanging = place / "newuidmap"
        hanging.write_text("#!/bin/sh\nexec sleep 600\n")
        hanging.chmod(0o755)
        monkeypatch.setattr(id_mapping, "TOOLS", (os.fspath(hanging), "/bin/false"))
        monkeypatch.setattr(id_mapping, "MAP_S", 1)
        with a_line(monkeypatch) as line:
            assert ids_of(pair(line.cell())[1]) == (USER, USER)


@pytest.mark.long
def test_hanging_up_while_a_program_hangs_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with a_place() as place:
        hanging, came = place / "newuidmap", place / "came"
        os.mkfifo(came)
        came.chmod(0o666)
        hanging.write_text(f"#!/bin/sh\necho $$ > {came}\nexec sleep 600\n")
        hanging.chmod(0o755)
        monkeypatch.setattr(id_mapping, "TOOLS", (os.fspath(hanging), os.fspath(hanging)))
        with a_line(monkeypatch) as line:
            line.send(line.request(5))
            pids = came.read_text().split()
        assert pids
        settled(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
