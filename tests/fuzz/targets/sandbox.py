"""Between agent, spawner and cell: requests with descriptors, records, what a probe and /proc say."""

import os
import re
import struct
from typing import Final

from lattice_agent.errors import SandboxError
from lattice_agent.exec import inside_look
from lattice_agent.exec.dispatch import RECORD_BYTES, decode_record, encode_task
from lattice_agent.exec.host import parse_status
from lattice_agent.exec.id_range import IDS_MOST, NoRangeError, find_range
from lattice_agent.exec.kernel import cgroup_place, proctree, seqpacket
from lattice_agent.exec.memory_watch import kilobytes
from lattice_agent.exec.outcome import Usage
from lattice_agent.exec.plan import Level, Limits, Profile
from lattice_agent.exec.probe import expected
from lattice_agent.exec.probe_script import read_facts
from lattice_agent.exec.probe_seen import Outside, Seen, parse_mount, parse_namespaces
from lattice_agent.exec.protections import judge
from lattice_agent.exec.requests import (
    FROM_SPAWNER,
    FROM_SUPERVISOR,
    MAX_MESSAGE,
    TO_SPAWNER,
    TO_SUPERVISOR,
    PrepareCell,
    RefusedMessageError,
    Run,
    check_cell,
    check_run,
    decode,
    encode,
    number_of,
)
from tests.fuzz.form import text
from tests.fuzz.target import Target

_LIMITS: Final = Limits(wall_s=30, output_bytes=65_536, cpu_s=60, processes=64)
_SIDES: Final = (TO_SPAWNER, FROM_SPAWNER, TO_SUPERVISOR, FROM_SUPERVISOR)


def _request(data: bytes) -> None:
    """The first byte: how many descriptors came along, and which side it is for."""
    if not data:
        return
    message = decode(data[1:], _SIDES[data[0] % 4], data[0] // 4 % 12)
    assert encode(message) == data[1:]
    number_of(message)
    if isinstance(message, Run):
        check_run(message)
        assert all(path.startswith(b"/") for path in (*message.argv, message.directory))
    elif isinstance(message, PrepareCell):
        check_cell(message)
        for path in (*message.read_only, *message.writable):
            assert not os.path.normpath(path).startswith((b"/proc", b"/sys", b"/dev")) or _is_longer_name(path)


def _is_longer_name(path: bytes) -> bool:
    return re.match(rb"//?(proc|sys|dev)[^/]", os.path.normpath(path)) is not None


def _passed(data: bytes) -> None:
    """A message with descriptors over a real pair: whatever it is, none stays open."""
    count, body = (data[0] % 16, data[1:]) if data else (0, b"")
    ours, theirs = seqpacket.pair()
    with ours, theirs:
        given = [os.dup(ours.fileno()) for _ in range(count)]
        before = len(os.listdir("/proc/self/fd")) - count
        seqpacket.send(ours, body, given)
        seqpacket.close_all(given)
        passed: list[int] = []
        try:
            received = seqpacket.receive(theirs, MAX_MESSAGE)
            if received is not None:
                content, passed = received
                assert content == body
                decode(content, TO_SPAWNER, len(passed))
        except (seqpacket.CutMessageError, RefusedMessageError):
            pass
        finally:
            seqpacket.close_all(passed)
        assert len(os.listdir("/proc/self/fd")) == before


def _record(data: bytes) -> None:
    record = decode_record(data)
    assert (record is None) == (len(data) != RECORD_BYTES)
    if record is not None:
        assert Usage(record.status, 1.0, record.cpu_s, record.max_rss_bytes)


def _task(data: bytes) -> None:
    """Items between line feeds become the launcher's message: its lengths say exactly what is in it."""
    items = data.split(b"\n")
    message = encode_task(items[:2], items[2:], [(0, 1, 2)])
    limits, arguments, environment, _ = struct.unpack_from("=4I", message)
    assert message[16 + 24 * limits :].split(b"\0")[:-1] == items
    assert arguments + environment == len(items)


def _probe(data: bytes) -> None:
    """Whatever a probe's script prints, each protection is either seen or said to be missing, in words."""
    said, _, tried = data.partition(b"\f")
    facts, calls = read_facts(said), read_facts(tried)
    for level in (Level.STRICT, Level.LANDLOCK):
        seen = Seen(
            Profile(level),
            "/tmp/x",
            _LIMITS,
            Outside(uid=0, namespaces={"pid": "1"}),
            expected(),
            facts,
            calls,
        )
        verdict = judge(seen)
        assert len(verdict.lacks) + len(verdict.verified) > 0


def _proc(data: bytes) -> None:
    given = text(data)
    for line in given.split("\n"):
        parse_mount(line)
        parse_namespaces({"pid": line})
    cgroup_place.parse_own(given)
    for root, point in cgroup_place.parse_mounts(given):
        assert len(root) + len(point) <= len(given)


def _stat(data: bytes) -> None:
    """A name that a process gave itself cannot make another parent or session of what the kernel wrote."""
    name = data.replace(b"\0", b"")[:15].decode("utf-8", "replace")
    assert proctree.parse_stat(f"42 ({name}) S 7 42 9 0 -1 4194560 1 2") == (7, 9, "S")


def _named(data: bytes) -> None:
    """Whatever a script calls its process, the watcher of its memory reads what the kernel says."""
    name = data.replace(b"\0", b"")[:15].replace(b"\\", b"\\\\").replace(b"\n", b"\\n")
    status = b"Name:\t%s\nUmask:\t0022\nUid:\t1\t1\t1\t1\nRssAnon:\t      77 kB\nVmPTE:\t  5 kB\nThreads:\t3\n" % name
    assert kilobytes(status, b"RssAnon:") == 77 * 1024
    assert kilobytes(status, b"VmPTE:") == 5 * 1024
    assert kilobytes(status, b"RssShmem:") == 0
    assert parse_status(text(status)) == (1, 3)


def _inside(data: bytes) -> None:
    found = inside_look._parsed(data)
    assert sum(map(len, found.values())) <= data.count(b"\n") + data.count(b"\r") + len(data)


def _range(data: bytes) -> None:
    found = find_range(data, (b"lattice", b"1000"), 65_536, 1000)
    assert 0 < found.start < found.stop <= IDS_MOST
    assert len(found) >= 65_536
    assert 1000 not in found


TARGETS: Final = (
    Target("sandbox.request", ("lattice_agent.exec.requests",), _request, (RefusedMessageError,),
           "written again it is the same bytes; no path of a cell's own gets through", longest=MAX_MESSAGE + 2),
    Target("sandbox.passed", ("lattice_agent.exec.kernel.seqpacket",), _passed, (), "no descriptor stays open",
           longest=MAX_MESSAGE + 2),
    Target("sandbox.record", ("lattice_agent.exec.dispatch",), _record, (), "one of the right size, or none",
           longest=64),
    Target("sandbox.task", ("lattice_agent.exec.dispatch",), _task, (SandboxError,), "lengths say what is in it"),
    Target("sandbox.probe", ("lattice_agent.exec.probe_script", "lattice_agent.exec.probe_seen",
           "lattice_agent.exec.protection_signs", "lattice_agent.exec.protections"), _probe, (),
           "every protection is seen, or missing in words"),
    Target("sandbox.proc", ("lattice_agent.exec.kernel.cgroup_place", "lattice_agent.exec.probe_seen"), _proc, (),
           "no more than was read"),
    Target("sandbox.stat", ("lattice_agent.exec.kernel.proctree",), _stat, (), "a name changes nothing", longest=64),
    Target("sandbox.named", ("lattice_agent.exec.memory_watch", "lattice_agent.exec.host"), _named, (),
           "a name changes nothing", words=("RssAnon:", "VmPTE:", "Threads:", "Uid:"), longest=64),
    Target("sandbox.inside", ("lattice_agent.exec.inside_look",), _inside, (), "what is no answer is none"),
    Target("sandbox.id_range", ("lattice_agent.exec.id_range",), _range, (NoRangeError,),
           "neither id 0 nor the user's own"),
)  # fmt: skip
