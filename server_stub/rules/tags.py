"""Tags of nodes: what a fleet is divided by."""

import re
from collections.abc import Sequence
from typing import Final

from server_stub.errors import Refused

MAX_TAGS: Final = 16
TAG_PATTERN: Final = "[a-z0-9_.-]{1,32}"
_TAG: Final = re.compile(TAG_PATTERN)


def check_tags(tags: Sequence[str]) -> tuple[str, ...]:
    """Each once, sorted; ``Refused`` 400."""
    distinct = sorted(set(tags))
    if len(distinct) > MAX_TAGS:
        raise Refused(400, f"tags must be at most {MAX_TAGS}")
    for tag in distinct:
        if not _TAG.fullmatch(tag):
            raise Refused(400, "a tag must be 1 to 32 characters of a-z 0-9 _ . -")
    return tuple(distinct)
