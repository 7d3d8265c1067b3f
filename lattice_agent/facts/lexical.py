"""How numbers and names of kernel files are read: strictly, within bounds, and never with an exception."""

import math
import re
import unicodedata
from typing import Final

COUNTER_LIMIT: Final = 2**63 - 1
"""Above it a counter is a fault of its driver; the wire's unsigned fields end one bit later."""

_DIGITS: Final = 20  # of 2**64
_DECIMAL: Final = re.compile(r"[0-9]{1,12}(\.[0-9]{1,12})?")


def parse_count(text: str, limit: int = COUNTER_LIMIT) -> int | None:
    """A plain decimal number from 0 to ``limit``, or ``None``.

    >>> parse_count("42"), parse_count("-1"), parse_count("4_2")
    (42, None, None)
    """
    if len(text) > _DIGITS or not (text.isdecimal() and text.isascii()):
        return None
    value = int(text)
    return value if value <= limit else None


def parse_decimal(text: str) -> float | None:
    """A plain decimal fraction that is not negative, or ``None``."""
    if not _DECIMAL.fullmatch(text):
        return None
    value = float(text)
    return value if math.isfinite(value) else None


def clean_text(text: str, limit: int) -> str:
    """``text`` without control characters and surrounding blanks, at most ``limit`` bytes of UTF-8.

    The server clamps the same way (protocol reference 4.1). Doing it here keeps a lone surrogate, which no JSON
    encoder takes, or a megabyte of model name out of the heartbeat.
    """
    visible = "".join(char for char in text if unicodedata.category(char) not in ("Cc", "Cs"))
    return visible.strip().encode()[:limit].decode("utf-8", "ignore").strip()
