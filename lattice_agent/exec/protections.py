"""What protects a host from a script: one table, and for each protection how its absence shows inside a cell. Pure.

``judge`` looks at the facts that a probe's scripts printed (``probe_script``), beside what is true outside. A
protection is in force if it was seen; what cannot be seen is not taken for granted. The table says at which levels a
protection is part of what the level promises: without it the level is not reached. Elsewhere its absence is told.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from lattice_agent.exec.plan import Level, Limits, Profile
from lattice_agent.exec.probe_script import Facts

STRICT, NETWORK, LANDLOCK = Level.STRICT, Level.NETWORK, Level.LANDLOCK
NAMESPACED: Final = frozenset({STRICT, NETWORK})
EVERYWHERE: Final = frozenset({STRICT, NETWORK, LANDLOCK})
NOWHERE: Final[frozenset[Level]] = frozenset()
SHARED_UID, KEPT_GROUPS = "shared-host-uid", "kept-supplementary-groups"
"""Features that say what is missing."""
SCOPING_ABI: Final = 6
"""Landlock keeps signals and abstract sockets inside from here on."""
_NAMESPACE: Final = re.compile(r"\b(\w+):\[(\d+)\]")
_REFUSED: Final = ("EPERM", "EACCES", "ENOSYS")
_NOT_THERE: Final = ("EAFNOSUPPORT", "EPROTONOSUPPORT", "ESOCKTNOSUPPORT")
_DEVICE_MODE: Final = re.compile(r"/dev/\w+")


@dataclass(frozen=True)
class Outside:
    """What is true of the process that asks, to compare with. Defaults are what cannot be found out."""

    uid: int
    groups: tuple[int, ...] = ()
    """Supplementary ones, other than its own group."""
    namespaces: Mapping[str, str] = field(default_factory=dict)
    """Name in /proc/self/ns to inode number."""
    seccomp_filters: int = 0
    session_keyring: int = 0
    """Serial number; 0: there is none."""
    resolver: str = ""
    """Content of /etc/resolv.conf."""
    landlock_abi: int = 0
    landlock_layers: int = -1
    """How many more domains it could enter; -1: not counted."""


@dataclass(frozen=True)
class Expected:
    """What the steps promise, in their own numbers."""

    limits: Mapping[str, int]
    """Line of /proc/self/limits to the highest soft limit."""
    tcp_buffers: str
    roots: frozenset[str]
    """Names that may be in /."""
    etc: frozenset[str]
    """Names that may be in /etc."""
    devices: frozenset[str]


@dataclass(frozen=True)
class Seen:
    """One level, probed."""

    profile: Profile
    directory: str
    limits: Limits
    outside: Outside
    expected: Expected
    facts: Facts
    """Of the shell."""
    calls: Facts | None = None
    """Of python3; None: it was not asked, or is not there."""
    memory: str = ""
    """Why the memory limit is not known to hold; empty: a script that used more was killed."""
    host_changed: str = ""
    """What of the host's own mounts is other than before."""

    @property
    def level(self) -> Level:
        """The level that was probed."""
        return self.profile.level

    @property
    def status(self) -> Mapping[str, str]:
        """/proc/self/status of the script."""
        return self.facts.named("status")

    @property
    def namespaces(self) -> Mapping[str, str]:
        """Name to inode number."""
        return dict(_NAMESPACE.findall(self.facts.one("namespaces")))

    @property
    def user_namespace(self) -> bool:
        """Whether the cell has a user namespace of its own."""
        inside = self.namespaces.get("user")
        return inside is not None and inside != self.outside.namespaces.get("user")


@dataclass(frozen=True)
class Protection:
    """One row of the table."""

    name: str
    required: frozenset[Level]
    """Levels that are not reached without it."""
    look: Callable[[Seen], str]
    """Empty if it was seen in force, else what was seen instead."""
    consequence: str
    """Of its absence."""
    fix: str = ""
    feature: str | Callable[[Seen], str] = ""
    """What ``agent_runtime`` calls it."""
    instead: str = ""
    """Feature that tells of its absence."""
    told: frozenset[Level] = NOWHERE
    """Levels at which its absence is told although the level is reached."""
    by_calls: bool = False
    """Only python3 can see it."""

    @property
    def levels(self) -> frozenset[Level]:
        """Where it is looked for."""
        return self.required | self.told


@dataclass(frozen=True)
class Lack:
    """A protection that was not seen in force."""

    protection: Protection
    seen: str
    required: bool


@dataclass(frozen=True)
class Verdict:
    """What a probe of one level comes to."""

    verified: tuple[str, ...]
    """Names of protections, in the order of the table."""
    lacks: tuple[Lack, ...]
    features: tuple[str, ...]
    """As ``agent_runtime`` names them."""


def judge(seen: Seen) -> Verdict:
    """Every protection that concerns this level, looked for in what was seen."""
    verified, lacks, features = [], [], []
    for protection in PROTECTIONS:
        if seen.level not in protection.levels or (protection.by_calls and seen.calls is None):
            continue
        instead = protection.look(seen)
        if instead:
            lacks.append(Lack(protection, instead, seen.level in protection.required))
            features.append(protection.instead)
        else:
            verified.append(protection.name)
            features.append(protection.feature if isinstance(protection.feature, str) else protection.feature(seen))
    return Verdict(tuple(verified), tuple(lacks), tuple(feature for feature in features if feature))


# --- how each shows ---


def _namespace(name: str) -> Callable[[Seen], str]:
    def look(seen: Seen) -> str:
        inside, outside = seen.namespaces.get(name), seen.outside.namespaces.get(name)
        if inside is None:
            return "/proc/self/ns could not be read inside"
        return f"the {name} namespace is the host's" if inside == outside else ""

    return look


def _pid(seen: Seen) -> str:
    return _namespace("pid")(seen) or _first(
        ("" if seen.status.get("PPid") == "1" else f"the script's parent has process id {seen.status.get('PPid')}"),
    )


def _mount(seen: Seen) -> str:
    shared = [line for line in seen.facts.all("mount") if " shared:" in line or " master:" in line]
    return _namespace("mnt")(seen) or (f"mounts propagate: {_point(shared[0])}" if shared else "")


def _net(seen: Seen) -> str:
    lines = seen.facts.all("interface")[2:]
    names = [line.partition(":")[0].strip() for line in lines]
    return _first(
        _namespace("net")(seen),
        "" if names == ["lo"] else f"interfaces inside: {', '.join(names) or 'none could be read'}",
        "" if seen.facts.one("loopback") == "up" else "the loopback interface is down",
        *(
            f"{key} is {seen.facts.one(key) or 'unknown'}, not {seen.expected.tcp_buffers}"
            for key in ("tcp_rmem", "tcp_wmem")
            if seen.facts.one(key) != seen.expected.tcp_buffers
        ),
    )


def _uts(seen: Seen) -> str:
    name = seen.facts.one("hostname")
    return _namespace("uts")(seen) or ("" if name == "cell" else f"the host's name is seen: {name}")


def _user(seen: Seen) -> str:
    return "" if seen.user_namespace or seen.outside.uid == 0 else "the user namespace is the host's"


def _root(seen: Seen) -> str:
    above = {"/" + path.split("/")[1] for path in (*seen.profile.read_only, *seen.profile.writable)}
    patterns = {"/*", "/.[!.]*"}  # a pattern that nothing matched stays as it is
    names = set(seen.facts.all("root"))
    strange = sorted(names - seen.expected.roots - above - {"/.[!.]*"})
    etc = {path.removeprefix("/etc/") for path in seen.facts.all("etc")}
    strange += [f"/etc/{name}" for name in sorted(etc - seen.expected.etc)] if "/etc" not in above else []
    if not names - patterns:
        return "/ could not be listed inside"
    return f"of the host are seen: {_some(strange)}" if strange else ""


def _read_only(seen: Seen) -> str:
    """Every mount but the script's own tmpfs and what policy names."""
    writable = ("/tmp", *seen.profile.writable)  # noqa: S108 - inside the cell
    points = {_point(line): _options(line) for line in seen.facts.all("mount")}
    if "/" not in points:
        return "mounts could not be read inside"
    own = {"": "rw"} | {point: options for point, options in points.items() if point.startswith(writable)}
    open_ = [point for point, options in points.items() if point not in own and "ro" not in options]
    suid = [point for point, options in points.items() if "nosuid" not in options]
    return _first(
        f"writable: {_some(open_)}" if open_ else "",
        f"set-user-id programs work on: {_some(suid)}" if suid else "",
    )


def _proc(seen: Seen) -> str:
    mounts = {_point(line): line for line in seen.facts.all("mount")}
    own = mounts.get("/proc", "")
    kind, _, options = own.partition(" - ")[2].partition(" ")
    pids = [path for path in seen.facts.all("process") if path != "/proc/[0-9]*"]
    uncovered = seen.facts.all("uncovered")
    return _first(
        "" if kind == "proc" and kind and own.split()[3] == "/" else "no proc of its own is mounted",
        "" if "hidepid=invisible" in options or "hidepid=2" in options else "mounted without hidepid",
        "" if "ro" in _options(own) else "/proc is writable",
        f"not covered: {_some(uncovered)}" if uncovered else "",
        f"{len(pids)} processes are seen" if len(pids) > 1 else "",
    )


def _locks(seen: Seen) -> str:
    kinds = {_point(line): line.partition(" - ")[2].split(" ")[0] for line in seen.facts.all("mount")}
    shared = [point for point in ("/", "/usr") if kinds.get(point, "overlay") != "overlay"]
    return f"no overlay of its own on {', '.join(shared)}" if shared else ""


def _work(seen: Seen) -> str:
    line = next((line for line in seen.facts.all("mount") if _point(line) == "/tmp"), "")  # noqa: S108 - inside
    options = dict(option.partition("=")[::2] for option in line.rpartition(" ")[2].split(","))
    if " - tmpfs " not in line or seen.profile.work_disk is not None:
        return "the work directory is not on a tmpfs of its own"
    size, inodes = _bytes(options.get("size", "")), options.get("nr_inodes", "")
    if not 0 < size <= seen.profile.work_bytes:
        return f"its size is {options.get('size', 'not limited')}"
    return "" if inodes.isdigit() and int(inodes) <= seen.profile.work_inodes else "its inodes are not limited"


def _ids(seen: Seen) -> str:
    ids = {*seen.status.get("Uid", "").split(), *seen.status.get("Gid", "").split()}
    if not ids:
        return "/proc/self/status could not be read inside"
    own = str(seen.outside.uid)
    if "0" in ids or (len(ids) > 1 and len(set(seen.status["Uid"].split())) > 1):
        return f"the script runs as uid {seen.status['Uid']}, gid {seen.status.get('Gid')}"
    return f"the script has the agent's uid {own}" if seen.outside.uid == 0 and own in ids else ""


def _unique(seen: Seen) -> str:
    if seen.outside.uid != 0:
        return f"scripts have uid {seen.outside.uid} of the agent's user" + (
            ", under another name" if seen.user_namespace else ""
        )
    return "" if not seen.user_namespace and not _ids(seen) else "the uid is not one of the host that nobody else has"


def _groups(seen: Seen) -> str:
    if "Groups" not in seen.status:
        return "/proc/self/status could not be read inside"
    groups = set(seen.status["Groups"].split()) - set(seen.status.get("Gid", "").split())
    if not groups:
        return ""
    names = ", ".join(map(str, seen.outside.groups)) or ", ".join(sorted(groups))
    return f"scripts keep the supplementary groups {names}"


def _capabilities(seen: Seen) -> str:
    sets = ["CapInh", "CapPrm", "CapEff", "CapAmb"]
    if seen.level is not LANDLOCK or seen.outside.uid == 0:
        sets.append("CapBnd")  # an unprivileged process cannot empty this one; it gives nothing under no_new_privs
    held = [name for name in sets if int(seen.status.get(name, "1"), 16)]
    return f"not empty: {', '.join(held)}" if held else ""


def _new_privileges(seen: Seen) -> str:
    return "" if seen.status.get("NoNewPrivs") == "1" else "no_new_privs is not set"


def _seccomp(seen: Seen) -> str:
    if seen.status.get("Seccomp") != "2":
        return "no seccomp filter is in force"
    # The agent may live under one itself, in a container; kernels before 5.9 do not count them.
    filters = seen.status.get("Seccomp_filters")
    own = int(filters) > seen.outside.seccomp_filters if filters else not seen.outside.seccomp_filters
    return "" if own else "no seccomp filter but the agent's own is in force"


def _landlock(seen: Seen) -> str:
    listed = seen.level is LANDLOCK and "/usr" in seen.facts.all("root")
    return _first(
        *(f"a script can {what}, which Landlock should refuse" for what in seen.facts.all("can") if "/dev/" in what),
        "/ can be listed, which Landlock should refuse" if listed else "",
        "" if seen.outside.landlock_abi else "this kernel offers no Landlock",
    )


def _reach(seen: Seen) -> str:
    reached = [what for what in seen.facts.all("can") if "signal" in what or "read" in what]
    return f"a script can {reached[0]}" if reached else ""


def _session(seen: Seen) -> str:
    fields = seen.facts.one("stat").rpartition(")")[2].split()
    if len(fields) < 5:  # noqa: PLR2004 - state, parent, group, session, terminal
        return "/proc/self/stat could not be read inside"
    parent, session, terminal = fields[1], fields[3], fields[4]
    return _first(
        "" if session == parent else f"the session is {session}, not the init's ({parent})",
        "" if terminal == "0" else "a script has a controlling terminal",
    )


def _keyring(seen: Seen) -> str:
    serials = {int(line.split()[0], 16) for line in seen.facts.all("key") if line.strip()}
    return "a script possesses the agent's session keyring" if seen.outside.session_keyring in serials else ""


def _rlimits(seen: Seen) -> str:
    for line, highest in seen.expected.limits.items():
        soft = _soft_limit(seen, line)
        if soft is None or soft > highest:
            return f"{line.lower()} is {'unknown' if soft is None else soft}, not {highest}"
    return ""


def _processes(seen: Seen) -> str:
    soft = _soft_limit(seen, "Max processes")
    return "" if soft is not None and soft <= seen.limits.processes else "the number of processes is not limited"


def _soft_limit(seen: Seen, name: str) -> int | None:
    for line in seen.facts.all("limit"):
        if line.startswith(name + " "):
            value = line[len(name) :].split()[0]
            return int(value) if value.isdigit() else None
    return None


def _memory(seen: Seen) -> str:
    return seen.memory


def _oom(seen: Seen) -> str:
    score = seen.facts.one("oom_score_adj")
    return "" if score == "1000" else f"oom_score_adj is {score or 'unknown'}"


def _descriptors(seen: Seen) -> str:
    found = seen.facts.all("descriptor")
    return "" if found == ["0 null", "1 pipe", "2 pipe"] else f"open: {', '.join(found) or 'unknown'}"


def _place(seen: Seen) -> str:
    directory, mask = seen.facts.one("directory"), seen.facts.one("umask")
    return _first(
        "" if seen.directory in ("", directory) else f"the script is in {directory or 'an unknown directory'}",
        "" if int(mask or "0", 8) == 0o077 else f"umask {mask or 'unknown'}",
    )


def _resolver(seen: Seen) -> str:
    inside = "\n".join(seen.facts.all("resolver")).strip()
    return "" if inside == seen.outside.resolver.strip() else "/etc/resolv.conf is not as outside"


def _orphans(seen: Seen) -> str:
    parent = seen.facts.one("orphan")
    return "" if parent and parent == seen.status.get("PPid") else f"an orphan's parent is {parent or 'unknown'}"


def _outside(seen: Seen) -> str:
    return seen.host_changed


def _tried(seen: Seen) -> Mapping[str, str]:
    return seen.calls.named("tried") if seen.calls is not None else {}


def _calls(seen: Seen) -> str:
    passed = [name for name, answer in _tried(seen).items() if _is_call(name) and answer not in _REFUSED]
    return f"not refused: {_some(passed)}" if passed else ("" if _tried(seen) else "nothing could be tried")


def _is_call(name: str) -> bool:
    return not name.startswith("socket-") and name not in ("listener", "abstract", "memfd_create")


def _sockets(seen: Seen) -> str:
    inet = seen.level is not LANDLOCK or seen.profile.network
    kinds = {name: answer for name, answer in _tried(seen).items() if name.startswith("socket-")}
    passed = [
        name.removeprefix("socket-")
        for name, answer in kinds.items()
        if answer not in (*_REFUSED, *_NOT_THERE) and not (name == "socket-inet" and inet)
    ]
    return f"sockets of other kinds can be made: {_some(passed)}" if passed else ""


def _loopback(seen: Seen) -> str:
    answer = _tried(seen).get("listener", "unknown")
    return "" if answer in (*_REFUSED, "ECONNREFUSED") else f"a service of the host on 127.0.0.1 answers ({answer})"


def _abstract(seen: Seen) -> str:
    answer = _tried(seen).get("abstract", "unknown")
    return "" if answer in (*_REFUSED, "ECONNREFUSED") else f"a socket of the host's in the abstract space: {answer}"


def _hidden_memory(seen: Seen) -> str:
    refused = _tried(seen).get("memfd_create") in _REFUSED
    return "" if refused else "memfd_create is allowed, and only a watcher limits memory"


def _securebits(seen: Seen) -> str:
    if seen.level is LANDLOCK and seen.outside.uid != 0:
        return ""  # nothing to lock: there were no capabilities
    bits = seen.calls.one("securebits") if seen.calls is not None else ""
    return "" if bits.isdigit() and int(bits) & _LOCKED == _LOCKED else f"securebits are {bits or 'unknown'}"


_LOCKED: Final = 0b1110_1011
"""NOROOT and NO_CAP_AMBIENT_RAISE, with every lock: prctl(2), linux/securebits.h."""


def _domains(seen: Seen) -> str:
    left = seen.calls.one("landlock_layers") if seen.calls is not None else ""
    wanted = 2 if seen.level is LANDLOCK else 1
    if not left.isdigit() or seen.outside.landlock_layers < 0:
        return ""  # nothing to compare with
    nested = seen.outside.landlock_layers - int(left)
    return "" if nested >= wanted else f"the script is in {nested} Landlock domains, not in {wanted}"


def _first(*problems: str) -> str:
    return next(filter(None, problems), "")


def _some(names: list[str]) -> str:
    most = 5
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _point(line: str) -> str:
    """Mount point of a line of mountinfo."""
    fields = line.split(" ")
    return fields[4] if len(fields) > 4 else ""  # noqa: PLR2004 - proc(5)


def _options(line: str) -> list[str]:
    fields = line.split(" ")
    return fields[5].split(",") if len(fields) > 5 else []  # noqa: PLR2004 - proc(5)


def _bytes(size: str) -> int:
    """The size of a tmpfs as mountinfo has it: in kibibytes, with a k."""
    number = size.removesuffix("k")
    return int(number) * (1024 if size.endswith("k") else 1) if number.isdigit() else 0
