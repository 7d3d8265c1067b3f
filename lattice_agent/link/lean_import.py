"""Loads httpcore without HTTP/2, which it takes in wherever h2 is installed and which no client here asks it for.

h2 is there for the statistics API of proxy cores (docs/adr/0013-h2-instead-of-grpcio.md). A node without such a source
would pay 1.3 MiB and 25 ms at its start for nothing, since httpcore imports what it can find when the first client is
made.
"""

import importlib
import sys


def load_httpcore_without_h2() -> None:
    """To be called before the first HTTP client is made. h2 itself can be imported afterwards as ever."""
    if "httpcore" in sys.modules or "h2" in sys.modules:
        return
    sys.modules["h2"] = None  # type: ignore[assignment]  # the documented way to make an import fail
    try:
        importlib.import_module("httpcore")
    finally:
        del sys.modules["h2"]
