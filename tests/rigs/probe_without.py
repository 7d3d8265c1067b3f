"""Probes the host with spawners that leave out one step each: a process of its own, for a world (``tests.hostile``).

Arguments: names of steps; an empty one leaves out nothing. One line of JSON for each on standard output, in that order,
after a first one with the names of the steps that a whole spawner carries out at each level.
"""

import json
import logging
import os
import sys
from typing import Any

import trio

from lattice_agent.exec import cell_pool
from lattice_agent.exec.explain import explain_steps
from lattice_agent.exec.library import plan_for
from lattice_agent.exec.plan import Profile
from lattice_agent.exec.probe import PROBED, HostProbe, probe_host
from lattice_agent.exec.runner import open_runner
from tests.hostile.cell_agent import start_spawner_without

PROBE_S = 40
BUILD_S = 4.0
"""Some cells without their step never come to be, and do not say so."""
NEED_CALLS = ("securebits",)
"""Steps whose absence shows only to system calls."""
SOME_GROUPS = [4, 27]
"""An agent that is root has supplementary groups, so that it shows whether they are taken from scripts."""


async def probe(step: str) -> HostProbe:
    with trio.fail_after(PROBE_S):
        async with open_runner(start_spawner_without([step])) as runner:
            return await probe_host(runner, thorough=step in ("", *NEED_CALLS), allow_groups=os.geteuid() != 0)


def tell(step: str, seen: HostProbe) -> dict[str, Any]:
    levels = {
        level.value: {
            "reached": result.reached,
            "because": result.because,
            "lacks": {lack.protection.name: lack.seen for lack in result.lacks},
        }
        for level, result in seen.results.items()
    }
    return {"step": step, "levels": levels}


def main() -> None:
    logging.basicConfig(level=logging.CRITICAL)
    cell_pool.BUILD_S = BUILD_S  # type: ignore[misc]  # final, but for a test that need not wait so long
    if os.geteuid() == 0:
        os.setgroups(SOME_GROUPS)
    plans = {level.value: plan_for(":", Profile(level)) for level in PROBED}
    print(json.dumps({level: [step.name for step in explain_steps(plan)] for level, plan in plans.items()}), flush=True)
    for step in sys.argv[1:]:
        print(json.dumps(tell(step, trio.run(probe, step))), flush=True)


if __name__ == "__main__":
    main()
