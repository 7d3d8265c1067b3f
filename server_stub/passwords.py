"""Hashing of operators' passwords with argon2id.

Parameters are the least that OWASP's password storage guidance allows with the least memory, 19 MiB, two passes, one
lane: some 20 ms here, and a control plane on a small machine can afford it. One hash is made at a time, in a thread of
its own, so that neither the event loop nor the store's thread waits for it and guessing costs 19 MiB and not many
times that (docs/adr/0015-server-rendered-page.md). argon2 is loaded with the first sign-in.
"""

from collections.abc import Awaitable, Callable
from functools import cache, partial
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from server_stub.errors import Refused

if TYPE_CHECKING:
    from argon2 import PasswordHasher

T = TypeVar("T")
MEMORY_KIB: Final = 19_456
PASSES: Final = 2
LANES: Final = 1
WAITING_MOST: Final = 16
"""Who wants a hash while so many wait is answered 429."""


class RunHash(Protocol):
    """Runs a synchronous function, one at a time."""

    def __call__(self, function: Callable[[], T], /) -> Awaitable[T]: ...


class Passwords:
    """Makes and compares hashes, never two at once."""

    def __init__(self, run: RunHash) -> None:
        self._run = run
        self._waiting = 0

    async def hash(self, password: str) -> str:
        """In argon2's own encoding, which carries salt and parameters. ``Refused`` 429 when too many wait."""
        return await self._in_turn(lambda: _hasher().hash(password))

    async def matches(self, password: str, encoded: str | None) -> bool:
        """Whether the hash is of this password; without a hash it takes as long and says no. ``Refused`` 429."""
        return await self._in_turn(partial(_matches, password, encoded))

    async def _in_turn(self, work: Callable[[], T]) -> T:
        if self._waiting >= WAITING_MOST:
            raise Refused(429, "too many sign-ins at once; try again in a moment")
        self._waiting += 1
        try:
            return await self._run(work)
        finally:
            self._waiting -= 1


@cache
def _hasher() -> "PasswordHasher":
    from argon2 import PasswordHasher

    return PasswordHasher(time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=LANES)


@cache
def _hash_of_nothing() -> str:
    """Compared with where there is no account, so that an unknown name takes as long as a wrong password."""
    return _hasher().hash("no account has this password")


def _matches(password: str, encoded: str | None) -> bool:
    from argon2.exceptions import InvalidHashError, VerificationError

    try:
        _hasher().verify(encoded or _hash_of_nothing(), password)
    except (VerificationError, InvalidHashError):
        return False
    return encoded is not None
