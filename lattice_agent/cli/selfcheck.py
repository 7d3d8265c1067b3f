"""``-selfcheck-controlplane``: can this node reach its control plane? Firewall scripts ask before they keep a change.

The request goes the agent's own way (same cleartext rule, authorities, pins, deadline of 30 s), without credentials.
A redirect is a failure, other than with the Go agent: the agent proper would not follow it either.
"""

import os
import sys
from typing import Final

from lattice_agent.cli.commandline import CommandLine
from lattice_agent.config import ControlPlaneSettings, load
from lattice_agent.errors import LatticeError, LinkError

HEALTH: Final = "/api/health"


def run(line: CommandLine) -> int:
    """Exit 0 if the control plane answers 200, else 1; one line on stderr says why."""
    try:
        loaded = load(line.flags, line.environ, euid=os.geteuid())
        url = _check(loaded.settings.control_plane)
    except LatticeError as error:
        print(f"control-plane selfcheck failed: {error}; {error.hint()}", file=sys.stderr)
        return 1
    print(f"control-plane selfcheck ok: {url}", file=sys.stderr)
    return 0


def _check(settings: ControlPlaneSettings) -> str:
    """The URL that answered. Raises TransportRefusedError before, and LinkError after, anything was sent."""
    from lattice_agent.link.transport_policy import judge_base_url

    judge_base_url(settings.base_url, allow_insecure_http=settings.allow_insecure_http)

    import trio

    from lattice_agent.link.client import ControlPlane
    from lattice_agent.link.settings import LinkSettings

    link = LinkSettings(
        base_url=settings.base_url,
        node_id="",
        allow_insecure_http=settings.allow_insecure_http,
        ca_file=settings.ca_file,
        pin_spki_sha256=settings.pins,
    )

    async def ask() -> str:
        async with ControlPlane(link, None) as plane:
            answer = await plane.get(HEALTH)
            url = f"{plane.endpoint.base_url}{HEALTH}"
            if answer.status != 200:
                raise LinkError(f"{url} answered with status {answer.status}", hint="200 is expected")
            return url

    return trio.run(ask)
