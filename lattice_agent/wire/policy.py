"""``policy`` in a heartbeat: what the node's owner allows, in short (docs/protocol.md, ``policy.summary``).

It lets a control plane say before a task is sent what the node would say to it. The node decides again when the task
has come, and its word counts.
"""

from typing import Annotated, Final

from lattice_agent.wire.base import OMIT, Items, Uint, WireModel

MAX_SCRIPTS: Final = 256
"""Digests of each list that a summary carries."""


class PolicySummary(WireModel):
    """Bounds are the highest that a task can get whose script has no rule of its own; 0: not known, or none."""

    allow_exec: bool = False
    refusal: Annotated[str, OMIT] = ""
    """Why no task without a grant runs at all; empty if tasks run."""
    default_level: Annotated[str, OMIT] = ""
    """The sandbox level of a task that asks for none; empty if such a task is refused."""
    levels: Annotated[Items[str], OMIT] = ()
    """Levels that a script may ask for here."""
    interpreters: Annotated[Items[str], OMIT] = ()
    """Interpreters that are allowed and there, at the default level (without one: at the first of ``levels``)."""
    uneven_levels: Annotated[Items[str], OMIT] = ()
    """Of ``levels`` those at which other interpreters are there: which, is not told."""
    only_listed_scripts: Annotated[bool, OMIT] = False
    listed_scripts: Annotated[Items[str], OMIT] = ()
    """SHA-256 (hexadecimal) of scripts that policy lists as allowed, and grants or demands no level or interpreter."""
    ruled_scripts: Annotated[Items[str], OMIT] = ()
    """Those whose rule names a level or an interpreter: what becomes of them is not told."""
    forbidden_scripts: Annotated[Items[str], OMIT] = ()
    lists_cut: Annotated[bool, OMIT] = False
    """Policy lists more scripts than are told."""
    max_timeout_sec: Annotated[Uint, OMIT] = 0
    max_output_bytes: Annotated[Uint, OMIT] = 0
    memory_bytes: Annotated[Uint, OMIT] = 0
