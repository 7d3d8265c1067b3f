"""Where a browser may be sent on to after a sign-in: to a page of ours and nowhere else."""

import re
from typing import Final

_LOCAL: Final = re.compile(r"/(?:[A-Za-z0-9_.~:%-][A-Za-z0-9_.~:%/-]*)?(?:\?[A-Za-z0-9_.~:%/?&=+,@!*-]*)?")
_LONGEST: Final = 1_024


def local_path(wanted: str, otherwise: str) -> str:
    r"""``wanted`` if it is a path of this server and nothing that a browser reads as another one.

    >>> local_path("/nodes/a?range=7d", "/"), local_path("//evil.example/", "/"), local_path("/\\evil.example", "/")
    ('/nodes/a?range=7d', '/', '/')
    """
    return wanted if len(wanted) <= _LONGEST and _LOCAL.fullmatch(wanted) else otherwise
