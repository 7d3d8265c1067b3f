"""The limits of protocol reference 2.2, with their texts."""

import pytest

from server_stub.errors import Refused
from server_stub.rules.task_limits import TaskOrder, check_order


def test_defaults_and_distinct_targets() -> None:
    assert check_order(["a", "b", "a"], "", "true", 0, 0) == TaskOrder(("a", "b"), "sh", "true", 30, 65_536)


def test_the_largest_allowed() -> None:
    order = check_order(["a"], "node", "é" * 32_768, 600, 262_144)
    assert (order.timeout_sec, order.output_limit) == (600, 262_144)


@pytest.mark.parametrize(
    ("order", "text"),
    [
        (([], "sh", "true", 0, 0), "targets and script are required"),
        (([""], "sh", "true", 0, 0), "targets and script are required"),
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
