"""Where the spawner gets its filters: from a child that sends them, or says why not."""

import os
import select
import signal
import struct
import sys
from collections.abc import Callable

import pytest

from lattice_agent.exec import filter_source
from lattice_agent.exec.filter_export import export_filter
from lattice_agent.exec.filter_source import VARIANTS, Filters
from lattice_agent.exec.kernel import descriptors, privileges, seccomp
from lattice_agent.exec.syscalls import Variant
from tests.hostile.rig import OUTER_LIMIT_S
from tests.rigs.cells import apart


def finish(filters: Filters) -> None:
    """Take in everything."""
    while True:
        assert select.select([filters.fileno()], [], [], OUTER_LIMIT_S)[0]
        if filters.read():
            return


def programs(filters: Filters) -> list[bytes | None]:
    return [filters.program(inet=inet, shares_host=shares_host) for inet, shares_host in VARIANTS]


def asked(filters: Filters, *, memory_watch: bool = False) -> list[bytes | None]:
    pid = filters.ask(memory_watch=memory_watch)
    finish(filters)
    assert os.waitpid(pid, 0)[1] == 0
    return programs(filters)


def said(monkeypatch: pytest.MonkeyPatch, say: Callable[[int], None]) -> Filters:
    """Filters whose child says something else."""

    def child(write: int, _memory_watch: bool) -> None:
        try:
            descriptors.keep_only({0, 1, 2, write})
            say(write)
        finally:
            os._exit(0)

    monkeypatch.setattr(filter_source, "_export", child)
    filters = Filters()
    pid = filters.ask(memory_watch=True)
    finish(filters)
    os.waitpid(pid, 0)
    return filters


@pytest.mark.parametrize("memory_watch", [False, True])
def test_the_programs_are_those_that_are_exported(memory_watch: bool) -> None:
    filters = Filters()
    assert not filters.asked
    assert filters.fileno() == -1
    assert programs(filters) == [None] * len(VARIANTS)
    expected = [
        export_filter(Variant(inet=inet, memory_watch=memory_watch, shares_host=shares_host))
        for inet, shares_host in VARIANTS
    ]
    assert asked(filters, memory_watch=memory_watch) == expected
    assert filters.asked
    assert filters.error == ""
    assert filters.fileno() == -1


def test_every_variant_is_another_program_that_the_kernel_takes() -> None:
    filters = Filters()
    found = asked(filters)
    assert len(set(found)) == len(VARIANTS)

    def story() -> str:
        privileges.no_new_privileges()
        for program in found:
            assert program is not None
            seccomp.install(program)
        return "installed"

    assert apart(story) == "installed"


def test_what_makes_the_filter_is_never_in_the_asking_process() -> None:
    def story() -> str:
        for name in ("pyseccomp", "lattice_agent.exec.filter_export", "lattice_agent.exec.syscalls"):
            sys.modules.pop(name, None)
        filters = Filters()
        assert all(asked(filters))
        return str(sorted(name for name in sys.modules if name in ("pyseccomp", "lattice_agent.exec.filter_export")))

    assert apart(story) == "[]"


def test_the_asking_process_keeps_one_descriptor_until_the_end() -> None:
    before = len(os.listdir("/proc/self/fd"))
    filters = Filters()
    pid = filters.ask(memory_watch=False)
    assert len(os.listdir("/proc/self/fd")) == before + 1
    finish(filters)
    os.waitpid(pid, 0)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_child_that_cannot_make_them_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyseccomp", None)  # importing it then fails, in the child too
    filters = Filters()
    assert asked(filters) == [None] * len(VARIANTS)
    assert filters.error.startswith("seccomp: cannot load libseccomp")
    assert "install the package libseccomp2" in filters.error


LENGTH = struct.Struct("=I")
WHOLE = b"".join(LENGTH.pack(16) + bytes([number]) * 16 for number in range(len(VARIANTS)))


def test_programs_in_small_pieces_are_put_together(monkeypatch: pytest.MonkeyPatch) -> None:
    def say(write: int) -> None:
        for byte in WHOLE:
            os.write(write, bytes([byte]))

    filters = said(monkeypatch, say)
    assert programs(filters) == [bytes([number]) * 16 for number in range(len(VARIANTS))]
    assert filters.error == ""


def test_a_failure_after_the_first_program_leaves_none(monkeypatch: pytest.MonkeyPatch) -> None:
    filters = said(monkeypatch, lambda write: os.write(write, WHOLE[:20] + LENGTH.pack(0) + b"seccomp: no") and None)
    assert programs(filters) == [None] * len(VARIANTS)
    assert filters.error == "seccomp: no"


@pytest.mark.parametrize("length", [0, 3, 4, 12, 20, 22, len(WHOLE) - 8])
def test_a_child_that_is_killed_half_way_leaves_no_program(monkeypatch: pytest.MonkeyPatch, length: int) -> None:
    """Half a program may be one that the kernel takes, and that lets more through."""

    def say(write: int) -> None:
        os.write(write, WHOLE[:length])
        os.kill(os.getpid(), signal.SIGKILL)

    filters = said(monkeypatch, say)
    assert programs(filters) == [None] * len(VARIANTS)
    assert "died" in filters.error


def test_a_child_that_does_not_stop_is_not_listened_to_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    def say(write: int) -> None:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        while True:
            os.write(write, LENGTH.pack(1 << 30) * 4096)

    filters = said(monkeypatch, say)
    assert programs(filters) == [None] * len(VARIANTS)
    assert filters.error
