"""The interface of a usage source, and the promise that comes with it."""

from abc import ABC, abstractmethod
from typing import ClassVar

import trio

from lattice_agent.errors import UsageSourceError
from lattice_agent.usage.reading import RawUsage


class UsageSource(ABC):
    """A place to read usage counters from. A subclass implements ``_read``; callers use ``read``.

    ``collector_source`` is the source's name on the wire (protocol reference 5.1).
    """

    collector_source: ClassVar[str]

    hint_silent: ClassVar[str | None] = None
    """What to look at when a reading runs into its deadline, if more is known than for any source."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s

    async def read(self) -> RawUsage:
        """One reading, within the source's deadline. Whatever goes wrong comes out as ``UsageSourceError``."""
        try:
            with trio.fail_after(self._timeout_s):
                return await self._read()
        except UsageSourceError:
            raise
        except trio.TooSlowError:
            message = f"{self} did not answer within {self._timeout_s:g} s"
            raise UsageSourceError(message, hint=self.hint_silent) from None
        except Exception as error:
            # A fault of one source must not take the reporting service down with it.
            raise UsageSourceError(f"{self} failed: {type(error).__name__}: {error}") from error

    @abstractmethod
    async def _read(self) -> RawUsage:
        """One reading. May take for ever and raise anything; reads at most ``parse.DOCUMENT_LIMIT`` bytes."""

    @abstractmethod
    def __str__(self) -> str:
        """How messages name the source; without secrets."""

    async def aclose(self) -> None:
        """Releases what the source holds open. Reading again afterwards is an error of the caller."""
        await trio.lowlevel.checkpoint()
