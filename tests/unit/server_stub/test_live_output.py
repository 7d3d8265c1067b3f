"""The logs of all runs together: who is let go, and who is told."""

from server_stub.api.live_output import LiveOutputs
from server_stub.api.watch import Watcher
from server_stub.config import Limits
from server_stub.rules.live_output import Taken
from tests.unit.server_stub.test_rules_live_output import chunks

KIB = 1_024


def begin(live: LiveOutputs, node: str, lease: str = "l", until: float = 100.0, now: float = 0.0) -> int:
    return live.begin("t", node, lease, 64 * KIB, until, now)


def fill(live: LiveOutputs, node: str, size: int) -> None:
    [(header, data)] = chunks([("stdout", b"x" * size)])
    assert live.add(node, header, data) == (Taken.ADDED, size)


def size(live: LiveOutputs, node: str) -> int | None:
    log = live.log("t", node)
    return None if log is None else log.end


def test_the_run_that_was_quiet_for_longest_is_let_go() -> None:
    live = LiveOutputs(Limits(live_output_bytes=40 * KIB))
    for node in ("a", "b", "c"):
        begin(live, node)
    fill(live, "b", 12 * KIB)
    fill(live, "a", 12 * KIB)
    fill(live, "c", 12 * KIB)
    [first, second] = chunks([("stdout", b"x" * 12 * KIB), ("stdout", b"more")])
    begin(live, "d")
    fill(live, "d", 12 * KIB)

    assert [size(live, node) for node in "abcd"] == [12 * KIB, None, 12 * KIB, 12 * KIB]
    assert live.add("b", *second) == (Taken.REFUSED, 0)  # until the agent connects anew
    assert begin(live, "b") == 0
    assert live.add("b", *first) == (Taken.ADDED, 12 * KIB)


def test_one_run_alone_may_have_its_whole_limit() -> None:
    live = LiveOutputs(Limits(live_output_bytes=KIB))
    begin(live, "a")
    fill(live, "a", 12 * KIB)
    assert size(live, "a") == 12 * KIB


def test_runs_without_output_are_bounded_too() -> None:
    live = LiveOutputs(Limits(live_output_bytes=10 * KIB))
    for number in range(100):
        begin(live, str(number))
    assert sum(live.log("t", str(number)) is not None for number in range(100)) <= 10


def test_the_same_lease_goes_on_and_another_begins_anew() -> None:
    live = LiveOutputs(Limits())
    assert begin(live, "a") == 0
    fill(live, "a", 5)
    assert begin(live, "a") == 5
    assert begin(live, "a", lease="l2") == 0


def test_it_is_forgotten_at_the_result_or_long_after_the_lease() -> None:
    live = LiveOutputs(Limits())
    begin(live, "a", until=10)
    begin(live, "b", until=100)
    live.ended("t", "b")
    assert (size(live, "a"), size(live, "b")) == (0, None)
    begin(live, "c", now=11)
    assert size(live, "a") is None


async def test_a_viewer_is_told_of_more_and_of_another_log() -> None:
    live = LiveOutputs(Limits())
    watcher = Watcher()
    with live.viewed("t", "a", watcher):
        begin(live, "a")
        assert await watcher.wait() is False
        fill(live, "a", 5)
        assert await watcher.wait() is False
        live.ended("t", "a")
        assert await watcher.wait() is False
