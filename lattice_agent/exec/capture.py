"""An output stream whose reader waits with trio.

``pump`` runs beside a run and is cancelled when it is over. A process that lingers on purpose must not die of SIGPIPE:
``discard`` goes on draining for it.
"""

import trio

from lattice_agent.exec.output_stream import OutputStream


class Stream(OutputStream):
    """The read end of a pipe. Owns the descriptor; ``close`` it."""

    async def pump(self) -> None:
        """Read until end-of-file. Cancelling it loses nothing."""
        while await self._readable() and self.take():
            pass

    async def discard(self) -> None:
        """Throw away what comes until end-of-file, uncounted: for writers that outlive the outcome."""
        while await self._readable():
            try:
                if not self.skip():
                    return
            except BlockingIOError:
                continue

    async def _readable(self) -> bool:
        await trio.lowlevel.wait_readable(self.fd)
        return True
