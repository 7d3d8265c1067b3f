"""The agent's ends of a cell, with a test at the other ends."""

import errno
import os
import resource
import select
import struct
from collections.abc import Iterator

import pytest

from lattice_agent.errors import SandboxError
from lattice_agent.exec.cell_ends import limit_triples, prepare_request, usage_of, use_request
from lattice_agent.exec.dispatch import CellRecord, encode_task
from lattice_agent.exec.kernel.rlimits import INFINITY
from lattice_agent.exec.outcome import Usage
from lattice_agent.exec.plan import Level, Plan, Profile
from lattice_agent.exec.requests import PrepareCell, UseCell
from tests.hostile.rig import OUTER_LIMIT_S
from tests.rigs.cells import StagedCell, a_plan, a_staged_cell, limits


@pytest.fixture
def staged() -> Iterator[StagedCell]:
    with a_staged_cell() as staged:
        yield staged


def test_the_task_goes_in_whole(staged: StagedCell) -> None:
    plan = a_plan(b"echo \xff\0\n")
    staged.ends.dispatch(plan, "/somewhere")
    places = [f"{name}=/somewhere".encode() for name in ("HOME", "TMPDIR", "XDG_RUNTIME_DIR")]
    environment = [b"=".join(item.encode() for item in pair) for pair in plan.environment]
    argv = [b"/bin/sh", b"/somewhere/script"]
    assert staged.control.recv(65_536) == encode_task(argv, [*environment, *places], limit_triples(plan.limits))
    assert os.read(staged.script, 100) == b"echo \xff\0\n"
    assert os.read(staged.script, 100) == b""  # closed: a script that is written to cannot be executed


def test_a_cell_that_is_gone_takes_no_task(staged: StagedCell) -> None:
    staged.control.close()
    with pytest.raises(SandboxError, match="the cell is gone: Broken pipe"):
        staged.ends.dispatch(a_plan(":"), "/somewhere")


def test_a_task_that_cannot_be_passed_is_refused_before_it_is_sent(staged: StagedCell) -> None:
    plan = a_plan(":")
    with pytest.raises(SandboxError, match="NUL"):
        staged.ends.dispatch(Plan(**(vars(plan) | {"environment": (("A", "x\0y"),)})), "/somewhere")
    assert not select.select([staged.control], [], [], 0)[0]


def test_the_record_is_read_once_and_kept(staged: StagedCell) -> None:
    staged.write_record(status=0x0300, killed=2, cpu_us=1_000_000, max_rss_kib=3)
    staged.die()
    assert staged.ends.record() == staged.ends.record() == CellRecord(0x0300, 2, 1.0, 3072)


def test_an_init_that_was_killed_leaves_no_record(staged: StagedCell) -> None:
    staged.die()
    assert staged.ends.record() is None
    assert staged.ends.record() is None


def test_half_a_record_is_none(staged: StagedCell) -> None:
    os.write(staged.status, b"\0" * 20)
    staged.die()
    assert staged.ends.record() is None


def test_a_launcher_that_failed_says_why(staged: StagedCell) -> None:
    staged.control.send(struct.pack("=i", errno.ENOENT))
    assert staged.ends.start_failure() == "No such file or directory"


def test_a_launcher_that_says_nothing_or_something_else_has_not_failed(staged: StagedCell) -> None:
    assert staged.ends.start_failure() == ""
    staged.control.send(b"x")
    assert staged.ends.start_failure() == ""
    staged.control.close()
    assert staged.ends.start_failure() == ""


def test_the_end_shows_at_the_pidfd_alone(staged: StagedCell) -> None:
    assert not select.select([staged.ends.pidfd], [], [], 0)[0]
    staged.die()
    assert select.select([staged.ends.pidfd], [], [], OUTER_LIMIT_S)[0]


@pytest.mark.parametrize("taken", [False, True])
def test_closing_gives_everything_back_but_what_was_taken(taken: bool) -> None:
    before = os.listdir("/proc/self/fd")
    with a_staged_cell() as staged:
        streams = staged.ends.take_streams() if taken else ()
        assert len(streams) == (2 if taken else 0)
        staged.ends.close()
        for fd in streams:
            os.fstat(fd)
            os.close(fd)
        staged.ends.close()  # again: nothing that has the numbers now is touched
    assert os.listdir("/proc/self/fd") == before


def test_what_limits_a_cell_is_known_by_name() -> None:
    with a_staged_cell() as staged:
        assert staged.ends.controllers == ()


@pytest.mark.parametrize(
    ("profile", "directory", "request_"),
    [
        (Profile(Level.STRICT), "", PrepareCell(3, b"strict", 0, [], [], 64 << 20, 8192, b"")),
        (
            Profile(Level.NETWORK, read_only=("/a", "/ü"), writable=("/b\udcff",), work_bytes=5, work_inodes=6),
            "",
            PrepareCell(3, b"network", 0, [b"/a", "/ü".encode()], [b"/b\xff"], 5, 6, b""),
        ),
        (Profile(Level.LANDLOCK, network=True), "/w", PrepareCell(3, b"landlock", 1, [], [], 64 << 20, 8192, b"/w")),
    ],
)
def test_a_profile_as_a_request(profile: Profile, directory: str, request_: PrepareCell) -> None:
    assert prepare_request(3, profile, directory) == request_


@pytest.mark.parametrize(("percent", "sent"), [(None, 0), (150, 150)])
def test_limits_of_the_whole_cell_as_a_request(percent: int | None, sent: int) -> None:
    asked = limits(memory_bytes=7, processes=8, cpu_percent=percent)
    assert use_request(3, asked) == UseCell(3, 7, 8, sent)


def test_limits_of_each_process_for_the_launcher() -> None:
    asked = limits(cpu_s=5, file_bytes=10, processes=11, address_bytes=12, data_bytes=13)
    assert limit_triples(asked) == [
        (resource.RLIMIT_CPU, 5, 6),
        (resource.RLIMIT_FSIZE, 10, 10),
        (resource.RLIMIT_NPROC, 11, 11),
        (resource.RLIMIT_AS, 12, 12),
        (resource.RLIMIT_DATA, 13, 13),
    ]


def test_no_limit_of_the_address_space_and_fractions_of_a_second() -> None:
    triples = {number: (soft, hard) for number, soft, hard in limit_triples(limits(cpu_s=0.2, address_bytes=None))}
    assert triples[resource.RLIMIT_AS] == (INFINITY, INFINITY)
    assert triples[resource.RLIMIT_CPU] == (1, 2)


@pytest.mark.parametrize(("seen", "expected"), [(0, 100), (99, 100), (101, 101)])
def test_the_larger_of_two_measures_of_memory_is_told(seen: int, expected: int) -> None:
    assert usage_of(CellRecord(9, 0, 0.5, 100), 1.5, seen) == Usage(9, 1.5, 0.5, expected)
