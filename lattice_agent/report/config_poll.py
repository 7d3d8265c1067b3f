"""Fetches the server's configuration for this node and hands each part to whom it concerns (protocol reference 1.4)."""

import logging
import random
from collections.abc import Callable
from typing import Final

import trio

from lattice_agent.link.announced import announced_features
from lattice_agent.link.features import Features
from lattice_agent.link.line import Line
from lattice_agent.link.patience import Patience, spread
from lattice_agent.wire.base import WireError, decode_json, parse
from lattice_agent.wire.config import AgentConfig, IpConfig

log = logging.getLogger(__name__)

RETRY_BASE_S, RETRY_CAP_S = 2.0, 60.0
JITTER: Final = 0.1


class ConfigService:
    """The service that polls; a failed poll keeps the old configuration."""

    name = "config poll"

    def __init__(
        self,
        line: Line,
        features: Features,
        *,
        interval_s: float,
        on_ip_config: Callable[[IpConfig | None], None],
        rng: random.Random,
    ) -> None:
        self._line = line
        self._features = features
        self._interval_s = interval_s
        self._on_ip_config = on_ip_config
        self._rng = rng
        self._warned: frozenset[str] = frozenset()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Poll for ever."""
        patience = Patience(RETRY_BASE_S, RETRY_CAP_S)
        task_status.started()
        while True:
            reply = await self._line.get("/api/agent/config")
            delay = patience.after(reply.verdict, self._rng)
            if reply.ok and reply.answer is not None:
                self._apply(reply.answer.body)
            await trio.sleep(max(delay, spread(self._interval_s, JITTER, self._rng)))

    def _apply(self, body: bytes) -> None:
        try:
            value = decode_json(body)
            # First: whatever else is in the answer, extensions are used only while they are announced.
            self._features.announced(announced_features(value))
            config = parse(AgentConfig, value)
        except WireError as error:
            log.warning("the server's configuration is not understood and ignored: %s", error)
            return
        self._on_ip_config(config.ip_config)
        self._not_built("debug collection", wanted=config.debug.collect)
        self._not_built("terminal transport override", wanted=bool(config.terminal_transport))

    def _not_built(self, what: str, *, wanted: bool) -> None:
        if wanted and what not in self._warned:
            self._warned |= {what}
            log.warning("the server asks for %s, which this agent does not have yet", what)
        elif not wanted:
            self._warned -= {what}
