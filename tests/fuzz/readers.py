"""Which modules read what others control: every one is tried by a target, or stands here with the reason why not.

A module reads if a function of it is called so: parse, read, decode, validate, interpret, examine, verify, feed,
classify, normalise, judge. ``python -m tests.fuzz.readers`` writes the tables of docs/fuzzing.md anew.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.fuzz.rooms import all_targets

_ROOT: Final = Path(__file__).parents[2]
_VERBS: Final = "parse|parsed|read|decode|validate|interpret|examine|verify|feed|classify|normalise|judge"
_READS: Final = re.compile(rf"^ *(async )?def _*({_VERBS})(_\w*)?\(", re.MULTILINE)
NOT_TRIED: Final = {
    "lattice_agent.cli.doctor": "prints what `sandbox.probe` tries",
    "lattice_agent.cli.policy": "prints what `settings.policy` tries",
    "lattice_agent.cli.usage": "prints what the targets of usage try",
    "lattice_agent.exec.cell_processes": "reads bytes of /proc and understands none; `sandbox.named` has who does",
    "lattice_agent.exec.cell_steps": "copies the host's resolver settings, and understands nothing of them",
    "lattice_agent.exec.filter_source": "reads our own seccomp program",
    "lattice_agent.exec.id_mapping": "reads the bytes that `sandbox.id_range` tries",
    "lattice_agent.exec.kernel.cgroup": "reads the kernel's own numbers of a group that nobody else may write",
    "lattice_agent.exec.kernel.cgroup_tree": "reads text of cgroupfs and understands nothing of it",
    "lattice_agent.exec.outcome": "judges values of ours: a wait status and clocks",
    "lattice_agent.exec.probe": "runs the scripts whose output `sandbox.probe` tries",
    "lattice_agent.exec.template": "copies files of the host, and understands nothing of them",
    "lattice_agent.facts.deadline": "runs the readers of facts within a time",
    "lattice_agent.facts.disk": "asks statvfs(3), which answers with numbers",
    "lattice_agent.facts.interfaces": "asks getifaddrs(3); `facts.text` tries how its rows are read",
    "lattice_agent.report.usage_readings": "asks the sources that the targets of usage try",
    "lattice_agent.usage.stats_api": "joins what `usage.grpc_connection` and `usage.query_answer` try",
    "server_stub.api.plane": "runs a function over the database",
    "server_stub.dashboard.static": "reads our own files",
    "server_stub.store.base": "runs a function over the database",
    "server_stub.store.sqlite.store": "runs a function over the database, which only the server writes",
}


def readers() -> dict[str, str]:
    """Each module that reads, and the targets that try it; empty for those of NOT_TRIED."""
    tried: dict[str, list[str]] = {}
    for target in all_targets():
        for module in target.reads:
            tried.setdefault(module, []).append(target.name)
    found = {module: ", ".join(names) for module, names in tried.items()}
    return dict(sorted({**dict.fromkeys(_modules_that_read(), ""), **found}.items()))


def _modules_that_read() -> set[str]:
    found = set()
    for package in ("lattice_agent", "server_stub"):
        for path in (_ROOT / package).rglob("*.py"):
            if _READS.search(path.read_text("utf-8")):
                found.add(".".join(path.relative_to(_ROOT).with_suffix("").parts).removesuffix(".__init__"))
    return found


def page(text: str) -> str:
    """The page with its tables as they are now. ``text`` has a line for each that begins and one that ends it."""
    for name, rows in (("targets", _targets()), ("not tried", _not_tried())):
        begin, end = f"<!-- {name}: -->\n", f"<!-- :{name} -->"
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(end)
        text = "\n".join((before + begin, *rows, "", end)) + after
    return text


def _targets() -> Iterator[str]:
    yield "| target | reads | must hold, beside that nothing but its own errors comes out |"
    yield "| --- | --- | --- |"
    for target in all_targets():
        yield f"| {target.name} | {', '.join(map(_short, target.reads))} | {target.oracle} |"


def _not_tried() -> Iterator[str]:
    yield "| module | why no target tries it |"
    yield "| --- | --- |"
    for module, reason in NOT_TRIED.items():
        yield f"| {_short(module)} | {reason} |"


def _short(module: str) -> str:
    """Without the package where that is the agent."""
    return f"`{module.removeprefix('lattice_agent.')}`"


PAGE: Final = _ROOT / "docs" / "fuzzing.md"

if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text("utf-8")), "utf-8")
