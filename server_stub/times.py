"""Wall-clock times: aware datetimes in the program, integer microseconds in the database, RFC 3339 in answers."""

from datetime import UTC, datetime, timedelta
from typing import Final, overload

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_FIRST: Final = (datetime(2, 1, 1, tzinfo=UTC) - EPOCH) // _MICROSECOND
_LAST: Final = (datetime(9999, 12, 31, tzinfo=UTC) - EPOCH) // _MICROSECOND


def to_us(moment: datetime) -> int:
    """Microseconds since 1970, kept within years that a datetime in UTC can show (an agent may send any)."""
    return min(max((moment - EPOCH) // _MICROSECOND, _FIRST), _LAST)


def from_us(us: int) -> datetime:
    return EPOCH + timedelta(microseconds=us)


def opt_to_us(moment: datetime | None) -> int | None:
    return None if moment is None else to_us(moment)


def opt_from_us(us: int | None) -> datetime | None:
    return None if us is None else from_us(us)


def in_utc(moment: datetime | None) -> datetime | None:
    """The same moment in UTC; a moment that UTC cannot show is moved to the nearest that it can."""
    return opt_from_us(opt_to_us(moment))


@overload
def text(moment: datetime) -> str: ...
@overload
def text(moment: None) -> None: ...
@overload
def text(moment: datetime | None) -> str | None: ...
def text(moment: datetime | None) -> str | None:
    """RFC 3339 in UTC with ``Z``, or ``None``."""
    return None if moment is None else moment.isoformat().replace("+00:00", "Z")
