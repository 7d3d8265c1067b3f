"""The control plane with a steering file: ``python -m tests.rigs.steered_server DB STEERING WIRE PORT``.

The program is the production one but for its clock and for the judgement on results. WIRE is ``extended`` or ``base``
(announces no extension, as an unmodified control plane does not).
"""

import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from starlette.types import ASGIApp

from lattice_agent.wire.ext import Announcement
from server_stub.actions import reporting
from server_stub.api import agent
from server_stub.app import build_app
from server_stub.clock import SystemClock
from server_stub.config import Settings
from server_stub.rules.results import INVALID_LEASE, Result, Verdict, judge
from server_stub.rules.states import Target
from server_stub.runner import OneThread
from server_stub.serve import open_listener, run
from server_stub.store.sqlite import SqliteStore
from server_stub.sweep import tend
from tests.rigs import steering

EXTENDED, BASE = "extended", "base"


class SteeredClock(SystemClock):
    """Ahead of the machine's by what the file says."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=steering.read(self._file).ahead_s)


def steer_judgement(file: Path) -> None:
    def steered(result: Result, target: Target | None, output_limit: int, stored: Result | None) -> Verdict:
        now = steering.read(file)
        if now.leases_dead:
            return INVALID_LEASE
        return judge(result, target, output_limit if now.output_limit is None else now.output_limit, stored)

    reporting.judge = steered  # type: ignore[attr-defined]  # the name by which it is called there


def main(
    db_path: str, steering_path: str, wire: str, port: str, around: Callable[[ASGIApp], ASGIApp] = lambda app: app
) -> None:
    """``around``: what a test puts around the application."""
    file = Path(steering_path)
    steer_judgement(file)
    if wire == BASE:
        agent.EXTENSIONS = Announcement()  # type: ignore[misc]  # Final, but for this test
    settings = Settings(db_path=db_path, port=int(port))
    store = SqliteStore(db_path, settings.limits)
    app = build_app(store, SteeredClock(file), settings, OneThread())
    with open_listener(settings) as listener:
        plane = app.state.plane
        run(around(app), settings, listener, on_stop=plane.close, beside=partial(tend, plane))


if __name__ == "__main__":
    main(*sys.argv[1:])
