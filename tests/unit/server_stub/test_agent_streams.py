"""What waits on a node's control stream while the node does not read."""

import pytest

from lattice_agent.wire.control import DRAIN, TASK_CANCEL, TASK_READY, Order
from server_stub.api.agent_streams import AgentStream
from server_stub.store.records import Credential


def stream() -> AgentStream:
    return AgentStream(Credential("n1", b"digest", disabled=False))


async def waiting(stream: AgentStream) -> list[Order]:
    return [order for _ in range(len(stream._orders)) if (order := await stream.next()) is not None]


@pytest.mark.parametrize("words", [(True,), (True, False), (False, True, False), (True, False, True, False, True)])
async def test_the_last_word_on_draining_is_the_one_that_is_said(words: tuple[bool, ...]) -> None:
    told = stream()
    for on in words:
        assert told.say(Order(type=DRAIN, on=on))
    assert await waiting(told) == [Order(type=DRAIN, on=words[-1])]


async def test_what_waits_already_is_not_said_twice_and_keeps_its_place() -> None:
    told = stream()
    for order in (Order(type=TASK_READY), Order(type=TASK_CANCEL, task_id="t"), Order(type=TASK_READY)):
        assert told.say(order)
    assert [order.type for order in await waiting(told)] == [TASK_READY, TASK_CANCEL]


async def test_a_drain_is_said_though_too_much_waits() -> None:
    told = stream()
    said = [told.say(Order(type=TASK_CANCEL, task_id=str(number))) for number in range(100)]
    assert said.count(False) == 36
    assert told.say(Order(type=DRAIN, on=False))
    assert (await waiting(told))[-1].type == DRAIN
