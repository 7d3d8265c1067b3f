"""How much a test of many rounds, seeds or sizes does: little in ``make test``, all of it in ``make long``.

Such a test has the marker ``sized`` and runs in both; a test that is for ``make long`` alone has the marker ``long``.
"""

import os
from collections.abc import Iterable
from typing import Any, TypeVar

import pytest

T = TypeVar("T")
IS_LONG = os.environ.get("LATTICE_TESTS") == "long"


def extent(everyday: T, long: T) -> T:
    """``everyday``, or ``long`` in ``make long``."""
    return long if IS_LONG else everyday


def mostly_long(values: Iterable[Any], everyday: int = 1) -> list[Any]:
    """Parameters of a test: the first ones are for every day and stand for the rest, which are for ``make long``."""
    return [
        value if number < everyday else pytest.param(value, marks=pytest.mark.long)
        for number, value in enumerate(values)
    ]
