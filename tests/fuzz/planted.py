"""Readers with a fault on purpose: the fuzzer finds each within a bounded number of inputs, or it is worth nothing."""

import json
from typing import Any

from tests.fuzz.target import Target


def _read_frame(data: bytes) -> bytes:
    """Magic, a length, and what it says: an IndexError behind two comparisons."""
    if data[:4] != b"LTC\x01":
        raise ValueError("not a frame")
    length = data[4]  # nobody has looked whether it is there
    return data[5 : 5 + length]


def _read_level(data: bytes) -> int:
    """JSON with a number that is believed: the oracle says that a level is below 8."""
    document: Any = json.loads(data)
    level = document["sandbox"]["level"] if isinstance(document, dict) else 0
    assert not isinstance(level, int) or level < 2**40
    return int(level == 3)


def _count_pairs(data: bytes) -> int:
    """Quadratic: harmless when it is short, minutes when it is long."""
    words = data.split(b",")
    return sum(first == second for first in words for second in words)


def _hoard(data: bytes) -> int:
    """Eight KiB of memory for each byte."""
    return len(b"x" * (len(data) << 13))


TARGETS = (
    Target("planted.frame", (), _read_frame, (ValueError,)),
    Target("planted.level", (), _read_level, (ValueError, KeyError, TypeError)),
    Target("planted.hoard", (), _hoard, longest=16_384),
    Target("planted.pairs", (), _count_pairs, longest=16_384, cpu_s=0.02),
)
