"""The limits of protocol reference 2.2, with their texts."""

import pytest

from server_stub.errors import Refused
from server_stub.rules.fan_out import FanOut
from server_stub.rules.task_limits import TaskOrder, check_order

MONTH_S = 30 * 24 * 3_600


def test_defaults_and_distinct_targets() -> None:
    expected = TaskOrder(("a", "b"), "sh", "true", 30, 65_536, FanOut(0, 0), queue_timeout_sec=0, rerun_of="")
    assert check_order(["a", "b", "a"], "", "true", 0, 0) == expected
    assert TaskOrder(("a", "b"), "sh", "true", 30, 65_536) == expected


def test_the_largest_allowed() -> None:
    order = check_order(["a"], "node", "é" * 32_768, 600, 262_144)
    assert (order.timeout_sec, order.output_limit) == (600, 262_144)
    nodes = [str(number) for number in range(256)]
    assert check_order(nodes, "bash", "true", 1, 1, FanOut(256, 256), MONTH_S) == TaskOrder(
        *(tuple(nodes), "bash", "true", 1, 1), FanOut(256, 256), MONTH_S
    )


@pytest.mark.parametrize("interpreter", ["sh", "bash", "python3", "node"])
def test_the_four_interpreters(interpreter: str) -> None:
    assert check_order(["a"], interpreter, "true", 0, 0).interpreter == interpreter


@pytest.mark.parametrize(
    ("fan_out", "queue_timeout_sec", "text"),
    [
        (FanOut(concurrency=257), 0, "concurrency must be between 0 and 256"),
        (FanOut(concurrency=-1), 0, "concurrency must be between 0 and 256"),
        (FanOut(max_failures=257), 0, "max_failures must be between 0 and 256"),
        (FanOut(max_failures=-1), 0, "max_failures must be between 0 and 256"),
        (FanOut(), MONTH_S + 1, "queue_timeout_sec must be between 0 and 2592000"),
        (FanOut(), -1, "queue_timeout_sec must be between 0 and 2592000"),
    ],
)
def test_bounds_of_a_fan_out(fan_out: FanOut, queue_timeout_sec: int, text: str) -> None:
    with pytest.raises(Refused) as refused:
        check_order(["a"], "sh", "true", 0, 0, fan_out, queue_timeout_sec)
    assert (refused.value.status, refused.value.message) == (400, text)


@pytest.mark.parametrize(
    ("order", "text"),
    [
        (([], "sh", "true", 0, 0), "targets and script are required"),
        (([""], "sh", "true", 0, 0), "targets and script are required"),
        ((["a", ""], "sh", "true", 0, 0), "targets and script are required"),
        ((["a"], "sh", " \n\t", 0, 0), "targets and script are required"),
        ((["a"], "perl", "true", 0, 0), 'interpreter "perl" is not allowlisted'),
        ((["a"], "sh", "true", 601, 0), "timeout_sec must be between 1 and 600"),
        ((["a"], "sh", "true", -1, 0), "timeout_sec must be between 1 and 600"),
        ((["a"], "sh", "true", 0, 262_145), "output_limit must be between 1 and 262144"),
        ((["a"], "sh", "true", 0, -1), "output_limit must be between 1 and 262144"),
        ((["a"], "sh", "é" * 32_768 + "x", 0, 0), "script exceeds 65536 bytes"),
        (([str(n) for n in range(257)], "sh", "true", 0, 0), "targets must be at most 256"),
    ],
)
def test_refusals(order: tuple[list[str], str, str, int, int], text: str) -> None:
    with pytest.raises(Refused) as refused:
        check_order(*order)
    assert (refused.value.status, refused.value.code, refused.value.message) == (400, "bad_request", text)
