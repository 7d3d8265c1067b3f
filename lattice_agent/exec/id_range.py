"""Ranges of subordinate ids, as subuid(5) and subgid(5) give them to a user: one a line, ``owner:first:count``. Pure.

Who reads these files decides with their content whose ids a script gets, so what cannot be meant is not taken: a range
with id 0 or the user's own in it, or one beyond the last id.
"""

from __future__ import annotations

IDS_MOST = 0xFFFF_FFFF
"""Ids are below; the highest 32-bit number stands for "no id"."""


class NoRangeError(Exception):
    """There is no range that would do; the message says why, in words that follow the file's name."""


def find_range(data: bytes, owners: tuple[bytes, ...], count: int, own: int) -> range:
    """The first range of one of the owners that has so many ids.

    ``owners``: the user's login name and its uid in digits; ``own``: the id that must not be among them.
    Raises NoRangeError, and nothing else whatever the bytes are.
    """
    problem = "has no line for this user"
    for number, line in enumerate(data.split(b"\n"), 1):
        owner, _, rest = line.partition(b":")
        if owner not in owners:
            continue
        found = _parse(rest)
        if found is None:
            problem = f"line {number} is not OWNER:FIRST:COUNT"
        elif found.start == 0 or own in found or found.stop > IDS_MOST:
            problem = f"line {number} has id 0, the user's own or one that cannot be"
        elif len(found) < count:
            problem = f"line {number} gives {len(found)} ids, and {count} are needed"
        else:
            return found
    raise NoRangeError(problem)


def part_of(ids: range, count: int, chance: int) -> range:
    """``count`` neighbours of the ids, one of as many such parts as there are; ``chance``: any number, not negative."""
    first = ids[chance % (len(ids) // count) * count]
    return range(first, first + count)


def _parse(rest: bytes) -> range | None:
    first, colon, count = rest.partition(b":")
    if not colon or not _is_number(first) or not _is_number(count):
        return None
    return range(int(first), int(first) + int(count))


def _is_number(text: bytes) -> bool:
    """Digits only, and not more than a number of 32 bits has."""
    return text.isdigit() and len(text) <= len(str(IDS_MOST))
