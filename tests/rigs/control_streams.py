"""A node's control stream without a socket: what the control plane has queued for it."""

from collections.abc import Iterator
from contextlib import contextmanager

from lattice_agent.wire.control import Order
from server_stub.api.agent_streams import AgentStream
from server_stub.api.plane import Plane
from server_stub.ids import token_digest
from tests.rigs.server_app import Caller, World


@contextmanager
def listening(world: World, node: Caller) -> Iterator[AgentStream]:
    """As long as the block lasts the node is connected; nobody sends it its standing orders."""
    plane: Plane = world.app.state.plane
    credential = plane.store.node_of(token_digest(node.token))
    assert credential is not None
    with plane.streams.open(credential) as stream:
        yield stream


def heard(stream: AgentStream) -> list[tuple[str, str]]:
    """Type and task of every order that waits, taken away."""
    orders: list[Order] = list(stream._orders)
    stream._orders.clear()
    return [(order.type, order.task_id) for order in orders]
