"""Whether the database works, told once when that changes: every request would say it again, on a full disk."""

import logging
from typing import Final

from server_stub.errors import StoreError

_LOG: Final = logging.getLogger("lattice_control.store")


class StoreHealth:
    """Of one control plane; in the event loop's thread."""

    def __init__(self) -> None:
        self._trouble = ""
        self._refused = 0

    @property
    def works(self) -> bool:
        """Whether the last write was taken."""
        return not self._trouble

    def failed(self, error: StoreError) -> None:
        """A request was answered with 500 for it."""
        self._refused += 1
        if str(error) != self._trouble:
            self._trouble = str(error)
            _LOG.error("%s; %s; requests that need it are answered 500 until it works", error, error.hint())

    def worked(self) -> None:
        """A write was taken."""
        if self._trouble:
            _LOG.info("the database works again; %d requests were answered 500", self._refused)
            self._trouble, self._refused = "", 0
