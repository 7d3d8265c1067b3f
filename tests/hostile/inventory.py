"""What a world has, seen from outside of it: read before an attack and after, so that whatever stays has a name.

Cells that only wait come and go with the demand. They are left out: their processes, their namespaces, and the
descriptors that agent and spawner hold for them.
"""

import os
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path

from lattice_agent.exec.cells import KEPT
from tests.hostile.cell_rig import Agent, eventually
from tests.hostile.world import PLACES, QUEUES, Process

KINDS = ("mnt", "pid", "net", "ipc", "uts", "cgroup", "user", "time")
AGENT_HOLDS, SPAWNER_HOLDS = 6, 1 + KEPT
"""Descriptors of a cell that waits: those in docs/sandbox.md; its pidfd and what the spawner keeps."""
NAMES_OF_KEYS = ("lattice-test", "hostile")
"""Keys of these names are the corpus's."""
TIME_WAIT = b"06"
SYSTEM_V = ("shm", "sem", "msg")
SETTINGS = (
    "kernel/core_pattern", "kernel/modprobe", "kernel/randomize_va_space", "kernel/panic_on_oops", "kernel/sysrq",
    "kernel/yama/ptrace_scope", "kernel/unprivileged_bpf_disabled", "vm/overcommit_memory", "vm/swappiness",
    "fs/suid_dumpable", "fs/protected_symlinks", "net/ipv4/ip_forward",
)  # fmt: skip


@dataclass(frozen=True)
class Inventory:
    """Two that are equal: nothing was left, and nothing of the host, the agent or the spawner was changed."""

    processes: tuple[str, ...]
    zombies: int
    mounts: tuple[str, ...]
    namespaces: dict[str, int]
    """Of each kind: those that processes are in, and those that are held by a descriptor."""
    descriptors: dict[str, int]
    sockets: dict[str, int]
    """Of the world's network; unix's are those with a name."""
    interfaces: tuple[str, ...]
    files: tuple[str, ...]
    """In every place where anybody may write, and message queues."""
    objects: dict[str, int]
    """System V's."""
    keys: frozenset[str]
    locks: int
    """By flock(2) and fcntl(2) of processes of the world. Locks of open files go with these."""
    groups: tuple[str, ...]
    settings: dict[str, str]
    standing: dict[str, str]
    """Limits, priority, processors and tracer of agent and spawner."""

    def differences(self, later: "Inventory") -> list[str]:
        """Names of what is not in ``later`` as it is here."""
        names = [field.name for field in fields(self) if field.name != "keys"]
        new_keys = ["keys"] if later.keys - self.keys else []  # those that were there before go when their time is over
        return [name for name in names if getattr(self, name) != getattr(later, name)] + new_keys

    def describe(self, later: "Inventory") -> str:
        """The same for people."""
        named = ((name, getattr(self, name), getattr(later, name)) for name in self.differences(later))
        return "; ".join(f"{name}: {was} is now {present}" for name, was, present in named)


def settled_inventory(agent: Agent) -> Inventory:
    """One that is the same twice, when no cell is being built and no script runs."""
    found: list[Inventory] = []

    def settled() -> bool:
        found.append(take_inventory(agent))
        return not found[-1].processes and found[-2:-1] == found[-1:]

    eventually(settled, True)
    return found[-1]


def take_inventory(agent: Agent) -> Inventory:
    """Of the agent's world, and of what worlds share."""
    world = agent.world
    proc = world.path("/proc")
    present = world.processes()
    spawner = agent.spawner_among(present)
    waiting = waiting_cells(present, spawner)
    cells = len({process.pid_namespace for process in waiting})
    entries = [entry for entry in proc.iterdir() if entry.name.isdigit()]
    watched = {"agent": proc / str(agent.pid), "spawner": proc / str(spawner)}
    held = {"agent": AGENT_HOLDS * cells, "spawner": SPAWNER_HOLDS * cells}
    system_v, keys = objects(agent)
    return Inventory(
        processes=tuple(sorted(left_by_scripts(agent, present))),
        zombies=sum(b"State:\tZ" in read(entry / "status") for entry in entries),
        mounts=tuple(line.split(b" - ")[0].split()[4].decode() for line in read(proc / "1/mountinfo").splitlines()),
        namespaces=namespaces(entries, {str(process.pid) for process in waiting}),
        descriptors={who: len(list_of(entry / "fd")) - held[who] for who, entry in watched.items()},
        sockets={name: len(named(proc / "1/net" / name)) for name in ("unix", "tcp", "udp", "raw", "packet")},
        interfaces=tuple(line.split(b":")[0].strip().decode() for line in read(proc / "1/net/dev").splitlines()[2:]),
        files=tuple(files(world.path(place)) for place in (*PLACES, QUEUES)),
        objects=system_v,
        keys=keys,
        locks=sum(b"OFDLCK" not in line for line in read(proc / "locks").splitlines()),
        groups=tuple(sorted(path.name for path in Path("/sys/fs/cgroup").rglob("cells-*"))),
        settings={name: read(Path("/proc/sys") / name).decode().strip() for name in SETTINGS},
        standing={who: standing(entry) for who, entry in watched.items()},
    )


# --- processes ---


def waiting_cells(present: list[Process], spawner: int) -> list[Process]:
    """Init and launcher of each cell that waits for a script: complete pairs, below the spawner."""
    pairs: dict[str, list[Process]] = {}
    for process in present:
        if process.arguments.startswith("lattice-cell ") and process.pid_namespace:
            pairs.setdefault(process.pid_namespace, []).append(process)
    return [
        process
        for pair in pairs.values()
        if len(pair) == 2 and spawner in {process.parent for process in pair}
        for process in pair
    ]


def left_by_scripts(agent: Agent, present: list[Process] | None = None) -> list[str]:
    """Processes of the world that are neither the spawner nor a cell that waits, nor put there from outside."""
    everything = agent.world.processes() if present is None else present
    spawner = agent.spawner_among(everything)
    waiting = {process.pid for process in waiting_cells(everything, spawner)}
    return [
        f"{process.pid} {process.name} {process.arguments}"
        for process in everything
        if process.parent and process.pid != spawner and process.pid not in waiting
    ]


def namespaces(entries: list[Path], waiting: set[str]) -> dict[str, int]:
    """How many of each kind there are, but for those that only waiting cells are in."""
    lived_in: set[str] = set()
    waited_in: set[str] = set()
    held: set[str] = set()
    for entry in entries:
        (waited_in if entry.name in waiting else lived_in).update(map(target_of, list_of(entry / "ns")))
        held.update(map(target_of, list_of(entry / "fd")))
    # The spawner holds the mount namespace of every cell, and for each profile those that its cells begin in.
    found = lived_in | {target for target in held if target not in waited_in or not target.startswith("mnt:")}
    counted = Counter(target.split(":")[0] for target in found if re.fullmatch(r"\w+:\[\d+\]", target))
    return {kind: counted[kind] for kind in KINDS}


def standing(entry: Path) -> str:
    """What others could have changed of a process."""
    status = read(entry / "status").decode().splitlines()
    wanted = ("TracerPid", "Uid", "Gid", "NoNewPrivs", "Seccomp", "Cpus_allowed", "CapEff", "CapBnd")
    told = [line for line in status if line.split(":")[0] in wanted]
    fields = read(entry / "stat").decode().rpartition(")")[2].split()
    nice = f"nice {fields[16]}"  # the priority besides it the spawner changes by itself
    return "\n".join([*told, nice, *read(entry / "oom_score_adj").decode().split(), read(entry / "limits").decode()])


# --- everything else ---


def named(table: Path) -> list[bytes]:
    """Lines of a table in /proc/net: of unix sockets those that have a name, of others those that are not closed."""
    lines = read(table).splitlines()[1:]
    if table.name == "unix":
        return [line for line in lines if len(line.split()) > 7]
    return [line for line in lines if line.split()[3] != TIME_WAIT]


def files(place: Path) -> str:
    """Names in a directory and in those that anybody may look into below it."""
    names: list[str] = []
    for directory, below, here in os.walk(place):
        inside = os.path.relpath(directory, place)
        names += [f"{inside}/{name}" for name in (*below, *here)]
        below[:] = [name for name in below if not os.path.ismount(os.path.join(directory, name))]
    return " ".join(sorted(names))


def objects(agent: Agent) -> tuple[dict[str, int], frozenset[str]]:
    """How many of System V's there are, and the names of those keys of the corpus that the agent's user may see.

    Asked by a process in the world: these files tell who reads them of its own namespace and its own keys.
    """
    files = [*(f"/proc/sysvipc/{name}" for name in SYSTEM_V), "/proc/keys"]
    with agent.world.start(["grep", "-H", "", *files], uid=agent.uid, stdout=subprocess.PIPE) as process:
        lines = process.communicate()[0].decode().splitlines()
    counted = Counter(line.split(":")[0].rpartition("/")[2] for line in lines)
    keys = [line for line in lines if line.startswith("/proc/keys:") and any(name in line for name in NAMES_OF_KEYS)]
    return {name: counted[name] - 1 for name in SYSTEM_V}, frozenset(line.split()[-2] for line in keys)


def memory_kib(pid: int) -> dict[str, int]:
    """Memory that is not a file's (smaps_rollup in proc(5)). Files are left to ``mapped_files``: a process's share of
    those that others have mapped as well grows with the end of the others."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    told = {line.split(":")[0]: line.split()[1] for line in lines if line.endswith(" kB")}
    return {name: int(told[name]) for name in ("Anonymous", "Pss_Shmem")}


def mapped_files(pid: int) -> Counter[str]:
    """How often each file is mapped."""
    lines = [line.split(maxsplit=5) for line in Path(f"/proc/{pid}/maps").read_text().splitlines()]
    return Counter(line[5] for line in lines if len(line) > 5 and line[5].startswith("/"))


def read(path: Path) -> bytes:
    """A file of /proc; nothing if its process is gone or the kernel does not have it."""
    with suppress(OSError):
        return path.read_bytes()
    return b""


def list_of(directory: Path) -> list[Path]:
    with suppress(OSError):
        return list(directory.iterdir())
    return []


def target_of(link: Path) -> str:
    with suppress(OSError):
        return os.readlink(link)
    return ""


def descriptors(entry: Path) -> Iterator[str]:
    """What each descriptor of a process leads to, without numbers."""
    return (re.sub(r"\d+", "N", target_of(link)) for link in list_of(entry / "fd"))


def assert_nothing_left(agent: Agent) -> None:
    """No process, file or object of a script is left in the world."""
    eventually(lambda: left_by_scripts(agent), [])
    assert [entry for entry in os.listdir(agent.world.path("/tmp")) if entry.startswith("lattice-")] == []
