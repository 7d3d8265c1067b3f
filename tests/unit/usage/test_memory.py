from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lattice_agent.errors import UsageSourceError
from lattice_agent.usage.memory import UsageMemory, advance
from lattice_agent.usage.normalise import IDS_LIMIT, Counters


def run(*readings: tuple[float, int, Mapping[str, int]]) -> UsageMemory:
    """Advances over (monotonic time, uptime, users) in turn; a refused reading leaves the memory as it was."""
    memory = UsageMemory()
    for now, uptime_s, users in readings:
        try:
            memory = advance(memory, Counters(users, core_uptime_s=uptime_s), now)
        except UsageSourceError:
            continue
    return memory


def test_a_reading_is_what_is_reported() -> None:
    assert run((0, 100, {"a": 5})) == UsageMemory({"a": 5}, {}, 100, 0)


def test_trap_12_an_absent_id_keeps_its_value_as_long_as_the_core_runs() -> None:
    assert run((0, 100, {"a": 5, "b": 7}), (10, 110, {"a": 6})).user_bytes == {"a": 6, "b": 7}


def test_trap_12_the_same_without_any_uptime() -> None:
    assert run((0, 0, {"a": 5, "b": 7}), (10, 0, {"a": 1})).user_bytes == {"a": 1, "b": 7}


def test_weak_point_26_a_reading_without_users_is_an_error_first_and_later() -> None:
    for memory in (UsageMemory(), run((0, 100, {"a": 5}))):
        with pytest.raises(UsageSourceError, match="lists no user"):
            advance(memory, Counters({}, core_uptime_s=110), 10)


def test_a_refused_reading_does_not_touch_the_memory() -> None:
    assert run((0, 100, {"a": 5}), (10, 110, {}), (20, 120, {"a": 6})) == UsageMemory({"a": 6}, {}, 120, 20)


def test_a_restarted_core_starts_with_its_own_ids() -> None:
    assert run((0, 100, {"a": 5, "b": 7}), (10, 3, {"a": 1})) == UsageMemory({"a": 1}, {}, 3, 10)


def test_trap_12_an_uptime_that_is_lost_is_an_error_not_a_restart() -> None:
    memory = run((0, 100, {"a": 5}))
    with pytest.raises(UsageSourceError, match="knew the core's uptime and does not any more"):
        advance(memory, Counters({"a": 6}), 10)


def test_trap_12_an_uptime_may_fall_to_zero_with_every_value() -> None:
    assert run((0, 100, {"a": 5}), (10, 0, {"a": 0})) == UsageMemory({"a": 0}, {}, 0, 10)


def test_an_uptime_may_become_known() -> None:
    assert run((0, 0, {"a": 5}), (10, 50, {"a": 6})).core_uptime_s == 50


def test_a_corrected_clock_is_no_restart() -> None:
    # The core claims 998 s, but was looked at 10 s ago: it cannot have been started since.
    assert run((0, 1000, {"a": 5, "b": 7}), (10, 998, {"a": 6})) == UsageMemory({"a": 6, "b": 7}, {}, 1000, 10)


def test_a_core_that_restarts_young_is_a_restart() -> None:
    assert run((0, 7, {"a": 5, "b": 7}), (10, 5, {"a": 1})) == UsageMemory({"a": 1}, {}, 5, 10)


def test_lines_are_carried_like_users() -> None:
    memory = advance(UsageMemory(), Counters({"a": 5}, {"l": {"a": 2, "b": 1}, "m": {"a": 3}}), 0)
    memory = advance(memory, Counters({"a": 6}, {"l": {"a": 4}, "n": {"a": 1}}), 10)
    assert memory.line_user_bytes == {"l": {"a": 4, "b": 1}, "m": {"a": 3}, "n": {"a": 1}}


def test_ids_carried_along_count_against_the_limit() -> None:
    memory = run((0, 0, {f"u{i}": 1 for i in range(IDS_LIMIT)}))
    with pytest.raises(UsageSourceError, match="more than 4096 ids"):
        advance(memory, Counters({"another": 1}), 10)


@given(
    st.lists(
        st.tuples(st.integers(0, 20), st.dictionaries(st.sampled_from("abcd"), st.integers(0, 5), max_size=4)),
        max_size=12,
    )
)
def test_trap_12_no_report_lets_the_server_bill_twice(readings: list[tuple[int, dict[str, int]]]) -> None:
    """Whatever a source shows: within one uptime run no reported id disappears, and none is ever empty."""
    memory = UsageMemory()
    for step, (uptime_s, users) in enumerate(readings):
        before = memory
        try:
            memory = advance(memory, Counters(users, core_uptime_s=uptime_s), step * 10.0)
        except UsageSourceError:
            continue
        assert memory.user_bytes
        if memory.core_uptime_s >= before.core_uptime_s:
            assert before.user_bytes.keys() <= memory.user_bytes.keys()
        elif memory.core_uptime_s == 0:
            assert not any(memory.user_bytes.values())
