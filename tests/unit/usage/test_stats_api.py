from typing import cast

import trio

from lattice_agent.usage.grpc_connection import GrpcConnection
from lattice_agent.usage.stats_api import V2RAY, query_stats
from tests.rigs.scripted_core import stats_message

COUNT = 8192
MESSAGE = stats_message({f"user>>>user-{number}>>>traffic>>>uplink": number for number in range(COUNT)})


class AtOnce:
    """A connection that has the answer there already, and so gives no turn to anybody."""

    async def call(self, path: str, request: bytes) -> bytes:
        return MESSAGE


async def test_others_have_their_turns_while_a_large_answer_is_decoded() -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        assert len(await query_stats(cast(GrpcConnection, AtOnce()), V2RAY, "user>>>")) == COUNT
        nursery.cancel_scope.cancel()
    assert turns >= COUNT / 1024
