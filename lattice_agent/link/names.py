"""Name lookups: getaddrinfo(3) in a thread, bounded in number and time.

A resolver that does not answer holds a lookup for as long as resolv.conf(5) says, 10 to 60 s, and it cannot be ended.
Whoever waits gives up before, with the words that say what is wrong; the thread is left behind.
"""

import socket
from functools import partial
from typing import Any, Final

import trio

from lattice_agent.threads import run_in_thread

LOOKUP_S: Final = 8.0
"""Less than a connection may take, or the lookup would be told as one."""
LOOKUPS_MOST: Final = 12
"""Threads with a lookup, those that were left behind included; more lookups wait for one of them, within LOOKUP_S."""


class Lookups(trio.abc.HostnameResolver):
    """For ``trio.socket.set_custom_hostname_resolver``. Literal addresses do not come here."""

    def __init__(self) -> None:
        self._limiter = trio.CapacityLimiter(LOOKUPS_MOST)

    async def getaddrinfo(
        self,
        host: bytes | str | None,
        port: bytes | str | int | None,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> list[Any]:
        """As socket.getaddrinfo. Raises gaierror, also when no answer came in time or there is no thread to ask in."""
        look_up = partial(socket.getaddrinfo, host, port, family, type, proto, flags)
        try:
            with trio.fail_after(LOOKUP_S):
                return await run_in_thread(look_up, limiter=self._limiter, abandon_on_cancel=True)
        except trio.TooSlowError:
            raise socket.gaierror(socket.EAI_AGAIN, f"no answer from a name server within {LOOKUP_S:.0f} s") from None
        except socket.gaierror:
            raise
        except OSError as error:
            raise socket.gaierror(socket.EAI_SYSTEM, error.strerror) from None

    async def getnameinfo(self, sockaddr: Any, flags: int) -> tuple[str, str]:
        """As socket.getnameinfo."""
        look_up = partial(socket.getnameinfo, sockaddr, flags)
        return await run_in_thread(look_up, limiter=self._limiter, abandon_on_cancel=True)
