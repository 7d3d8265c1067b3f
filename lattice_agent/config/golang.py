"""Values as the Go agent spells them on its command line: booleans, integers, durations, quoted text.

Pure. The rules are those of Go's packages strconv, time and flag, so that a unit file written for the Go agent
means the same here (protocol reference, section 6). Every parser returns a value or raises ``ValueError`` whose
text is Go's reason: ``parse error`` or ``value out of range``.
"""

import re

TRUE_WORDS = frozenset({"1", "t", "T", "TRUE", "true", "True"})
FALSE_WORDS = frozenset({"0", "f", "F", "FALSE", "false", "False"})

PARSE_ERROR = "parse error"
RANGE_ERROR = "value out of range"

_INT64_MAX = (1 << 63) - 1
_INT64_MIN = -(1 << 63)

_SECOND_NS = 1_000_000_000
_UNITS_NS = {
    "ns": 1,
    "us": 1_000,
    "\u00b5s": 1_000,  # micro sign
    "\u03bcs": 1_000,  # Greek letter mu
    "ms": 1_000_000,
    "s": _SECOND_NS,
    "m": 60 * _SECOND_NS,
    "h": 3600 * _SECOND_NS,
}
_DURATION_PART = re.compile(r"(?P<whole>[0-9]*)(?:\.(?P<fraction>[0-9]*))?(?P<unit>[^0-9.]+)")
_INTEGER = re.compile(r"[+-]?[0-9][0-9A-Za-z_]*")
_LEGACY_OCTAL = re.compile(r"0[0-7_]+")


def parse_bool(text: str) -> bool:
    """One of Go's twelve spellings.

    >>> parse_bool("T"), parse_bool("0")
    (True, False)
    """
    if text in TRUE_WORDS:
        return True
    if text in FALSE_WORDS:
        return False
    raise ValueError(PARSE_ERROR)


def parse_int(text: str) -> int:
    """A 64-bit integer with Go's base prefixes: ``0x``, ``0o``, a bare leading ``0`` (octal), ``0b``, and ``_``.

    >>> parse_int("0x10"), parse_int("010"), parse_int("-1_000")
    (16, 8, -1000)
    """
    if not _INTEGER.fullmatch(text):
        raise ValueError(PARSE_ERROR)
    sign = -1 if text[0] == "-" else 1
    digits = text.lstrip("+-")
    if _LEGACY_OCTAL.fullmatch(digits):
        digits = "0o" + digits[1:]
    # Longer numbers are out of range whatever they are; and int() of a decimal is quadratic in its length.
    if len(digits) > 100:
        raise ValueError(RANGE_ERROR)
    try:
        number = sign * int(digits, 0)
    except ValueError:
        raise ValueError(PARSE_ERROR) from None
    if not _INT64_MIN <= number <= _INT64_MAX:
        raise ValueError(RANGE_ERROR)
    return number


def parse_duration(text: str) -> float:
    """Seconds from a Go duration: signed decimal numbers, each with a unit (``1m30s``, ``1.5h``, ``300ms``), or ``0``.

    Counted in whole nanoseconds as Go does; beyond 2^63 of them the duration is refused.

    >>> parse_duration("1m30s"), parse_duration("-1.5h"), parse_duration("0")
    (90.0, -5400.0, 0.0)
    """
    sign = -1 if text.startswith("-") else 1
    rest = text[1:] if text[:1] in ("-", "+") else text
    if rest == "0":
        return 0.0
    if not rest or len(rest) > 1000:
        raise ValueError(PARSE_ERROR)
    nanoseconds = 0
    position = 0
    while position < len(rest):
        part = _DURATION_PART.match(rest, position)
        if part is None:
            raise ValueError(PARSE_ERROR)
        nanoseconds += _part_ns(part)
        position = part.end()
    if nanoseconds > _INT64_MAX + (sign < 0):
        raise ValueError(PARSE_ERROR)
    return sign * nanoseconds / _SECOND_NS


def _part_ns(part: re.Match[str]) -> int:
    whole, fraction, unit = part["whole"], part["fraction"] or "", part["unit"]
    if (not whole and not fraction) or unit not in _UNITS_NS:
        raise ValueError(PARSE_ERROR)
    unit_ns = _UNITS_NS[unit]
    scale: int = 10 ** len(fraction)
    return int(whole or "0") * unit_ns + int(fraction or "0") * unit_ns // scale


def format_seconds(seconds: float) -> str:
    """A duration for a human, in a spelling that ``parse_duration`` takes back.

    >>> format_seconds(10.0), format_seconds(0.25), format_seconds(0)
    ('10s', '0.25s', '0s')
    """
    return f"{seconds:.9f}".rstrip("0").rstrip(".") + "s"


def quote(text: str) -> str:
    r"""Text in double quotes with anything that is not printable escaped, as Go's ``%q``.

    >>> print(quote('a"b\n'))
    "a\"b\n"
    """
    return '"' + "".join(_quoted(character) for character in text) + '"'


_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def _quoted(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isprintable():
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte of argv that is not UTF-8, as Python carries it
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
