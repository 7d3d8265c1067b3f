"""Ranges of subordinate ids: which line of /etc/subuid counts, and that no content of it does any harm."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lattice_agent.exec.id_range import IDS_MOST, NoRangeError, find_range, part_of

OWNERS = (b"agent", b"1000")


def found(data: bytes, count: int = 128) -> range:
    return find_range(data, OWNERS, count, 1000)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"agent:100000:65536\n", range(100_000, 165_536)),
        (b"1000:100000:65536", range(100_000, 165_536)),
        (b"agent:100000:128", range(100_000, 100_128)),
        (b"other:7:8\n\n# text\nagent:100000:127\nagent:200000:128\n", range(200_000, 200_128)),
        (b"agent:what\nagent:0:65536\nagent:100000:65536\n", range(100_000, 165_536)),
        (b"agent:4294967167:128\n", range(4_294_967_167, IDS_MOST)),
    ],
)
def test_the_first_range_that_would_do_counts(data: bytes, expected: range) -> None:
    assert found(data) == expected


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "has no line for this user"),
        (b"agents:100000:65536\n agent:100000:65536\n", "has no line for this user"),
        (b"other:1:2\nagent:100000:127\n", "line 2 gives 127 ids, and 128 are needed"),
        (b"agent:0:65536\n", "line 1 has id 0, the user's own or one that cannot be"),
        (b"agent:900:65536\n", "line 1 has id 0, the user's own or one that cannot be"),
        (b"agent:4294967168:128\n", "line 1 has id 0, the user's own or one that cannot be"),
        *(
            (b"agent:" + rest, "line 1 is not OWNER:FIRST:COUNT")
            for rest in (b"", b"1", b":", b"1:2:3", b"-1:5", b"1:")
        ),
        (b"agent:" + b"1" * 5000 + b":128\n", "line 1 is not OWNER:FIRST:COUNT"),
        (b"agent:\xd9\xa1:\xd9\xa1\n", "line 1 is not OWNER:FIRST:COUNT"),
    ],
)
def test_why_there_is_none(data: bytes, problem: str) -> None:
    with pytest.raises(NoRangeError) as failure:
        found(data)
    assert str(failure.value) == problem


LINES = st.lists(
    st.one_of(
        st.binary(max_size=40),
        st.binary(max_size=20).map(lambda rest: b"agent:" + rest),
        st.tuples(st.integers(0, 2**33), st.integers(0, 2**33)).map(lambda both: b"agent:%d:%d" % both),
    ),
    max_size=6,
).map(b"\n".join)


@given(LINES, st.integers(1, 1000), st.integers(0, 2**32 - 2))
def test_whatever_stands_there_a_range_is_one_that_would_do(data: bytes, count: int, own: int) -> None:
    try:
        ids = find_range(data, OWNERS, count, own)
    except NoRangeError:
        return
    assert ids.start > 0
    assert ids.stop <= IDS_MOST
    assert len(ids) >= count
    assert own not in ids


@given(st.integers(1, 2**31), st.integers(1, 300), st.integers(0, 10**6), st.integers(0, 2**32))
def test_a_part_is_of_the_range_and_two_parts_are_the_same_or_apart(
    first: int, count: int, more: int, chance: int
) -> None:
    ids = range(first, first + count + more)
    part, next_ = part_of(ids, count, chance), part_of(ids, count, chance + 1)
    assert len(part) == count
    assert part[0] in ids
    assert part[-1] in ids
    assert part == next_ or not set(part) & set(next_)
