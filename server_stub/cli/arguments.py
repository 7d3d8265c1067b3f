"""How the text of an argument becomes a value: types for argparse, each with an error that says what is right.

argparse puts the option's name before the message, so the messages start with the value.
"""

import re
from argparse import ArgumentTypeError
from collections.abc import Callable
from datetime import datetime
from fractions import Fraction
from typing import Final

from server_stub.rules.billing_calendar import LAST_RESET_DAY
from server_stub.rules.usage_report import is_id

_DURATION: Final = re.compile(r"(?:[0-9]+(?:\.[0-9]*)?(?:ns|us|µs|μs|ms|s|m|h))+")
_DURATION_PART: Final = re.compile(r"([0-9]+(?:\.[0-9]*)?)(ns|us|µs|μs|ms|s|m|h)")
_SECONDS_OF: Final = {
    "ns": Fraction(1, 10**9),
    "us": Fraction(1, 10**6),
    "µs": Fraction(1, 10**6),  # micro sign
    "μs": Fraction(1, 10**6),  # Greek letter mu: Go reads both
    "ms": Fraction(1, 1000),
    "s": Fraction(1),
    "m": Fraction(60),
    "h": Fraction(3600),
}
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(B|[kK]i?B|[MGTP]i?B|)")
_BYTES_OF: Final = {"": 1, "B": 1} | {
    f"{prefix}{infix}B": base**power
    for infix, base in (("", 1000), ("i", 1024))
    for power, prefix in ((1, "k"), (1, "K"), (2, "M"), (3, "G"), (4, "T"), (5, "P"))
}
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TAG: Final = re.compile(r"[a-z0-9_.-]{1,32}")
_LONGEST: Final = 64  # characters of a number we look at; more is no number anybody means
_BIGGEST_COUNT: Final = 2**63 - 1


def seconds(text: str) -> Fraction:
    """A Go duration (``30s``, ``1m30s``, ``1.5m``) or a plain number of seconds.

    >>> seconds("1m30s"), seconds("45")
    (Fraction(90, 1), Fraction(45, 1))
    """
    if len(text) <= _LONGEST and text.isascii() and text.isdigit():
        return Fraction(int(text))
    if len(text) > _LONGEST or not _DURATION.fullmatch(text):
        raise ArgumentTypeError(f"{text[:_LONGEST]!r} is not a duration; write it like 30s, 1m30s, or as seconds")
    return sum((Fraction(n.rstrip(".")) * _SECONDS_OF[unit] for n, unit in _DURATION_PART.findall(text)), Fraction(0))


def byte_count(text: str) -> int:
    """A number of bytes, plain or with a unit (``500MB`` is decimal, ``10GiB`` binary).

    >>> byte_count("10GiB"), byte_count("1.5kB")
    (10737418240, 1500)
    """
    match = _SIZE.fullmatch(text) if len(text) <= _LONGEST and text.isascii() else None
    if match is None:
        raise ArgumentTypeError(f"{text[:_LONGEST]!r} is not a size; write it like 65536, 500MB or 10GiB")
    amount = Fraction(match[1]) * _BYTES_OF[match[2]]
    if amount.denominator != 1 or amount > _BIGGEST_COUNT:
        raise ArgumentTypeError(f"{text!r} is not a whole number of bytes up to {_BIGGEST_COUNT}")
    return int(amount)


def whole(low: int, high: int) -> Callable[[str], int]:
    """A type for plain decimal numbers from ``low`` to ``high``."""

    def parse(text: str) -> int:
        if len(text) > _LONGEST or not (text.isascii() and text.isdigit()) or not low <= int(text) <= high:
            raise ArgumentTypeError(f"{text[:_LONGEST]!r} is not a number from {low} to {high}")
        return int(text)

    return parse


def unless_none(parse: Callable[[str], int]) -> Callable[[str], int]:
    """A type that also takes ``none``, as 0."""
    return lambda text: 0 if text == "none" else parse(text)


def unless_never(parse: Callable[[str], str]) -> Callable[[str], str]:
    """A type that also takes ``never``, as the empty text."""
    return lambda text: "" if text == "never" else parse(text)


def reset_day(text: str) -> int:
    """A day that every month has, 1 to 28, or ``none``, which is 0."""
    return unless_none(whole(1, LAST_RESET_DAY))(text)


def name(text: str) -> str:
    """A name or id: some UTF-8 text, not blank, without control characters. What else it may be the server decides."""
    if not text.strip():
        raise ArgumentTypeError("it is empty; give a name")
    if not text.isprintable():  # also true for the lone surrogates that stand for bytes that are not UTF-8
        raise ArgumentTypeError(f"{text[:_LONGEST]!a} holds characters that cannot be printed; leave them out")
    return text


def identifier(text: str) -> str:
    """The id of a node, user or task. Such an id stays one part of a URL's path, which ``..`` or ``a/b`` would not."""
    if not is_id(text):
        raise ArgumentTypeError(
            f"{text[:_LONGEST]!a} is not an id: 1 to 128 of A-Z a-z 0-9 _ . : -, the first a letter or digit"
        )
    return text


def tag(text: str) -> str:
    """A tag of a node.

    >>> tag("web-1")
    'web-1'
    """
    if not _TAG.fullmatch(text):
        raise ArgumentTypeError(f"{text[:_LONGEST]!a} is not a tag: 1 to 32 of a-z 0-9 _ - .")
    return text


def time(text: str) -> str:
    """An RFC 3339 time with an offset, passed on as it was written."""
    try:
        offset = datetime.fromisoformat(text).utcoffset()
    except ValueError:
        offset = None
    if offset is None or len(text) < len("2026-01-02T03:04:05Z"):
        raise ArgumentTypeError(f"{text[:_LONGEST]!r} is not a time; write it like 2026-01-02T03:04:05Z")
    return text


def time_or_day(text: str) -> str:
    """A time as above, or a date, which means its beginning in UTC.

    >>> time_or_day("2026-03-01")
    '2026-03-01T00:00:00Z'
    """
    if _DATE.fullmatch(text):
        return time(f"{text}T00:00:00Z")
    return time(text)


def address(text: str) -> tuple[str, int]:
    """``HOST:PORT`` to listen on, an IPv6 host in brackets.

    >>> address("[::1]:8088")
    ('::1', 8088)
    """
    host, _, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if bracketed else host
    if not host or (":" in host) != bracketed or not (port.isascii() and port.isdigit()) or not 0 <= int(port) <= 65535:
        raise ArgumentTypeError(f"{text[:_LONGEST]!a} is not an address; write it like 127.0.0.1:8088 or [::1]:8088")
    return host, int(port)
