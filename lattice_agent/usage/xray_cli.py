"""The xray program as a way to its statistics API, where the API itself cannot be asked (protocol reference 5.2).

It prints what QueryStats answers, as JSON. It says nothing of the core's uptime, and costs a process for each reading.
A core without a user's counter is asked twice more, as ``usage.stats_api`` does.
"""

import re
from typing import Final

from lattice_agent.errors import ConfigError, UsageSourceError
from lattice_agent.usage import core_settings as fix
from lattice_agent.usage.bounded_command import Finished, run_bounded
from lattice_agent.usage.idle_core import Exchanged, carries_uncounted_users
from lattice_agent.usage.loopback import endpoint
from lattice_agent.usage.parse import DOCUMENT_LIMIT, parse_statistics
from lattice_agent.usage.reading import RawUsage
from lattice_agent.usage.source import UsageSource
from lattice_agent.usage.statistics import TRAFFIC, USERS, Stat, user_sums

PATTERN_LIMIT: Final = 128
"""Characters of a pattern."""

_PROGRAM: Final = re.compile(r"[A-Za-z0-9_./+][A-Za-z0-9_./+-]*")
_FRAMES: Final = 4096  # bytes of a call besides its answer, generously
_SHOWN: Final = 200
_REFUSALS: Final = (
    ("Unimplemented", fix.NOT_OFFERED, fix.XRAY_OFFER_SERVICE),
    (fix.NO_STATISTICS_BEHIND, fix.NOT_KEPT, fix.XRAY_KEEP_STATISTICS),
)


class XrayCliSource(UsageSource):
    """Runs ``<program> api statsquery`` against ``address``, a loopback ``host:port``.

    ``ConfigError`` at once if the address, the program's name or the pattern cannot be used.
    """

    collector_source = "xray-cli"
    hint_silent = "check that the core is not stuck, and that -proxy-usage-xray-api is the port of its statistics API"

    def __init__(self, address: str, *, program: str = "xray", pattern: str = USERS, timeout_s: float = 3.0) -> None:
        super().__init__(timeout_s)
        self._endpoint = endpoint(address, "-proxy-usage-xray-api")
        self._program = _checked_program(program)
        self._pattern = _checked_pattern(pattern)

    def __str__(self) -> str:
        return f"proxy statistics by {self._program} from {self._endpoint}"

    async def _read(self) -> RawUsage:
        try:
            users = user_sums((await self._query(self._pattern))[0])
            if not users and await self._has_uncounted():
                raise UsageSourceError(fix.NOT_COUNTED, hint=fix.XRAY_COUNT_USERS)
        except UsageSourceError as error:
            raise UsageSourceError(f"{self}: {error}", hint=error.hint()) from None
        return RawUsage(user_bytes=users)

    async def _has_uncounted(self) -> bool:
        first, first_size = await self._query(TRAFFIC)
        second, second_size = await self._query(TRAFFIC)
        return carries_uncounted_users(first, second, Exchanged(_FRAMES, _FRAMES + first_size + second_size))

    async def _query(self, pattern: str) -> tuple[list[Stat], int]:
        """The statistics, and the bytes that they took as JSON."""
        server = f"--server={self._endpoint}"
        try:
            finished = await run_bounded(
                [self._program, "api", "statsquery", server, "-pattern", pattern, "-reset=false"],
                stdout_limit=DOCUMENT_LIMIT,
            )
        except OSError as error:
            raise UsageSourceError(
                f"the program cannot be started: {error.strerror}", hint="install it, or correct -proxy-usage-xray-bin"
            ) from None
        _check(finished)
        return parse_statistics(bytes(finished.stdout.content)), len(finished.stdout.content)


def _check(finished: Finished) -> None:
    if finished.stdout.is_cut:
        raise UsageSourceError(f"the program prints more than {DOCUMENT_LIMIT} bytes")
    if finished.code == 0:
        return
    said = finished.stderr.content.decode("utf-8", "replace")
    for sign, sentence, hint in _REFUSALS:
        if sign in said:
            raise UsageSourceError(sentence, hint=hint)
    raise UsageSourceError(
        f"the program ended with {finished.code}: {' '.join(said.split())[:_SHOWN] or 'no word on stderr'}",
        hint="check that the core runs and that -proxy-usage-xray-api is the port of its statistics API",
    )


def _checked_program(program: str) -> str:
    if not _PROGRAM.fullmatch(program):
        raise ConfigError(
            f"-proxy-usage-xray-bin is {program[:64]!r}, not a plain name or path",
            hint="use letters, digits and _ . / + - only, without arguments",
        )
    return program


def _checked_pattern(pattern: str) -> str:
    if len(pattern) > PATTERN_LIMIT or not pattern.isprintable():
        raise ConfigError(
            f"-proxy-usage-xray-pattern is longer than {PATTERN_LIMIT} characters or has unprintable ones",
            hint=f"leave it out to have {USERS}",
        )
    return pattern
