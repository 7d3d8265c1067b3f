"""Keeps the node's own addresses current (protocol reference 1.2, 1.4); the heartbeat carries them.

What to do is decided in ``facts.address_plan``; this service carries it out: resolvers are asked, or a script is run
under the same rules as a task, at once after a change of plan and every two minutes otherwise.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

import trio

from lattice_agent.facts.address_plan import (
    PROBE_INTERVAL_S,
    SCRIPT_OUTPUT_LIMIT,
    SCRIPT_TIMEOUT_S,
    AddressFlags,
    AddressPlan,
    plan_addresses,
    script_interpreter,
)
from lattice_agent.facts.addresses import AddressPair, first_public_pair
from lattice_agent.wire.config import IpConfig
from lattice_agent.wire.hello import Addresses

log = logging.getLogger(__name__)

INTERNAL_DEADLINE_S: Final = 5.0
SAID_LIMIT: Final = 200
"""Different sentences that are logged, each once; a server that invents ever new problems is not worth more lines."""

Ask = Callable[[AddressPlan], Awaitable[tuple[AddressPair, tuple[str, ...]]]]
"""Asks the plan's resolvers; the addresses found and what went wrong."""
RunScript = Callable[[str, str, int, int], Awaitable[str | None]]
"""Runs a script (interpreter, text, timeout in seconds, output bytes); its output, or None if it was refused or failed
(logged by whoever ran it)."""


class AddressService:
    """Owns the addresses; ``current()`` is what to send now."""

    name = "addresses"

    def __init__(
        self,
        flags: AddressFlags,
        wireguard_ip: str,
        *,
        internal: Callable[[], AddressPair],
        ask: Ask,
        run_script: RunScript,
        run_sync: Callable[..., Any],
    ) -> None:
        self._flags = flags
        self._internal = internal
        self._ask = ask
        self._run_script = run_script
        self._run_sync = run_sync
        self._plan = plan_addresses(flags, None)
        self._carried_out = self._plan
        self._changed = trio.Event()
        self._said: set[str] = set()
        self._current = Addresses(
            public_ip=self._plan.public_ip, public_ipv6=self._plan.public_ipv6, wireguard_ip=wireguard_ip
        )

    def current(self) -> Addresses:
        """The addresses as far as they are known."""
        return self._current

    def override(self, config: IpConfig | None) -> None:
        """Take over the server's ``ip_config``; a change of plan is carried out at once."""
        plan = plan_addresses(self._flags, config)
        if plan != self._plan:
            self._plan = plan
            self._changed.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Probe for ever."""
        task_status.started()
        while True:
            self._changed = trio.Event()
            await self._probe(self._plan)
            with trio.move_on_after(PROBE_INTERVAL_S):
                await self._changed.wait()

    async def _probe(self, plan: AddressPlan) -> None:
        self._say(plan.problems)
        await self._look_inside()
        if plan is not self._carried_out:
            self._carried_out = plan
            self._set(public_ip=plan.public_ip, public_ipv6=plan.public_ipv6)
        found = await self._find(plan)
        if found is None or plan is not self._plan:  # a changed plan makes this answer stale
            return
        # A probe that finds nothing keeps what the last one found.
        known = self._current
        self._set(
            public_ip=plan.public_ip or found.v4 or known.public_ip,
            public_ipv6=plan.public_ipv6 or found.v6 or known.public_ipv6,
        )

    async def _look_inside(self) -> None:
        with trio.move_on_after(INTERNAL_DEADLINE_S):
            try:
                internal = await self._run_sync(self._internal)
            except OSError as error:
                self._say((f"internal addresses cannot be read: {error}",))
                return
            self._set(internal_ip=internal.v4, internal_ipv6=internal.v6)

    async def _find(self, plan: AddressPlan) -> AddressPair | None:
        if plan.script:
            interpreter = script_interpreter(plan.script)
            output = await self._run_script(interpreter, plan.script, SCRIPT_TIMEOUT_S, SCRIPT_OUTPUT_LIMIT)
            return None if output is None else first_public_pair(output)
        if plan.ask_v4 or plan.ask_v6:
            found, problems = await self._ask(plan)
            self._say(problems)
            return found
        return AddressPair()

    def _set(self, **fields: str) -> None:
        self._current = self._current.model_copy(update=fields)

    def _say(self, problems: tuple[str, ...]) -> None:
        for problem in problems:
            if problem not in self._said and len(self._said) < SAID_LIMIT:
                self._said.add(problem)
                log.warning("%s", problem)
