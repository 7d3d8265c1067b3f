"""The statistics API of a running xray, v2ray or sing-box (protocol reference 5.2).

Theory of operation. A reading is one connection with two calls: QueryStats for the users' counters, which it never
resets, and GetSysStats for the core's uptime. As both go over one connection, both are of one run of the core.

The service has one interface and two names. The name of the configured flavour is tried first and the other one if
the core does not know it; what worked is tried first from then on. A core without GetSysStats has uptime 0.

No user's counter is not the same as no traffic. Such a core is asked two more questions, for all traffic counters
(``usage.idle_core`` says why two), so that the usual reading stays at two calls.
"""

from typing import ClassVar, Final

import trio

from lattice_agent.errors import UsageSourceError
from lattice_agent.usage import core_settings as fix
from lattice_agent.usage.grpc_answer import UNIMPLEMENTED, RefusedCallError
from lattice_agent.usage.grpc_connection import GrpcConnection
from lattice_agent.usage.idle_core import Exchanged, carries_uncounted_users
from lattice_agent.usage.loopback import endpoint
from lattice_agent.usage.reading import RawUsage
from lattice_agent.usage.source import UsageSource
from lattice_agent.usage.statistics import TRAFFIC, USERS, Stat, user_sums
from lattice_agent.usage.stats_messages import query_answer, query_request, uptime_answer

XRAY: Final = "xray.app.stats.command.StatsService"
V2RAY: Final = "v2ray.core.app.stats.command.StatsService"

_BATCH: Final = 512  # statistics decoded before others have a turn: about 2 ms, of 25 for 4,096 users


class StatsApiSource(UsageSource):
    """Asks the core at ``address``, a loopback ``host:port``; ``ConfigError`` at once if it is anything else."""

    setting: ClassVar[str]
    """The flag that messages about the address name."""

    services: ClassVar[tuple[str, str]]
    """Names of the service, the likely one first."""

    hint_uncounted: ClassVar[str]
    """What makes the core count its users."""

    hint_missing: ClassVar[str]
    """What makes the core offer the service."""

    hint_silent = "check that the core is not stuck, and that this is the port of its statistics API"

    def __init__(self, address: str, *, timeout_s: float = 3.0) -> None:
        super().__init__(timeout_s)
        self._endpoint = endpoint(address, self.setting)
        self._services = list(self.services)

    def __str__(self) -> str:
        return f"proxy statistics API {self._endpoint}"

    async def _read(self) -> RawUsage:
        try:
            async with GrpcConnection(await self._connect(), str(self._endpoint)) as connection:
                return await self._read_over(connection)
        except UsageSourceError as error:
            raise UsageSourceError(f"{self}: {error}", hint=error.hint()) from None

    async def _connect(self) -> trio.SocketStream:
        for host in self._endpoint.addresses():
            try:
                return await trio.open_tcp_stream(host, self._endpoint.port)
            except OSError:
                continue
        raise UsageSourceError("nothing listens there", hint=f"start the core, or correct {self.setting}")

    async def _read_over(self, connection: GrpcConnection) -> RawUsage:
        service, answer = await self._find_service(connection)
        uptime_s = await _ask_uptime(connection, service)
        users = user_sums(answer)
        if not users and await _has_uncounted(connection, service):
            raise UsageSourceError(fix.NOT_COUNTED, hint=self.hint_uncounted)
        return RawUsage(user_bytes=users, core_uptime_s=uptime_s, is_live=True)

    async def _find_service(self, connection: GrpcConnection) -> tuple[str, list[Stat]]:
        for service in tuple(self._services):
            try:
                answer = await query_stats(connection, service, USERS)
            except RefusedCallError as error:
                if fix.NO_STATISTICS_BEHIND in error.detail:
                    raise UsageSourceError(fix.NOT_KEPT, hint=fix.XRAY_KEEP_STATISTICS) from None
                if error.code != UNIMPLEMENTED:
                    raise
                continue
            self._services.sort(key=service.__ne__)  # stable: the one that works moves to the front
            return service, answer
        raise UsageSourceError(fix.NOT_OFFERED, hint=self.hint_missing)


class XrayApiSource(StatsApiSource):
    """The API of xray and of v2ray."""

    collector_source = "xray-api"
    setting = "-proxy-usage-xray-api"
    services = (XRAY, V2RAY)
    hint_uncounted = fix.XRAY_COUNT_USERS
    hint_missing = fix.XRAY_OFFER_SERVICE


class SingboxStatsSource(StatsApiSource):
    """The V2Ray API of sing-box, which only builds with the tag ``with_v2ray_api`` have."""

    collector_source = "singbox-stats"
    setting = "-singbox-stats-api"
    services = (V2RAY, XRAY)
    hint_uncounted = fix.SINGBOX_COUNT_USERS
    hint_missing = fix.SINGBOX_OFFER_SERVICE


async def query_stats(connection: GrpcConnection, service: str, pattern: str) -> list[Stat]:
    """The statistics whose name holds ``pattern``; lets others run while it decodes."""
    stats: list[Stat] = []
    for stat in query_answer(await connection.call(f"/{service}/QueryStats", query_request(pattern))):
        stats.append(stat)
        if len(stats) % _BATCH == 0:
            await trio.lowlevel.checkpoint()
    return stats


async def _ask_uptime(connection: GrpcConnection, service: str) -> int:
    try:
        return uptime_answer(await connection.call(f"/{service}/GetSysStats", b""))
    except RefusedCallError as error:
        if error.code != UNIMPLEMENTED:
            raise
        return 0


async def _has_uncounted(connection: GrpcConnection, service: str) -> bool:
    sent, received = connection.sent, connection.received
    first = await query_stats(connection, service, TRAFFIC)
    second = await query_stats(connection, service, TRAFFIC)
    between = Exchanged(connection.sent - sent, connection.received - received)
    return carries_uncounted_users(first, second, between)
