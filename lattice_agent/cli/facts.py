"""``facts``: what this host is, or what a recorded one was, as the agent would report it.

Reads only; needs no configuration, no network and no root (which would see a few serial numbers more).
"""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from lattice_agent.cli.fact_table import group_lines, table_lines
from lattice_agent.cli.goflags import Flag, FlagError, FlagKind, HelpRequested, Parsed, parse, usage
from lattice_agent.cli.stream_through import print_whole
from lattice_agent.facts.host import collect_host_facts
from lattice_agent.facts.inventory.collector import InventoryCollector
from lattice_agent.facts.inventory.families import inventory_families
from lattice_agent.facts.look import Look
from lattice_agent.wire.base import WireModel
from lattice_agent.wire.host_inventory import HostInventory

PROGRAM: Final = "lattice-agent facts"
HOST_FACTS: Final = "host_facts"
FLAGS: Final = (
    Flag("json", FlagKind.BOOL, "Print JSON, as it is sent."),
    Flag("table", FlagKind.BOOL, "Print tables for people, which is the default."),
    Flag("family", FlagKind.STRINGS, "Only this family, such as host_facts, cpu or disks; may be repeated."),
    Flag("root", FlagKind.STRING, "Directory of a recorded host to read instead of this machine.", "/"),
)


def run(words: Sequence[str], environ: Mapping[str, str]) -> int:
    """Exit 0; families that could not be read are listed as gaps. Raises FlagError (exit 2) for a wrong call."""
    known = {flag.name: flag for flag in FLAGS}
    try:
        parsed = parse(known, words)
    except HelpRequested:
        sys.stderr.write(usage(PROGRAM, known))
        return os.EX_OK
    root = given_root(parsed)
    if parsed.rest or (parsed.values.get("json") and parsed.values.get("table")):
        raise FlagError("it prints either JSON or tables, and takes no words", hint=f"it is {PROGRAM} [--json|--table]")
    container = environ.get("container", "")  # the name that container managers set
    wanted = _wanted(parsed)
    told = collect(root, wanted, container)
    print_whole(_json(told) if parsed.values.get("json") else "\n".join(_tables(told)))
    return os.EX_OK


def given_root(parsed: Parsed) -> Path:
    """``--root`` as a path that exists. Raises FlagError."""
    root = Path(str(parsed.values.get("root", "/")))
    if not root.is_dir():
        raise FlagError(f"--root {str(root)!r} is no directory", hint="name the directory that holds proc/ and sys/")
    return root


def _wanted(parsed: Parsed) -> frozenset[str]:
    families = (HOST_FACTS, *inventory_families())
    given = parsed.values.get("family", ())
    wanted = frozenset(given if isinstance(given, tuple) else ())
    for family in sorted(wanted - set(families)):
        raise FlagError(f"there is no family {family!r}", hint=f"the families are {', '.join(families)}")
    return wanted or frozenset(families)


def collect(root: Path, wanted: frozenset[str], container_variable: str) -> dict[str, Any]:
    """The wanted families by name: models, tuples of models, and ``gaps``."""
    now = datetime.now(UTC)
    told: dict[str, Any] = {}
    if HOST_FACTS in wanted:
        told[HOST_FACTS] = collect_host_facts(Look(root), now, container_variable)
    all_families = inventory_families(container_variable=container_variable)
    families = {name: family for name, family in all_families.items() if name in wanted}
    inventory = InventoryCollector(families, root).collect(now) if families else HostInventory()
    return told | {name: getattr(inventory, name) for name in (*families, "gaps")}


def _json(told: Mapping[str, Any]) -> str:
    import json

    sent = {
        name: [item.model_dump(mode="json") for item in found] if isinstance(found, tuple) else _dumped(found)
        for name, found in told.items()
    }
    return json.dumps(sent, indent=2, ensure_ascii=False)


def _dumped(found: WireModel | None) -> dict[str, Any] | None:
    return None if found is None else found.model_dump(mode="json")


def _tables(told: Mapping[str, Any]) -> Iterator[str]:
    for family, found in told.items():
        lines = table_lines(found) if isinstance(found, tuple) else group_lines(found) if found else ()
        shown = list(lines)
        if shown:
            yield from (family, *shown, "")
