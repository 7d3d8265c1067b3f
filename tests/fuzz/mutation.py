"""Changes that keep an input's form: JSON stays JSON, a table stays lines of words.

The engine changes bytes, which alone hardly ever makes valid JSON with a hostile value in it. So half of the inputs are
taken apart, changed where values stand, and put together again.
"""

import json
import random
import re
from collections.abc import Callable
from typing import Any, Final

NUMBERS: Final[tuple[Any, ...]] = (
    0, -1, 1, 2**31, 2**32, 2**53 + 1, 2**63 - 1, 2**63, 2**64, -(2**63), -(2**63) - 1, 10**30, 0.5, -0.0, 1e308, True
)  # fmt: skip
TEXTS: Final[tuple[Any, ...]] = (
    "", "0", "a", "-1", "nan", "\x00", "\x1b[31m", "\u202e", "\ud800", "\ufeff", "é" * 9, "x" * 300, "\r\n", "../..",
    " a ",
)  # fmt: skip
TIMES: Final[tuple[Any, ...]] = (
    "0001-01-01T00:00:00Z", "0001-12-31T23:59:59+23:59", "0002-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59",
    "2026-02-30T00:00:00Z", "2026-01-02T03:04:05.123456789+14:00", "2026-01-02T03:04:05", "2026-01-02 03:04:05Z",
    "1969-12-31T23:59:59.999999Z", "2026-01-02T24:00:00Z", "2026-W01-1T00:00:00Z",
)  # fmt: skip
VALUES: Final[tuple[Any, ...]] = (*NUMBERS, *TEXTS, *TIMES, None, False, [], {}, [[]], [None], {"": None}, [{}])
WORDS: Final = (
    b"0", b"-1", b"+1", b"4294967296", b"9223372036854775807", b"9223372036854775808", b"18446744073709551616",
    b"1e999", b"nan", b"inf", b"0x10", b"1_0", "\u0663".encode(), b"", b"\x00", b"\xff\xfe", b"\xc2\x85", b"\\040",
    b"\x1b]0;x\x07", "\u2028".encode(), b"9" * 5000, b"%s", b"=", b":", b"/", b"..", b"\x0b", b"\r",
)  # fmt: skip
_DEEP: Final = 400
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\dT")


def changed(data: bytes, most: int, rng: random.Random, words: tuple[bytes, ...]) -> bytes:
    """Another input of the same form, of at most ``most`` bytes: of parts between form feeds, one is changed."""
    parts = data.split(b"\f")
    at = rng.randrange(len(parts))
    head, line_end, rest = parts[at].partition(b"\n")
    whole, behind_head = _changed_json(parts[at], rng), _changed_json(rest, rng)
    if whole is not None:
        parts[at] = whole
    elif behind_head is not None:
        parts[at] = head + line_end + behind_head
    else:
        parts[at] = _changed_text(parts[at], rng, words)
    return b"\f".join(parts)[:most]


def _changed_json(text: bytes, rng: random.Random) -> bytes | None:
    """Another object or list; None for what is neither."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return _written(_changed_value(value, rng), rng) if isinstance(value, dict | list) else None


def _written(value: Any, rng: random.Random) -> bytes:
    text = json.dumps(value, ensure_ascii=rng.random() < 0.5)
    return text.encode("utf-8", "surrogatepass")


def _changed_value(value: Any, rng: random.Random) -> Any:
    """A copy with one place changed; the way down is chosen at random."""
    inner = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    if not inner or rng.random() < 0.15:
        return _replaced(value, rng)
    key, chosen = rng.choice(inner)
    if isinstance(value, list):
        return _changed_list(value, key, rng)
    match rng.randrange(8):
        case 0:
            return {k: v for k, v in inner if k != key}
        case 1:
            return dict(inner) | {str(rng.choice(VALUES)): chosen}
        case 2:
            return dict(inner) | {key: rng.choice(inner)[1]}
        case _:
            return dict(inner) | {key: _changed_value(chosen, rng)}


def _changed_list(items: list[Any], at: int, rng: random.Random) -> list[Any]:
    match rng.randrange(6):
        case 0:
            return items[:at] + items[at + 1 :]
        case 1:
            return items[:at] + items[at : at + 1] * rng.choice((2, 3, 40)) + items[at + 1 :]
        case _:
            return [*items[:at], _changed_value(items[at], rng), *items[at + 1 :]]


def _replaced(value: Any, rng: random.Random) -> Any:
    if rng.random() < 0.02:
        for _ in range(_DEEP):
            value = [value]
        return value
    if rng.random() < 0.2:
        return rng.choice(VALUES)
    if isinstance(value, str):
        return _changed_string(value, rng)
    if type(value) is int and rng.random() < 0.3:
        return value + rng.choice((-1, 1, 2**32, -(2**32)))
    return rng.choice(NUMBERS if isinstance(value, int | float) else VALUES)


def _changed_string(value: str, rng: random.Random) -> str:
    if _DATE.match(value):
        return str(rng.choice(TIMES))
    if not value or rng.random() < 0.4:
        return str(rng.choice(TEXTS))
    at = rng.randrange(len(value) + 1)
    return value[:at] + str(rng.choice(TEXTS)) + value[rng.choice((at, at + 1)) :]


def _changed_text(data: bytes, rng: random.Random, words: tuple[bytes, ...]) -> bytes:
    lines = data.split(b"\n")
    at = rng.randrange(len(lines))
    match rng.randrange(7):
        case 0:
            del lines[at]
        case 1:
            lines.insert(rng.randrange(len(lines) + 1), lines[at])
        case 2:
            lines[at : at + 1] = [lines[at]] * rng.choice((2, 50, 1000))
        case 3:
            lines.insert(at, lines.pop(rng.randrange(len(lines))))
        case _:
            lines[at] = _changed_line(lines[at], rng, words)
    return b"\n".join(lines)


def _changed_line(line: bytes, rng: random.Random, words: tuple[bytes, ...]) -> bytes:
    begin = line.find(b"{")
    if begin >= 0 and rng.random() < 0.8 and (document := _changed_json(line[begin:], rng)) is not None:
        return line[:begin] + document
    separator = rng.choice([mark for mark in (b" ", b"\t", b":", b"=", b",", b"/", b"\x00") if mark in line] or [b" "])
    parts = line.split(separator)
    at = rng.randrange(len(parts))
    actions: tuple[Callable[[], None], ...] = (
        lambda: parts.__setitem__(at, rng.choice(words or WORDS)),
        lambda: parts.__setitem__(at, rng.choice(WORDS)),
        lambda: parts.insert(at, rng.choice(WORDS)),
        lambda: parts.insert(at, rng.choice(words or WORDS)),
        lambda: parts.__delitem__(at),
        lambda: parts.__setitem__(at, parts[at] * rng.choice((2, 200))),
    )
    rng.choice(actions)()
    return separator.join(parts)
