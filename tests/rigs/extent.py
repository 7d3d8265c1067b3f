"""How much a test of many rounds, seeds or sizes does: little in ``make test``, all of it in ``make long``.

Such a test has the marker ``sized`` and runs in both; a test that is for ``make long`` alone has the marker ``long``.
"""

import os
from typing import TypeVar

T = TypeVar("T")
IS_LONG = os.environ.get("LATTICE_TESTS") == "long"


def extent(everyday: T, long: T) -> T:
    """``everyday``, or ``long`` in ``make long``."""
    return long if IS_LONG else everyday
