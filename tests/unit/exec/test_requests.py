"""The messages: what one side encodes the other decodes, and nothing else."""

import resource

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lattice_agent.exec.requests import (
    FROM_SPAWNER,
    FROM_SUPERVISOR,
    MAX_BYTES,
    MAX_ITEMS,
    MAX_LINGER_MS,
    MAX_WORK_BYTES,
    MAX_WORK_INODES,
    NUMBERS,
    TO_SPAWNER,
    TO_SUPERVISOR,
    CellReady,
    Destroy,
    Ended,
    Failed,
    Kill,
    KillCell,
    LingerOver,
    Message,
    PrepareCell,
    Refused,
    RefusedMessageError,
    Run,
    RunGone,
    Started,
    Swept,
    Terminate,
    TerminateCell,
    UseCell,
    check_cell,
    check_run,
    decode,
    encode,
    number_of,
)

EVERYTHING = frozenset(NUMBERS)
NUMBER = st.integers(0, 2**64 - 1)
BYTES = st.binary(max_size=40)
LISTS = {"n": NUMBER, "b": BYTES, "N": st.lists(NUMBER, max_size=9), "B": st.lists(BYTES, max_size=9)}
MESSAGES = st.one_of([st.builds(kind, *(LISTS[letter] for letter in kind.layout.values())) for kind in NUMBERS])


def a_run(**changes: object) -> Run:
    values: dict[str, object] = {
        "run": 7,
        "argv": [b"/bin/sh", b"/tmp/d/script"],
        "environment": [b"PATH=/bin", b"X=a=b"],
        "directory": b"/tmp/d",
        "limits": [resource.RLIMIT_CPU, 5, 6],
        "linger_ms": 0,
    }
    return Run(**(values | changes))  # type: ignore[arg-type]  # wrong values are the point


@given(MESSAGES)
def test_what_is_encoded_is_decoded(message: Message) -> None:
    decoded = decode(encode(message), EVERYTHING, message.descriptors)
    assert decoded == message
    assert type(decoded) is type(message)


@given(MESSAGES, st.data())
def test_a_message_cut_at_any_byte_is_refused(message: Message, data: st.DataObject) -> None:
    encoded = encode(message)
    cut = data.draw(st.integers(0, len(encoded) - 1))
    with pytest.raises(RefusedMessageError):
        decode(encoded[:cut], EVERYTHING, message.descriptors)


@given(MESSAGES, st.binary(min_size=1, max_size=9))
def test_bytes_after_the_last_field_are_refused(message: Message, more: bytes) -> None:
    with pytest.raises(RefusedMessageError, match="after the last"):
        decode(encode(message) + more, EVERYTHING, message.descriptors)


@given(st.binary(max_size=200), st.integers(0, 8))
def test_any_bytes_are_either_a_message_or_refused(data: bytes, descriptors: int) -> None:
    try:
        message = decode(data, EVERYTHING, descriptors)
    except RefusedMessageError:
        return
    assert encode(message) == data


def test_each_side_takes_only_what_is_meant_for_it() -> None:
    tables = [TO_SPAWNER, FROM_SPAWNER, TO_SUPERVISOR, FROM_SUPERVISOR]
    assert frozenset().union(*tables) == EVERYTHING
    assert sum(map(len, tables)) == len(EVERYTHING)
    for message in (Started(1), Kill(1), RunGone(1, 0)):
        with pytest.raises(RefusedMessageError, match="not allowed here"):
            decode(encode(message), TO_SPAWNER)


@pytest.mark.parametrize(("message", "count"), [(a_run(), 2), (a_run(), 4), (a_run(), 0), (Destroy(1), 1)])
def test_a_message_with_another_number_of_descriptors_is_refused(message: Message, count: int) -> None:
    with pytest.raises(RefusedMessageError, match=f"{count} descriptors"):
        decode(encode(message), TO_SPAWNER, count)


@pytest.mark.parametrize(
    "message",
    [
        Failed(b"x" * (MAX_BYTES + 1)),
        a_run(environment=[b"A=b"] * (MAX_ITEMS + 1)),
        a_run(environment=[b"A=" + b"x" * 8000] * 5),
    ],
)
def test_an_oversized_message_is_not_even_encoded(message: Message) -> None:
    with pytest.raises(RefusedMessageError, match="more than"):
        encode(message)


def test_a_length_beyond_the_bound_is_refused_before_it_is_used() -> None:
    huge = encode(Failed(b"")).replace(b"\0\0\0\0", b"\xff\xff\xff\xff")
    with pytest.raises(RefusedMessageError, match="4294967295"):
        decode(huge, FROM_SUPERVISOR)


def test_a_sensible_run_passes_the_check() -> None:
    check_run(a_run())


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"argv": []}, "absolute"),
        ({"argv": [b"sh", b"/x"]}, "absolute"),
        ({"argv": [b"/bin/sh", b"/x\0y"]}, "absolute"),
        ({"directory": b"tmp"}, "absolute"),
        ({"directory": b""}, "absolute"),
        ({"environment": [b"PATH"]}, "NAME=value"),
        ({"environment": [b"=x"]}, "NAME=value"),
        ({"environment": [b"A=\0"]}, "NAME=value"),
        ({"linger_ms": MAX_LINGER_MS + 1}, "linger_ms"),
        ({"limits": [resource.RLIMIT_CPU, 5]}, "triples"),
        ({"limits": [resource.RLIMIT_CPU, 6, 5]}, "limit"),
        ({"limits": [resource.RLIMIT_NOFILE, 5, 5]}, "limit"),
        ({"limits": [99, 5, 5]}, "limit"),
    ],
)
def test_a_run_whose_values_make_no_sense_is_refused(change: dict[str, object], word: str) -> None:
    with pytest.raises(RefusedMessageError, match=word):
        check_run(a_run(**change))


def a_cell(**changes: object) -> PrepareCell:
    values: dict[str, object] = {
        "cell": 7,
        "level": b"strict",
        "network": 0,
        "read_only": [b"/opt/tools"],
        "writable": [b"/srv/data"],
        "work_bytes": 1 << 20,
        "work_inodes": 100,
        "directory": b"",
    }
    return PrepareCell(**(values | changes))  # type: ignore[arg-type]  # wrong values are the point


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"level": b"network"},
        {"level": b"landlock", "directory": b"/srv/work", "work_bytes": 0, "work_inodes": 0},
        {"directory": b"/srv/work"},
        {"read_only": [b"/home/x", b"/etc/hostname", b"/opt/\xff"]},
        {"read_only": [b"/opt/..a/a..b"]},
        {"work_bytes": MAX_WORK_BYTES, "work_inodes": MAX_WORK_INODES},
        {"read_only": [], "writable": []},
    ],
)
def test_a_sensible_cell_passes_the_check(change: dict[str, object]) -> None:
    check_cell(a_cell(**change))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"level": b"host"}, "no such level"),
        ({"level": b"STRICT"}, "no such level"),
        ({"level": b"landlock"}, "needs a work directory"),
        ({"level": b"landlock", "directory": b"work"}, "not a path"),
        ({"directory": b"/srv/../root"}, "not a path"),
        ({"read_only": [b"opt"]}, "not a path"),
        ({"read_only": [b""]}, "not a path"),
        ({"writable": [b"/ok", b"/opt/.."]}, "not a path"),
        ({"writable": [b"/opt\0"]}, "not a path"),
        *(
            ({"read_only": [path]}, "not a path")
            for path in (b"/", b"//", b"/proc", b"/sys/", b"/dev", b"/tmp", b"//etc/")
        ),
        ({"work_bytes": 0}, "without limits"),
        ({"work_inodes": 0}, "without limits"),
        ({"directory": b"/srv/work", "work_bytes": 0}, "without limits"),
        ({"work_bytes": MAX_WORK_BYTES + 1}, "too large"),
        ({"work_inodes": MAX_WORK_INODES + 1}, "too large"),
    ],
)
def test_a_cell_whose_values_make_no_sense_is_refused(change: dict[str, object], word: str) -> None:
    with pytest.raises(RefusedMessageError, match=word):
        check_cell(a_cell(**change))


@pytest.mark.parametrize(
    ("message", "number"),
    [
        (a_run(run=5), 5),
        (Destroy(6), 6),
        (a_cell(cell=7), 7),
        (UseCell(8, 1, 2, 3), 8),
        (TerminateCell(9), 9),
        (KillCell(10), 10),
        (Started(11), 0),
    ],
)
def test_what_a_request_is_about(message: Message, number: int) -> None:
    assert number_of(message) == number


def test_a_cell_without_a_successor_need_not_say_so() -> None:
    assert UseCell(1, 2, 3, 4) == UseCell(1, 2, 3, 4, 0)


@pytest.mark.parametrize("count", [0, 5, 7])
def test_a_cell_comes_with_all_its_descriptors(count: int) -> None:
    with pytest.raises(RefusedMessageError, match=f"{count} descriptors"):
        decode(encode(CellReady(1, [])), FROM_SPAWNER, count)


def test_cells_are_asked_for_by_the_agent_and_told_of_by_the_spawner() -> None:
    for message in (a_cell(), UseCell(1, 2, 3, 4), TerminateCell(1), KillCell(1)):
        assert decode(encode(message), TO_SPAWNER) == message
        with pytest.raises(RefusedMessageError, match="not allowed here"):
            decode(encode(message), FROM_SPAWNER)


def test_a_message_shows_its_fields() -> None:
    assert repr(Swept(1, 2, 0)) == "Swept(killed=1, lingering=2, uncertain=0)"
    assert Ended(1, 2, 3, 4) != Ended(1, 2, 3, 5)
    assert Terminate(1) != Kill(1)
    assert LingerOver(1, 0) == LingerOver(1, 0)
    assert Refused(0, b"no") != RunGone(0, 0)
