import pytest

from lattice_agent.usage.idle_core import Exchanged, carries_uncounted_users
from lattice_agent.usage.statistics import Stat

OURS = Exchanged(sent=100, received=500)


def line(kind: str, tag: str, up: int, down: int) -> list[Stat]:
    return [Stat(f"{kind}>>>{tag}>>>traffic>>>uplink", up), Stat(f"{kind}>>>{tag}>>>traffic>>>downlink", down)]


API = line("inbound", "any name", 400, 2000)
API_LATER = line("inbound", "any name", 500, 2500)
USED = line("inbound", "vm", 10, 20)
UNUSED = line("inbound", "vm", 0, 0)
SCANNED = line("inbound", "vm", 10, 0)
OUT = line("outbound", "direct", 10, 20)
OUT_UNUSED = line("outbound", "direct", 10, 0)


@pytest.mark.parametrize(
    ("first", "second", "is_carrying"),
    [
        ([], [], False),
        (API, API_LATER, False),
        (API + UNUSED, API_LATER + UNUSED, False),
        (API + SCANNED, API_LATER + SCANNED, False),
        (API + USED, API_LATER + USED, True),
        (OUT, OUT, True),
        (API + OUT, API_LATER + OUT, True),
        (API + USED + OUT, API_LATER + USED + OUT, True),
        (API + USED + OUT_UNUSED, API_LATER + USED + OUT_UNUSED, False),  # a fallback page
        (API + UNUSED + OUT, API_LATER + UNUSED + OUT, False),  # the core's own DNS
    ],
)
def test_traffic_without_users_needs_an_answered_line_of_each_kind(
    first: list[Stat], second: list[Stat], is_carrying: bool
) -> None:
    assert carries_uncounted_users(first, second, OURS) is is_carrying


def test_a_counter_of_a_user_settles_it_even_at_zero() -> None:
    user = [Stat("user>>>a>>>traffic>>>uplink", 0)]
    assert not carries_uncounted_users(USED, USED + user, OURS)


@pytest.mark.parametrize(("up", "down"), [(101, 0), (0, 501), (101, 501), (-1, 1)])
def test_an_inbound_that_moved_by_other_than_our_bytes_is_not_the_apis(up: int, down: int) -> None:
    assert carries_uncounted_users(USED, line("inbound", "vm", 10 + up, 20 + down), OURS)


def test_an_inbound_that_is_new_in_the_second_answer_counts() -> None:
    assert carries_uncounted_users([], USED, OURS)
