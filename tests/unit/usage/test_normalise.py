import pytest
from hypothesis import given
from hypothesis import strategies as st

from lattice_agent.errors import UsageSourceError
from lattice_agent.usage.normalise import ABSURD_BYTES, LINE_ID_LIMIT, normalise
from lattice_agent.usage.reading import RawUsage
from tests.golden_files import exchange


def refusal(raw: RawUsage) -> str:
    with pytest.raises(UsageSourceError) as raised:
        normalise(raw)
    return str(raised.value)


def test_ids_are_trimmed_and_merged_by_addition() -> None:
    assert normalise(RawUsage({" a": 1, "a": 20, "a\t": 300, "b": 5})).user_bytes == {"a": 321, "b": 5}


def test_weak_point_26_trap_12_an_id_the_server_would_refuse_is_left_out_and_named() -> None:
    counters = normalise(RawUsage({"alice": 1, "bob@host": 2, "-x": 3, "a b": 4, "é": 5, "y" * 129: 6}))
    assert counters.user_bytes == {"alice": 1}
    assert counters.left_out == tuple(sorted(["bob@host", "-x", "a b", "é", "y" * 129]))


def test_the_id_the_real_server_refused_is_left_out_here() -> None:
    recorded = exchange("usage-bad-id-400")
    counters = normalise(RawUsage(recorded.body["snapshot"]["user_bytes"]))
    assert recorded.status == 400
    assert counters.left_out
    assert counters.left_out[0] in recorded.answer["error"]["message"]


@pytest.mark.parametrize("user", ["a", "0", "A.b_c:d-e", "x" * 128, "u_0123456789abcdef"])
def test_every_id_of_the_servers_pattern_is_kept(user: str) -> None:
    assert normalise(RawUsage({user: 1})).user_bytes == {user: 1}


def test_an_id_is_not_legal_up_to_its_newline() -> None:
    assert normalise(RawUsage({"a\nb": 1, "a": 1})).left_out == ("a\nb",)


def test_without_users_the_sums_over_lines_stand_for_them() -> None:
    raw = RawUsage(line_user_bytes={"l1": {"a": 1, "b": 2}, " l2 ": {"a": 10, "no@pe": 4}})
    counters = normalise(raw)
    assert counters.user_bytes == {"a": 11, "b": 2}
    assert counters.line_user_bytes == {"l1": {"a": 1, "b": 2}, "l2": {"a": 10}}
    assert counters.left_out == ("no@pe",)


def test_with_users_the_lines_are_not_summed() -> None:
    assert normalise(RawUsage({"a": 5}, {"l": {"a": 1, "b": 2}})).user_bytes == {"a": 5}
    assert normalise(RawUsage({"no@pe": 5}, {"l": {"a": 1}})).user_bytes == {}


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (RawUsage({" ": 1}), "user_bytes has an empty user id"),
        (RawUsage(line_user_bytes={" ": {}}), "line_user_bytes has an empty line id"),
        (RawUsage(line_user_bytes={"l": {"": 1}}), "line_user_bytes['l'] has an empty user id"),
        (RawUsage(line_user_bytes={"l": {}, "l ": {}}), "line_user_bytes has two line ids that differ"),
        (RawUsage(line_user_bytes={"é" * 128 + "x": {}}), "line id "),
        (RawUsage(line_user_bytes={"a\ud800": {}}), "line id "),
        (RawUsage({"a": ABSURD_BYTES + 1}), "user_bytes['a'] is 9007199254740993, above 2^53"),
        (RawUsage({"a": ABSURD_BYTES, "a ": 1}), "user_bytes['a'] is 9007199254740993, above 2^53"),
        (RawUsage(line_user_bytes={"l": {"a": ABSURD_BYTES}, "m": {"a": 1}}), "the sum over lines of 'a' is"),
        (RawUsage({"a": 1}, core_uptime_s=2**53 + 1), "core_uptime_sec is"),
    ],
)
def test_what_cannot_be_reported_as_a_whole_is_an_error(raw: RawUsage, message: str) -> None:
    assert refusal(raw).startswith(message)


def test_the_limits_themselves_are_allowed() -> None:
    full = {f"u{i}": ABSURD_BYTES for i in range(10)}
    assert len(normalise(RawUsage(full, {"x" * LINE_ID_LIMIT: {}})).user_bytes) == 10


@given(
    st.dictionaries(st.text(max_size=4), st.integers(0, 2**63 - 1), max_size=4),
    st.dictionaries(st.text(max_size=4), st.dictionaries(st.text(max_size=3), st.integers(0, 2**63 - 1)), max_size=3),
)
def test_no_byte_is_lost_but_those_of_ids_that_are_named(
    users: dict[str, int], lines: dict[str, dict[str, int]]
) -> None:
    try:
        counters = normalise(RawUsage(users, lines))
    except UsageSourceError:
        return
    assert all(0 <= count <= ABSURD_BYTES for count in counters.user_bytes.values())
    if users:
        left_out = sum(count for user, count in users.items() if user.strip() in counters.left_out)
        assert sum(counters.user_bytes.values()) + left_out == sum(users.values())


def test_names_give_labels_a_legal_id_and_merge_with_it() -> None:
    counters = normalise(RawUsage({"ann@example ": 1, "ann": 2, "b@c": 3}), {"ann@example": "ann", "other@x": "o"})
    assert (counters.user_bytes, counters.left_out) == ({"ann": 3}, ("b@c",))


def test_a_source_may_have_more_users_than_a_report() -> None:
    assert len(normalise(RawUsage({f"u{number}": 1 for number in range(20_000)})).user_bytes) == 20_000
