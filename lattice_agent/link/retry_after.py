"""Reading the Retry-After header (RFC 9110 section 10.2.3): seconds, or a date."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

_MAX_DIGITS: Final = 9  # 31 years; more digits are not worth converting


def retry_after_s(headers: Mapping[str, str], wall_now: datetime | None = None) -> float | None:
    """Seconds the server asks to wait, 0 or more; None if it does not say, or not so that it can be understood.

    A date is compared with the answer's own Date header, because the two come from one clock; ``wall_now`` (aware)
    stands in if there is none, and without either the date says nothing. ``headers`` has lower-case names.
    """
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdecimal():
        return float(value[:_MAX_DIGITS])
    until = _http_date(value)
    since = _http_date(headers.get("date", "")) or wall_now
    if until is None or since is None:
        return None
    return max(0.0, (until - since).total_seconds())


def _http_date(value: str) -> datetime | None:
    try:
        parsed = parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=UTC)
