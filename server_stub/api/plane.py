"""What every endpoint works with, and how it gets at the store without blocking the event loop."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, TypeVar

from starlette.requests import HTTPConnection

from server_stub.api.agent_streams import AgentStreams
from server_stub.api.live_output import LiveOutputs
from server_stub.api.store_health import StoreHealth
from server_stub.api.watch import TaskWatch
from server_stub.clock import Clock
from server_stub.config import Settings
from server_stub.errors import StoreError
from server_stub.passwords import Passwords
from server_stub.rules.rates import TokenBuckets
from server_stub.rules.turnstile import turnstile
from server_stub.store.base import Store, Tables

T = TypeVar("T")


class RunSync(Protocol):
    """Runs a synchronous function, one at a time: in a thread in production, directly in simulation."""

    def __call__(self, function: Callable[[], T], /) -> Awaitable[T]: ...


@dataclass(frozen=True)
class Rates:
    """The buckets of all callers. A refused caller is audited, too, but only at a bounded rate."""

    nodes: TokenBuckets
    addresses: TokenBuckets
    denials: TokenBuckets
    login_addresses: TokenBuckets
    login_names: TokenBuckets
    frames: TokenBuckets
    node_streams: TokenBuckets
    streams: Callable[[float], float]
    """See ``turnstile``."""

    @classmethod
    def of(cls, settings: Settings) -> "Rates":
        """One denial a minute and address is audited: enough to see who knocks, too little to fill the audit."""
        limits = settings.limits
        return cls(
            TokenBuckets(limits.node_rate, limits.node_burst, limits.rate_keys),
            TokenBuckets(limits.address_rate, limits.address_burst, limits.rate_keys),
            TokenBuckets(1 / 60, 1, limits.rate_keys),
            TokenBuckets(limits.login_address_rate, limits.login_address_burst, limits.rate_keys),
            TokenBuckets(limits.login_name_rate, limits.login_name_burst, limits.rate_keys),
            TokenBuckets(limits.frame_rate, limits.frame_burst, limits.rate_keys),
            TokenBuckets(limits.node_stream_rate, limits.node_stream_burst, limits.rate_keys),
            turnstile(limits.stream_rate, limits.stream_burst),
        )


@dataclass(frozen=True)
class Plane:
    """The control plane as endpoints see it."""

    store: Store
    clock: Clock
    settings: Settings
    run_sync: RunSync
    rates: Rates
    watch: TaskWatch
    streams: AgentStreams
    passwords: Passwords
    live: LiveOutputs
    health: StoreHealth = field(default_factory=StoreHealth)

    def close(self) -> None:
        """The server stops: nobody goes on waiting. In the event loop's thread."""
        self.watch.close()
        self.streams.close()

    def now(self) -> datetime:
        return self.clock.now()

    async def read(self, work: Callable[[Tables], T]) -> T:
        """``Store.read``, away from the event loop."""
        try:
            return await self.run_sync(lambda: self.store.read(work))
        except StoreError as error:
            self.health.failed(error)
            raise

    async def write(self, work: Callable[[Tables], T]) -> T:
        """``Store.write``, away from the event loop; durable when it returns. Not undone by cancellation."""
        try:
            outcome = await self.run_sync(lambda: self.store.write(work))
        except StoreError as error:
            self.health.failed(error)
            raise
        self.health.worked()
        return outcome


def plane_of(connection: HTTPConnection) -> Plane:
    """The plane of the application that serves the connection."""
    plane: Plane = connection.app.state.plane
    return plane
