"""``usage``: what the configured sources of proxy usage say now, and the totals of the agent's ledger.

Takes the agent's own flags, variables and configuration file, so that it asks what the agent would ask. Reading changes
nothing: no counter is reset, and ``state.db`` is only looked at.
"""

import dataclasses
import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

import trio

from lattice_agent import config
from lattice_agent.cli import commandline
from lattice_agent.cli.goflags import Flag, FlagError, FlagKind, HelpRequested, parse, usage
from lattice_agent.cli.interrupts import run_interruptible
from lattice_agent.cli.stream_through import print_whole
from lattice_agent.errors import StateError, UsageSourceError
from lattice_agent.logs import clean, hide
from lattice_agent.state.usage_documents import read_usage_documents
from lattice_agent.usage.books import totals_in
from lattice_agent.usage.ledger import line_of
from lattice_agent.usage.normalise import Counters, normalise
from lattice_agent.usage.source import UsageSource
from lattice_agent.usage_sources import configured_sources, legal_names

PROGRAM: Final = "lattice-agent usage"
EXIT_PROBLEM: Final = 1
INTERVAL_S: Final = 2.0
_CLEAR: Final = "\x1b[H\x1b[2J"
FLAGS: Final = (
    Flag("json", FlagKind.BOOL, "Print JSON, one line for each look."),
    Flag("watch", FlagKind.BOOL, "Look again every two seconds until interrupted."),
    Flag("source", FlagKind.STRINGS, "Only sources whose name contains this; may be repeated."),
)


@dataclasses.dataclass(frozen=True, slots=True)
class Seen:
    """One source: what it said, or what is wrong with it."""

    name: str
    kind: str
    counters: Counters | None = None
    problem: str = ""


def run(words: Sequence[str], environ: Mapping[str, str]) -> int:
    """Exit 0 if every source answered, 1 if one did not. Raises FlagError (2) and ConfigError (78)."""
    known = commandline.known_flags() | {flag.name: flag for flag in FLAGS}
    try:
        parsed = parse(known, words)
    except HelpRequested:
        sys.stderr.write(usage(PROGRAM, known))
        return os.EX_OK
    if parsed.rest:
        raise FlagError(
            f"usage takes no {parsed.rest[0]!r}", hint=f"it is {PROGRAM} [--json] [--watch] and agent flags"
        )
    own = {flag.name for flag in FLAGS}
    flags = {name: value for name, value in parsed.values.items() if name not in own}
    settings = config.load(flags, environ, euid=os.geteuid()).settings
    hide(settings.usage.secret)
    sources = _wanted(configured_sources(settings.usage), parsed.values.get("source", ()))
    told = Teller(settings, sources, as_json=bool(parsed.values.get("json")), watch=bool(parsed.values.get("watch")))
    return run_interruptible(told.tell)


def _wanted(sources: Sequence[UsageSource], parts: object) -> list[UsageSource]:
    if not sources:
        raise FlagError(
            "no source of proxy usage is configured",
            hint="set -proxy-usage-file, -proxy-usage-url, -proxy-usage-xray-api or -singbox-stats-api, or --config",
        )
    if not isinstance(parts, tuple) or not parts:
        return list(sources)
    wanted = [source for source in sources if any(part in str(source) for part in parts)]
    if not wanted:
        raise FlagError(f"no source matches; there are: {', '.join(map(str, sources))}")
    return wanted


class Teller:
    """Looks at the sources and the ledger, and prints what it sees."""

    def __init__(
        self, settings: config.Settings, sources: Sequence[UsageSource], *, as_json: bool, watch: bool
    ) -> None:
        self._settings = settings
        self._sources = sources
        self._names = legal_names(settings.usage)
        self._as_json = as_json
        self._watch = watch

    async def tell(self) -> int:
        """One look, or one after the other; the exit code of the last."""
        while True:
            seen = [await self._read(source) for source in self._sources]
            totals, problem = self._totals()
            text = _json(seen, totals, problem) if self._as_json else "\n".join(_lines(seen, totals, problem))
            clears = self._watch and not self._as_json and sys.stdout.isatty()
            is_read = print_whole((_CLEAR if clears else "") + text)
            if not (self._watch and is_read):
                return EXIT_PROBLEM if any(one.problem for one in seen) else os.EX_OK
            await trio.sleep(INTERVAL_S)

    async def _read(self, source: UsageSource) -> Seen:
        try:
            counters = normalise(await source.read(), self._names)
        except UsageSourceError as error:
            return Seen(str(source), source.collector_source, problem=f"{error}; {error.hint()}")
        return Seen(str(source), source.collector_source, counters)

    def _totals(self) -> tuple[dict[str, int], str]:
        """Totals of the ledger by user, or why there are none to show."""
        node_id, base_url = self._settings.agent.node_id.strip(), self._settings.control_plane.base_url
        path = self._settings.state.dir / "state.db"
        try:
            documents = read_usage_documents(path, base_url, node_id)
            return {key: total for key, total in totals_in(documents).items() if not line_of(key)}, ""
        except (StateError, UsageSourceError) as error:
            return {}, str(error)


def _json(seen: Sequence[Seen], totals: Mapping[str, int], problem: str) -> str:
    sources = [
        {
            "source": one.name,
            "kind": one.kind,
            "status": "error" if one.problem else "ok",
            "error": one.problem,
            "core_uptime_sec": one.counters.core_uptime_s if one.counters else 0,
            "user_bytes": dict(one.counters.user_bytes) if one.counters else {},
            "left_out": list(one.counters.left_out) if one.counters else [],
        }
        for one in seen
    ]
    told: dict[str, Any] = {"sources": sources, "ledger": {"totals": dict(totals), "problem": problem}}
    return json.dumps(told, ensure_ascii=True)


def _lines(seen: Sequence[Seen], totals: Mapping[str, int], problem: str) -> list[str]:
    lines: list[str] = []
    for one in seen:
        lines += [*_source_lines(one), ""]
    lines.append("totals of the ledger, in bytes" + (f": {problem}" if problem else ""))
    lines += _table(totals)
    return [clean(line) for line in lines]


def _source_lines(one: Seen) -> list[str]:
    if one.counters is None:
        return [f"{one.name}: error", f"  {one.problem}"]
    uptime_s = one.counters.core_uptime_s
    age = f", core up {uptime_s} s" if uptime_s else ""
    left_out = [f"  left out: {user!r}; [usage.ids] can give it a legal name" for user in one.counters.left_out]
    return [f"{one.name}: ok{age}", *_table(one.counters.user_bytes), *left_out]


def _table(counts: Mapping[str, int]) -> list[str]:
    width = max(map(len, counts), default=0)
    return [f"  {user:<{width}}  {count}" for user, count in sorted(counts.items())] or ["  nobody yet"]
