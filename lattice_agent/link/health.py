"""What the last exchange on each path said; told once when it changes, not once per retry."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from lattice_agent.link.verdict import Kind, Verdict

_log = logging.getLogger(__name__)

_MAX_PATHS: Final = 64
"""Endpoints are about twenty. Beyond the bound the path that was first seen is forgotten (and told again)."""


@dataclass(frozen=True)
class LinkState:
    """How a path stands."""

    verdict: Verdict
    """The latest one."""

    since_s: float
    """Monotonic time at which its kind was first seen in a row."""

    attempts: int
    """Exchanges in a row with this kind, the latest included."""


@dataclass(frozen=True)
class Transition:
    """A path's kind has changed."""

    path: str
    before: LinkState | None
    after: LinkState


def log_transition(change: Transition) -> None:
    """One line: an error for 401, a warning for other trouble, information when it is over."""
    verdict = change.after.verdict
    if verdict.kind is not Kind.OK:
        level = logging.ERROR if verdict.kind is Kind.UNAUTHORIZED else logging.WARNING
        _log.log(level, "%s: %s: %s; %s", change.path, verdict.kind, verdict.text, verdict.hint)
    elif change.before is not None:
        lasted_s = change.after.since_s - change.before.since_s
        _log.info(
            "%s: ok again after %d attempts and %.0f s of %s",
            change.path,
            change.before.attempts,
            lasted_s,
            change.before.verdict.kind,
        )


class LinkHealth:
    """Shared by the services: each notes its exchanges, all may look."""

    def __init__(self, on_change: Callable[[Transition], None] = log_transition) -> None:
        self._on_change = on_change
        self._states: dict[str, LinkState] = {}
        self._latest: LinkState | None = None
        self._last_ok_s: float | None = None

    @property
    def latest(self) -> LinkState | None:
        """The state of the path that was used last, or None before the first exchange."""
        return self._latest

    @property
    def last_ok_s(self) -> float | None:
        """Monotonic time of the last exchange that went well on any path."""
        return self._last_ok_s

    def of(self, path: str) -> LinkState | None:
        """How a path stands; None if it was not used yet."""
        return self._states.get(path)

    def note(self, path: str, verdict: Verdict, now_s: float) -> LinkState:
        """Remember an exchange; ``on_change`` is called if the path's kind is another than before."""
        before = self._states.get(path)
        if before is not None and before.verdict.kind is verdict.kind:
            after = LinkState(verdict, before.since_s, before.attempts + 1)
        else:
            after = LinkState(verdict, now_s, 1)
        self._store(path, after)
        if verdict.kind is Kind.OK:
            self._last_ok_s = now_s
        if before is None or before.verdict.kind is not verdict.kind:
            self._on_change(Transition(path, before, after))
        return after

    def _store(self, path: str, state: LinkState) -> None:
        if path not in self._states and len(self._states) >= _MAX_PATHS:
            del self._states[next(iter(self._states))]
        self._states[path] = state
        self._latest = state
