"""The JSON library keeps short texts that it has read, 16,384 of them, to find them again: ids never come again."""

import gc
import json
import sys
from collections.abc import Callable

import pytest

from lattice_agent.wire.base import decode_json
from server_stub.api.orders import AddNode

MESSAGES = 4_000
KEPT_MOST = 400
"""Blocks of memory, of whatever else is done meanwhile; each text would be one."""


def body(number: int) -> bytes:
    return json.dumps({"id": f"node-{number}", "name": f"name of {number}"}).encode()


READERS: dict[str, Callable[[int], object]] = {
    "a message": lambda number: decode_json(body(number)),
    "an order": lambda number: AddNode.model_validate_json(body(number)),
}


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS.keys())
def test_no_text_stays(reader: Callable[[int], object]) -> None:
    for number in range(100):
        reader(-number)
    gc.collect()
    before = sys.getallocatedblocks()
    for number in range(MESSAGES):
        reader(number)
    gc.collect()
    assert sys.getallocatedblocks() - before < KEPT_MOST
