"""The audit: every record can be found again, damage is seen, and nothing is dropped in silence."""

import hashlib
import json
import os
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lattice_agent.audit import (
    GENESIS,
    SYNCED_EVENT,
    TORN_EVENT,
    AuditLog,
    Broken,
    Field,
    Head,
    Stamp,
    history,
    script_sha256,
    stamp_now,
    verify,
)
from lattice_agent.errors import LatticeError, StateError, StateLockedError
from tests.rigs.extent import extent


def ticking() -> Callable[[], Stamp]:
    """A clock that goes on a second a record."""
    count = 0

    def now() -> Stamp:
        nonlocal count
        count += 1
        return Stamp(datetime(2026, 8, 14, tzinfo=UTC) + timedelta(seconds=count), "boot-1", count * 1000)

    return now


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


def write(path: Path, *tasks: str) -> Head:
    with AuditLog(path, now=ticking()) as log:
        for task in tasks:
            log.record("task.asked", task=task)
        return log.head


def records(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


# --- what is written -----------------------------------------------------------------------------------------------


def test_a_record_says_when_what_and_what_came_before(path: Path) -> None:
    with AuditLog(path, now=ticking()) as log:
        first = log.record("task.asked", task="t1", script_sha256=script_sha256("id\n"), timeout_s=30)
        log.record("task.refused", task="t1", why=None, final=True)
    asked, refused = records(path)
    assert asked == {
        "seq": 0,
        "at": "2026-08-14T00:00:01.000+00:00",
        "boot": "boot-1",
        "mono_ms": 1000,
        "event": "task.asked",
        "fields": {"task": "t1", "script_sha256": hashlib.sha256(b"id\n").hexdigest(), "timeout_s": 30},
        "prev": GENESIS,
        "hash": first.hash,
    }
    assert (refused["seq"], refused["prev"], refused["fields"]) == (
        1,
        first.hash,
        {"task": "t1", "why": None, "final": True},
    )


def test_the_hash_can_be_computed_by_other_means(path: Path) -> None:
    write(path, "t1")
    line = path.read_text()
    without_hash = line.rstrip("\n").replace(f'"hash":"{records(path)[0]["hash"]}",', "")
    assert hashlib.sha256(without_hash.encode()).hexdigest() == records(path)[0]["hash"]


def test_the_file_is_private_even_if_it_was_not(path: Path) -> None:
    old_mask = os.umask(0)
    try:
        write(path, "t1")
    finally:
        os.umask(old_mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    write(path, "t2")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_restart_goes_on_with_the_chain(path: Path) -> None:
    head = write(path, "t1", "t2")
    with AuditLog(path) as log:
        assert log.head == head
    write(path, "t3")
    assert [record["seq"] for record in records(path)] == [0, 1, 2]
    assert verify(history(path)) is None


def test_no_text_of_a_script_and_no_secret_has_a_field(path: Path) -> None:
    with AuditLog(path) as log:
        for name in ("script", "token", "secret"):
            with pytest.raises(LatticeError, match=name):
                log.record("task.asked", **{name: "x"})
    assert path.read_bytes() == b""


@pytest.mark.parametrize("event", ["", "Task", "task started", "1x", "x" * 65, "x\n"])
def test_an_event_has_a_dotted_name(path: Path, event: str) -> None:
    with AuditLog(path) as log, pytest.raises(LatticeError, match="dotted"):
        log.record(event)


def test_the_largest_record_can_be_written_and_found_again(path: Path) -> None:
    """As many fields as may be, of the text that takes most bytes: what a hostile task could put into its names."""
    with AuditLog(path) as log:
        head = log.record("x" * 64, **{f"f{number}": "\U0001f600" * 100_000 for number in range(32)})
        with pytest.raises(LatticeError, match="33 fields"):
            log.record("x", **{f"f{number}": 1 for number in range(33)})
    with AuditLog(path) as log:
        assert log.head == head
    assert str(records(path)[0]["fields"]).count("[cut, 100000 characters]") == 32
    assert verify([path]) is None


FIELDS = st.dictionaries(
    st.sampled_from(["task", "by", "why", "count"]),
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(st.characters(), max_size=20),
)


@given(st.lists(FIELDS, min_size=1, max_size=5))
def test_any_fields_come_back_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, written: list[dict[str, Field]]
) -> None:
    path = tmp_path_factory.mktemp("audit") / "audit.jsonl"
    with AuditLog(path, now=ticking()) as log:
        for fields in written:
            log.record("x", **fields)
    assert [record["fields"] for record in records(path)] == written
    assert verify([path]) is None


def test_the_stamp_has_both_clocks() -> None:
    first, second = stamp_now(), stamp_now()
    assert first.wall.tzinfo is not None
    assert first.boot_id == second.boot_id
    assert first.mono_ms <= second.mono_ms


# --- what is found -------------------------------------------------------------------------------------------------


def test_an_untouched_chain_holds(path: Path) -> None:
    write(path, *"abcdef")
    assert verify([path]) is None
    assert verify([]) is None


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda lines: [lines[0], lines[1].replace(b'"b"', b'"x"'), *lines[2:]], 2),
        (lambda lines: [*lines[:2], lines[2].replace(b'"seq":2', b'"seq": 2'), *lines[3:]], 3),
        (lambda lines: [lines[0], *lines[2:]], 2),
        (lambda lines: [lines[1], lines[0], *lines[2:]], 2),
        (lambda lines: [lines[0], lines[0], *lines[1:]], 2),
        (lambda lines: [lines[0], b"\n", *lines[1:]], 2),
        (lambda lines: [*lines[:-1], lines[-1][:40]], 4),
        (lambda lines: [*lines, b"x" * 3_000_000], 5),
        (lambda lines: [b"\x00" * 100, *lines], 1),
    ],
)
def test_the_first_broken_record_is_named(path: Path, change: Callable[[list[bytes]], list[bytes]], line: int) -> None:
    write(path, *"abcd")
    path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))
    broken = verify([path])
    assert broken is not None
    assert (broken.path, broken.line) == (path, line)


@settings(max_examples=extent(50, 200))
@given(st.data())
def test_any_changed_byte_is_found(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("audit") / "audit.jsonl"
    write(path, *"abc")
    content = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(content) - 2))  # the last newline may be missing: that is no loss
    content[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    assert verify([path]) is not None


def forged(line: bytes, **changes: object) -> bytes:
    """A record whose hash was computed anew by somebody who changed it."""
    record = {**json.loads(line), **changes}
    del record["hash"]
    digest = hashlib.sha256(json.dumps(record, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    return json.dumps({**record, "hash": digest}, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def test_a_forged_record_breaks_the_chain_behind_it(path: Path) -> None:
    write(path, *"abc")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + forged(lines[1], fields={"task": "x"}) + lines[2])
    assert verify([path]) == Broken(path, 3, "record 2 does not name the hash of the record before it")


def test_a_chain_cannot_begin_in_the_middle_with_number_0(path: Path) -> None:
    write(path, "a")
    path.write_bytes(forged(path.read_bytes(), prev="f" * 64))
    assert verify([path]) == Broken(path, 1, "the first record follows another one")


def test_a_file_that_cannot_be_read_is_named(path: Path) -> None:
    with pytest.raises(StateError, match=str(path)):
        verify([path])


# --- damage --------------------------------------------------------------------------------------------------------


def test_a_torn_line_at_every_byte_is_declared_and_the_chain_goes_on(path: Path) -> None:
    write(path, "kept", "torn")
    whole = path.read_bytes()
    first_line = whole.index(b"\n") + 1
    for size in range(first_line, len(whole) + 1):
        path.write_bytes(whole[:size])
        write(path, "after")
        torn = first_line < size < len(whole) - 1  # at len - 1 only the newline is missing: the record is good
        assert (TORN_EVENT.encode() in path.read_bytes()) == torn, size
        last = json.loads(path.read_bytes().splitlines()[-1])
        assert (last["seq"], last["fields"]) == (1 if size == first_line else 2, {"task": "after"}), size
        assert verify([path]) is None, size


def test_the_torn_bytes_stay_and_are_accounted_for(path: Path) -> None:
    write(path, "kept")
    whole = path.read_bytes()
    torn = b'{"at":"2026\x00\xff\nhalf'
    path.write_bytes(whole + torn)
    write(path, "after")
    assert path.read_bytes().startswith(whole + torn + b"\n")
    declared = json.loads(path.read_bytes()[len(whole) + len(torn) + 1 :].splitlines()[0])
    assert declared["event"] == TORN_EVENT
    assert declared["fields"] == {"bytes": len(torn), "sha256": hashlib.sha256(torn).hexdigest()}
    assert verify([path]) is None
    path.write_bytes(path.read_bytes().replace(b"half", b"hat!"))
    assert verify([path]) == Broken(path, 2, "this is not a record, or its content does not have its hash")


def with_zeros(path: Path, number: int) -> bytes:
    """The file with zeros in the middle of a line, as a sector that never reached the disk leaves them."""
    lines = path.read_bytes().splitlines(keepends=True)
    half = len(lines[number]) // 2
    lines[number] = lines[number][:half] + bytes(len(lines[number]) - half - 1) + b"\n"
    return b"".join(lines)


@pytest.mark.parametrize(
    ("events", "damaged", "is_mended"),
    [
        pytest.param("synced not not", 1, True, id="not synced, nor the one behind"),
        pytest.param("synced not not not", 2, True, id="not synced, in the middle"),
        pytest.param("synced not synced", 1, True, id="the last may not have been synced yet"),
        pytest.param("not not not", 0, True, id="the first of all"),
        pytest.param("synced not synced not", 1, False, id="synced behind"),
        pytest.param("synced synced not", 0, False, id="the first, synced behind"),
    ],
)
def test_a_hole_is_mended_where_a_power_cut_can_have_made_it(
    path: Path, events: str, damaged: int, *, is_mended: bool
) -> None:
    with AuditLog(path, now=ticking()) as log:
        for number, event in enumerate(events.split()):
            log.record(SYNCED_EVENT if event == "synced" else "task.ended", task=f"t{number}")
    whole = with_zeros(path, damaged)
    path.write_bytes(whole)
    write(path, "after")
    assert path.read_bytes().startswith(whole)
    behind = path.read_bytes()[len(whole) :].splitlines()
    assert [json.loads(line)["event"] for line in behind] == [TORN_EVENT] * is_mended + ["task.asked"]
    if is_mended:
        torn = whole[sum(map(len, whole.splitlines(keepends=True)[:damaged])) :]
        declared = json.loads(behind[0])
        assert declared["fields"] == {"bytes": len(torn), "sha256": hashlib.sha256(torn).hexdigest()}
        assert declared["seq"] == damaged
        assert verify([path]) is None
    else:
        broken = verify([path])
        assert broken is not None
        assert broken.line == damaged + 1


def test_power_that_fails_again_takes_no_declaration_along(path: Path) -> None:
    with AuditLog(path, now=ticking()) as log:
        for event in (SYNCED_EVENT, "task.ended", "task.ended"):
            log.record(event, task="t")
    path.write_bytes(with_zeros(path, 1))
    write(path, "after")
    assert verify([path]) is None
    once = path.read_bytes()
    path.write_bytes(with_zeros(path, 3))  # the declaration
    write(path, "again")
    assert verify([path]) is None
    path.write_bytes(once)
    write(path, "declared once")
    assert verify([path]) is None
    assert path.read_bytes().count(TORN_EVENT.encode()) == 1


def test_a_file_of_nothing_but_damage_is_kept_and_does_not_stop_the_agent(path: Path) -> None:
    path.write_bytes(b"\x00" * 4096)
    write(path, "after")
    assert path.read_bytes().startswith(b"\x00" * 4096 + b"\n")
    assert [json.loads(line)["seq"] for line in path.read_bytes().splitlines()[1:]] == [0, 1]


@contextmanager
def full_disk(free_to: int) -> Iterator[None]:
    """Files of this process cannot grow beyond a size: a real short write, then EFBIG, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (free_to, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("room", [0, 1, 100])
def test_a_full_disk_is_an_error_and_the_next_record_mends_it(path: Path, room: int) -> None:
    with AuditLog(path, now=ticking()) as log:
        before = log.record("x", task="kept")
        with full_disk(path.stat().st_size + room):
            for _ in range(3):
                with pytest.raises(StateError, match=str(path)) as caught:
                    log.record("x", task="lost")
        assert "free space" in caught.value.hint()
        assert log.head == before
        log.record("x", task="after")
    assert verify([path]) is None
    tasks = [json.loads(line)["fields"].get("task") for line in path.read_bytes().splitlines() if line.endswith(b"}")]
    assert (tasks[0], tasks[-1], "lost" in tasks) == ("kept", "after", False)


def test_a_deleted_file_is_made_again_and_the_gap_is_seen(path: Path) -> None:
    write(path, "old")
    path.rename(path.parent / "audit.jsonl.1")
    with AuditLog(path, now=ticking()) as log:
        log.record("x", task="gone")
        path.unlink()
        log.record("x", task="after")
    assert [(record["seq"], record["fields"]) for record in records(path)] == [(2, {"task": "after"})]
    assert verify(history(path)) == Broken(path, 1, "record 2 follows record 0")


def test_killed_between_any_two_instructions_the_chain_holds(path: Path) -> None:
    """A writer that is really killed, many times over one file."""
    program = (
        "import sys; from pathlib import Path; from lattice_agent.audit import AuditLog\n"
        "log = AuditLog(Path(sys.argv[1]), max_bytes=4000)\n"
        "while True: log.record('x', text='y' * 300); print(log.head.seq, flush=True)"
    )
    last_seen = -1
    for wanted in (1, 3, 20, 50):
        with subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            for _ in range(wanted):
                last_seen = int(writer.stdout.readline())
            writer.kill()
    assert verify(history(path)) is None
    with AuditLog(path) as log:
        assert log.head.seq >= last_seen  # what was acknowledged is there


# --- rotation ------------------------------------------------------------------------------------------------------


def test_the_chain_goes_on_across_rotated_files(path: Path) -> None:
    with AuditLog(path, max_bytes=1000, keep=4, now=ticking()) as log:
        for number in range(12):
            log.record("x", number=number, text="y" * 100)
    files = history(path)
    assert [file.name for file in files[-2:]] == ["audit.jsonl.1", "audit.jsonl"]
    assert all(file.stat().st_size <= 1000 and stat.S_IMODE(file.stat().st_mode) == 0o600 for file in files)
    numbers = [record["seq"] for file in files for record in records(file)]
    assert numbers == list(range(12))[-len(numbers) :]
    assert verify(files) is None
    assert verify(list(reversed(files))) is not None


def test_no_more_files_than_asked_for_are_kept(path: Path) -> None:
    with AuditLog(path, max_bytes=500, keep=2, now=ticking()) as log:
        for _ in range(20):
            log.record("x", text="y" * 200)
    assert [file.name for file in history(path)] == ["audit.jsonl.2", "audit.jsonl.1", "audit.jsonl"]
    assert verify(history(path)) is None


def test_a_missing_rotated_file_is_found(path: Path) -> None:
    with AuditLog(path, max_bytes=500, now=ticking()) as log:
        for _ in range(6):
            log.record("x", text="y" * 200)
    (path.parent / "audit.jsonl.1").unlink()
    broken = verify(history(path))
    assert broken is not None
    assert broken.path == path


@pytest.mark.parametrize("left", [b"", b"half a line"])
def test_a_crash_in_the_middle_of_a_rotation_keeps_the_chain(path: Path, left: bytes) -> None:
    head = write(path, "a", "b")
    path.rename(path.parent / "audit.jsonl.1")
    if left:
        path.write_bytes(left)
    with AuditLog(path, now=ticking()) as log:
        assert log.head.seq == head.seq + bool(left)
        log.record("x")
    assert verify(history(path)) is None


def test_a_rotation_that_fails_is_an_error_and_is_tried_again(path: Path) -> None:
    blocker = path.parent / "audit.jsonl.1"
    with AuditLog(path, max_bytes=300, keep=1, now=ticking()) as log:
        log.record("x", text="y" * 100)
        blocker.mkdir()  # a file cannot be renamed over a directory
        with pytest.raises(StateError, match=str(path)):
            log.record("x", text="z" * 100)
        blocker.rmdir()
        log.record("x", text="after")
    assert [record["seq"] for file in history(path) for record in records(file)] == [0, 1]


def test_other_files_are_not_taken_for_rotated_ones(path: Path) -> None:
    write(path, "a")
    for name in ("audit.jsonl.0", "audit.jsonl.01", "audit.jsonl.bak", "xaudit.jsonl.1", "audit-jsonl.1"):
        (path.parent / name).write_text("x")
    assert history(path) == [path]


# --- who may write -------------------------------------------------------------------------------------------------


def test_a_second_writer_is_refused_until_the_first_closes(path: Path) -> None:
    with AuditLog(path) as log:
        with pytest.raises(StateLockedError, match=str(path)):
            AuditLog(path)
        log.record("x")
    AuditLog(path).close()


def test_closing_twice_is_nothing(path: Path) -> None:
    log = AuditLog(path)
    log.close()
    log.close()


@pytest.mark.parametrize("kind", ["symlink", "directory", "fifo", "no directory"])
def test_what_is_no_file_of_ours_is_refused_by_name(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "audit.jsonl"
    if kind == "symlink":
        path.symlink_to(tmp_path / "elsewhere")
    elif kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path = tmp_path / "missing" / "audit.jsonl"
    with pytest.raises(StateError, match=str(path)):
        AuditLog(path)
    assert not (tmp_path / "elsewhere").exists()
