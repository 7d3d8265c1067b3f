"""Keeps the services running: one that crashes is started again with back-off, one that keeps crashing ends the agent.

A service is an object with ``name`` and ``async def run(*, task_status)``; it calls ``task_status.started()`` when it
is ready and normally never returns. Returning is allowed (its work is done); raising is a crash.
"""

import logging
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Final, Protocol

import trio

from lattice_agent.errors import ServiceFailedError

log = logging.getLogger(__name__)


class Service(Protocol):
    """What the supervisor runs."""

    name: str

    def run(self, *, task_status: trio.TaskStatus[None] = ...) -> Awaitable[None]: ...


@dataclass(frozen=True)
class RestartPolicy:
    """``tries`` crashes within ``window_s`` end the agent; between two starts the delay doubles up to ``cap_s``."""

    base_s: float = 1.0
    cap_s: float = 30.0
    tries: int = 6
    window_s: float = 300.0


DEFAULT_POLICY: Final = RestartPolicy()


def restart_delay(policy: RestartPolicy, crashes: tuple[float, ...], now: float) -> float | None:
    """Seconds to wait before the next start, or None to give up. ``crashes``: times of all crashes, oldest first."""
    recent = [at for at in crashes if now - at <= policy.window_s]
    if len(recent) >= policy.tries:
        return None
    return float(min(policy.cap_s, policy.base_s * 2 ** (len(recent) - 1)))


async def supervise(
    service: Service,
    *,
    policy: RestartPolicy = DEFAULT_POLICY,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run one service until it returns; ServiceFailedError if it keeps crashing.

    Ready (``task_status``) as soon as the service was ready once, or has crashed once: the others must not wait
    for a service that cannot start.
    """
    crashes: tuple[float, ...] = ()
    told = False

    def tell() -> None:
        nonlocal told
        if not told:
            told = True
            task_status.started()

    while True:
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(_run_one, service)
                tell()
        except* Exception as crash:
            log.error("service %s crashed", service.name, exc_info=crash)
        else:
            return
        now = trio.current_time()
        # Older crashes than the window can never count again.
        crashes = (*(at for at in crashes if now - at <= policy.window_s), now)
        tell()
        delay = restart_delay(policy, crashes, now)
        if delay is None:
            raise ServiceFailedError(
                f"service {service.name} crashed {policy.tries} times in {policy.window_s:.0f} s",
                hint="the log above holds each crash; the service manager may start the agent again",
            )
        log.warning("service %s starts again in %.1f s", service.name, delay)
        await trio.sleep(delay)


async def _run_one(service: Service, *, task_status: trio.TaskStatus[None]) -> None:
    await service.run(task_status=task_status)
