from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lattice_agent.errors import UsageSourceError
from lattice_agent.usage.statistics import Stat, user_sums
from lattice_agent.usage.stats_messages import STATS_LIMIT, query_answer, query_request, uptime_answer
from tests.rigs.scripted_core import nested, stats_message, uptime_message

UP = "user>>>a>>>traffic>>>uplink"


def refusal(message: bytes) -> str:
    with pytest.raises(UsageSourceError) as raised:
        list(query_answer(message))
    return str(raised.value)


def test_a_query_asks_old_and_new_cores_and_never_resets() -> None:
    assert query_request("user>>>") == b"\x0a\x07user>>>" + b"\x10\x00" + b"\x1a\x07user>>>"


def test_statistics_are_read_and_a_zero_may_be_left_out() -> None:
    assert [*query_answer(stats_message({UP: 2**63 - 1, "x": 0}))] == [Stat(UP, 2**63 - 1), Stat("x", 0)]
    assert [*query_answer(b"")] == []


def test_fields_of_later_versions_are_passed_over() -> None:
    assert [*query_answer(nested(9, b"?") + nested(1, nested(1, b"x") + b"\x10\x05" + b"\x18\x07"))] == [Stat("x", 5)]


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        (stats_message({"inbound>>>x": -1}), "the statistic 'inbound>>>x' is negative"),
        (stats_message({UP: 2**63}), f"the statistic {UP!r} is negative"),
        (b"\x08\x01", "a statistic is a number"),
        (nested(1, b"\x08\x01"), "the name of a statistic is a number"),
        (nested(1, nested(2, b"1")), "the value of a statistic is not a number"),
        (nested(1, nested(1, b"\xff")), "the name of a statistic is not UTF-8: b'\\xff'"),
        (nested(1, b"\x18\x01" * 5), "the answer has a protobuf message of more than 4 fields"),
        (nested(1, b"") * (STATS_LIMIT + 1), "the answer has a protobuf message of more than 32768 fields"),
    ],
)
def test_every_refusal_has_a_sentence(message: bytes, sentence: str) -> None:
    assert refusal(message) == sentence


def test_an_uptime_is_read() -> None:
    assert uptime_answer(uptime_message(86_400)) == 86_400
    assert uptime_answer(uptime_message(2**32 - 1)) == 2**32 - 1


def test_a_core_of_less_than_a_second_is_not_one_without_an_uptime() -> None:
    assert uptime_answer(uptime_message(0)) == 1


def test_an_absurd_uptime_is_refused() -> None:
    with pytest.raises(UsageSourceError, match="the uptime is above 32 bits"):
        uptime_answer(uptime_message(2**32))
    with pytest.raises(UsageSourceError, match="the uptime is not a number"):
        uptime_answer(nested(10, b"1"))


def test_only_the_four_parts_of_a_user_count() -> None:
    others = (
        "user>>>a>>>traffic",
        "user>>>a>>>traffic>>>sidelink",
        "user>>>a>>>b>>>traffic>>>uplink",
        "user>>>a>>>online",
    )
    lines = ("inbound>>>a>>>traffic>>>uplink", "", ">>>")
    stats = [Stat(UP, 1), Stat("user>>>a>>>traffic>>>downlink", 2), *(Stat(name, 9) for name in (*others, *lines))]
    assert user_sums(stats) == {"a": 3}


def test_ids_are_left_as_they_are() -> None:
    assert user_sums([Stat("user>>> ä@b >>>traffic>>>uplink", 1)]) == {" ä@b ": 1}


def test_a_name_that_comes_twice_is_refused() -> None:
    with pytest.raises(UsageSourceError, match=r"stat\[1\]: the statistic 'x' is listed twice"):
        user_sums([Stat("x", 1), Stat("x", 1)])


@given(st.binary(max_size=300) | st.binary(max_size=60).map(lambda inner: nested(1, inner)))
def test_weak_point_26_arbitrary_bytes_are_read_or_refused_and_never_negative(message: bytes) -> None:
    with suppress(UsageSourceError):
        assert all(0 <= value < 2**63 for _, value in query_answer(message))
    with suppress(UsageSourceError):
        assert 1 <= uptime_answer(message) < 2**32


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), st.integers(0, 2**63 - 1)))
def test_what_a_core_says_is_read(stats: dict[str, int]) -> None:
    assert dict(query_answer(stats_message(stats))) == stats
