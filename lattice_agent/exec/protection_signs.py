"""How the absence of each protection shows: functions of what a probe has seen. Pure.

Each returns the empty text if the protection was seen in force, and else what was seen instead. What is not there to be
seen counts as absent: a file that could not be read inside, a script that has not said everything.
"""

from collections.abc import Callable, Iterable
from typing import Final

from lattice_agent.exec.plan import Level
from lattice_agent.exec.probe_seen import Seen, number_in

REFUSED: Final = frozenset({"EPERM", "EACCES", "ENOSYS"})
NOT_OFFERED: Final = frozenset({"EAFNOSUPPORT", "EPROTONOSUPPORT", "ESOCKTNOSUPPORT"})
"""By a kernel that does not have such sockets."""
NOBODY_THERE: Final = "ECONNREFUSED"
LOCKED_SECUREBITS: Final = 0b1110_1011
"""NOROOT and NO_CAP_AMBIENT_RAISE, with every lock: prctl(2), linux/securebits.h."""
TMP: Final = "/tmp"  # noqa: S108 - inside a cell
_CELL_PROCESSES: Final = 2
_SESSION_FIELDS: Final = 5
_MOST_NAMED: Final = 5
_BY_CALLS_ELSEWHERE: Final = ("listener", "abstract", "memfd_create")


# --- namespaces ---


def namespace(name: str) -> Callable[[Seen], str]:
    """A sign for one of the links in /proc/self/ns."""

    def sign(seen: Seen) -> str:
        inside = seen.namespaces.get(name)
        if inside is None:
            return f"/proc/self/ns/{name} could not be read inside"
        return f"the {name} namespace is the host's" if inside == seen.outside.namespaces.get(name) else ""

    return sign


def pid_namespace(seen: Seen) -> str:
    """Its own, and the script's parent is the init of it."""
    parent = seen.status.get("PPid", "unknown")
    return namespace("pid")(seen) or ("" if parent == "1" else f"the script's parent has process id {parent}")


def mount_namespace(seen: Seen) -> str:
    """Its own, and nothing propagates; making it has not changed the host's."""
    propagating = [mount.point for mount in seen.mounts.values() if mount.propagates]
    return _first(
        namespace("mnt")(seen),
        f"mounts propagate: {_some(propagating)}" if propagating else "",
        seen.host_changed,
    )


def network_namespace(seen: Seen) -> str:
    """Its own, with a loopback interface that works, small buffers and nothing else."""
    names = [line.partition(":")[0].strip() for line in seen.facts.all("interface") if ":" in line]
    buffers = {key: seen.facts.one(key) for key in ("tcp_rmem", "tcp_wmem")}
    large = [f"{key} is {value or 'unknown'}" for key, value in buffers.items() if value != seen.expected.tcp_buffers]
    return _first(
        namespace("net")(seen),
        "" if names == ["lo"] else f"interfaces inside: {_some(names) or 'none could be read'}",
        "" if seen.facts.one("loopback") == "up" else "the loopback interface is down",
        *large,
    )


def uts_namespace(seen: Seen) -> str:
    """Its own, with a name of its own."""
    name = seen.facts.one("hostname")
    return namespace("uts")(seen) or (
        "" if name == seen.expected.hostname else f"the host's name is seen: {name or 'unknown'}"
    )


def user_namespace(seen: Seen) -> str:
    """Its own, where the agent is not root."""
    return "" if seen.outside.uid == 0 or seen.own_user_namespace else "the user namespace is the host's"


# --- files ---


def minimal_root(seen: Seen) -> str:
    """Nothing in /, /etc and /dev but what the template puts there, and what the profile names."""
    granted = (*seen.profile.read_only, *seen.profile.writable)
    root = set(seen.facts.all("root")) - {"/.[!.]*"}  # the pattern itself, when nothing has such a name
    etc, devices = set(seen.facts.all("etc")), set(seen.facts.all("dev"))
    strange = [
        *sorted(root - seen.expected.root - {"/" + path.split("/")[1] for path in granted}),
        *sorted(f"/etc/{name}" for name in etc - seen.expected.etc),
        *sorted(f"/dev/{name}" for name in devices - seen.expected.devices),
    ]
    strange = [path for path in strange if not any(_below(path, place) or _below(place, path) for place in granted)]
    if "/usr" not in root or "null" not in devices:
        return "the directories inside could not be listed"
    return f"of the host are seen: {_some(strange)}" if strange else ""


def read_only(seen: Seen) -> str:
    """Every mount but the script's own tmpfs and what the profile names; none with set-user-id programs."""
    writable = (TMP, *seen.profile.writable)
    others = [m for m in seen.mounts.values() if not any(_below(m.point, place) for place in writable)]
    if "/" not in seen.mounts:
        return "mounts could not be read inside"
    open_ = [mount.point for mount in others if "ro" not in mount.options]
    privileged = [mount.point for mount in seen.mounts.values() if "nosuid" not in mount.options]
    return _first(
        f"writable: {_some(open_)}" if open_ else "",
        f"set-user-id programs work on {_some(privileged)}" if privileged else "",
    )


def own_proc(seen: Seen) -> str:
    """A read-only proc of the cell's own, without other users' processes and the files about the kernel."""
    proc = seen.mounts.get("/proc")
    if proc is None or proc.kind != "proc":
        return "no proc of its own is mounted"
    processes = seen.facts.all("process")
    uncovered = seen.facts.all("uncovered")
    return _first(
        "" if proc.of_filesystem.get("hidepid") in ("invisible", "2") else "/proc is mounted without hidepid",
        "" if "ro" in proc.options else "/proc is writable",
        f"not covered: {_some(uncovered)}" if uncovered else "",
        f"{len(processes)} processes are seen" if len(processes) > _CELL_PROCESSES else "",
    )


def private_locks(seen: Seen) -> str:
    """Overlays of the cell's own instead of the host's inodes."""
    shared = [point for point in ("/", "/usr") if point in seen.mounts and seen.mounts[point].kind != "overlay"]
    return f"no overlay of its own on {', '.join(shared)}" if shared else ""


def work_limits(seen: Seen) -> str:
    """A tmpfs with bounds on bytes and inodes."""
    work = seen.mounts.get(TMP)
    if work is None or work.kind != "tmpfs":
        return f"{TMP} is not a tmpfs of its own"
    size, inodes = _bytes(work.of_filesystem.get("size", "")), work.of_filesystem.get("nr_inodes", "")
    if not 0 < size <= seen.profile.work_bytes:
        return f"the size of {TMP} is {work.of_filesystem.get('size', 'not limited')}"
    most = number_in(inodes)
    return (
        ""
        if most is not None and 0 < most <= seen.profile.work_inodes
        else f"the inodes of {TMP} are {inodes or 'not limited'}"
    )


def own_place(seen: Seen) -> str:
    """The work directory, and a umask that keeps what a script makes to itself."""
    directory, mask = seen.facts.one("directory"), seen.facts.one("umask")
    return _first(
        "" if directory and seen.directory in ("", directory) else f"the script is in {directory or 'no directory'}",
        "" if number_in(mask, 8) == seen.expected.umask else f"umask {mask or 'unknown'}",
    )


def landlock_files(seen: Seen) -> str:
    """What file permissions would allow, and the rules do not: writing to /dev/zero, at level landlock listing /."""
    if not seen.outside.landlock_abi:
        return "this kernel offers no Landlock"
    if seen.level is Level.LANDLOCK and "/usr" in seen.facts.all("root"):
        return "/ can be listed, which the rules do not allow"
    return _can(seen, "write /dev/zero") and "/dev/zero can be written to, which the rules do not allow"


def name_resolution(seen: Seen) -> str:
    """The host's resolv.conf as it is now."""
    inside = "\n".join(seen.facts.all("resolver")).strip()
    return "" if inside == seen.outside.resolver.strip() else "/etc/resolv.conf inside is not the host's"


# --- who the script is ---


def unprivileged_ids(seen: Seen) -> str:
    """Neither root nor, where the agent is root, anything of the agent's."""
    uids, gids = seen.status.get("Uid", "").split(), seen.status.get("Gid", "").split()
    if not uids or not gids:
        return "/proc/self/status could not be read inside"
    bad = "0" in (*uids, *gids) or len(set(uids)) > 1 or len(set(gids)) > 1
    return f"the script runs as uid {uids[0]}, gid {gids[0]}" if bad else ""


def unique_uid(seen: Seen) -> str:
    """One that nobody else has: of the host's, which root can give, or of a range of the agent's user."""
    if seen.outside.uid != 0:
        given = "" if seen.given_uid else f"scripts have the agent's uid {seen.outside.uid}"
        return given or unprivileged_ids(seen)
    return "the uid is not one of the host's" if seen.own_user_namespace else unprivileged_ids(seen)


def no_groups(seen: Seen) -> str:
    """No supplementary group but the script's own."""
    if "Groups" not in seen.status:
        return "/proc/self/status could not be read inside"
    kept = set(seen.status["Groups"].split()) - set(seen.status.get("Gid", "").split())
    names = map(str, seen.outside.groups or sorted(kept))
    return f"scripts keep the supplementary groups {', '.join(names)}" if kept else ""


def no_capabilities(seen: Seen) -> str:
    """Every set is empty. Without privileges the bounding set cannot be emptied; it gives nothing any more."""
    sets = ["CapInh", "CapPrm", "CapEff", "CapAmb"]
    if seen.level is not Level.LANDLOCK or seen.outside.uid == 0:
        sets.append("CapBnd")
    held = [name for name in sets if number_in(seen.status.get(name, ""), 16) != 0]
    return f"not empty: {', '.join(held)}" if held else ""


def no_new_privileges(seen: Seen) -> str:
    """The flag of that name."""
    return "" if seen.status.get("NoNewPrivs") == "1" else "no_new_privs is not set"


def securebits(seen: Seen) -> str:
    """Locked, where there was the privilege to."""
    if seen.level is Level.LANDLOCK and seen.outside.uid != 0:
        return ""
    bits = "" if seen.calls is None else seen.calls.one("securebits")
    locked = (number_in(bits) or 0) & LOCKED_SECUREBITS == LOCKED_SECUREBITS
    return "" if locked else f"securebits are {bits or 'unknown'}"


def own_session(seen: Seen) -> str:
    """That of the cell's init, without a terminal: proc_pid_stat(5)."""
    fields = seen.facts.one("stat").rpartition(")")[2].split()
    if len(fields) < _SESSION_FIELDS:
        return "/proc/self/stat could not be read inside"
    _state, parent, _group, session, terminal = fields[:_SESSION_FIELDS]
    return _first(
        "" if session == parent else f"the session is {session}, not that of the init ({parent})",
        "" if terminal == "0" else "a script has a controlling terminal",
    )


def session_keyring(seen: Seen) -> str:
    """One that was not there before. A kernel without keyrings has no /proc/keys."""
    lines = [line.split() for line in seen.facts.all("key")]
    serials = {words[0] for words in lines if "_ses:" in words}
    own = serials - seen.outside.session_keyrings or "keys" not in seen.facts
    return "" if own else "the session keyring is the agent's"


def descriptors(seen: Seen) -> str:
    """/dev/null, two pipes and nothing else."""
    found = seen.facts.all("descriptor")
    return "" if found == ["0 null", "1 pipe", "2 pipe"] else f"open: {', '.join(found) or 'unknown'}"


# --- what it can reach ---


def system_calls(seen: Seen) -> str:
    """A filter of the cell's own: the agent may be under one itself, in a container. Before Linux 5.9 not counted."""
    filters = number_in(seen.status.get("Seccomp_filters", ""))
    own = not seen.outside.seccomp_filters if filters is None else filters > seen.outside.seccomp_filters
    if seen.status.get("Seccomp") != "2":
        return "no seccomp filter is in force"
    return "" if own else "no seccomp filter but the agent's own is in force"


def refused_calls(seen: Seen) -> str:
    """Each dangerous call that was tried."""
    tried = {name: answer for name, answer in seen.tried.items() if not name.startswith(("socket-", "typing"))}
    passed = [name for name in tried if name not in _BY_CALLS_ELSEWHERE and tried[name] not in REFUSED]
    return ("" if tried else "nothing could be tried") or (f"not refused: {_some(passed)}" if passed else "")


def typing(seen: Seen) -> str:
    """The ioctl that puts characters into the input of a terminal."""
    answer = seen.tried.get("typing", "unknown")
    return "" if answer in REFUSED else f"the ioctl TIOCSTI answers {answer}"


def sockets(seen: Seen) -> str:
    """No kinds but unix, and IPv4 and IPv6 where the level has a network."""
    fine = {"socket-inet"} if seen.level is not Level.LANDLOCK or seen.profile.network else set()
    made = [
        name.removeprefix("socket-")
        for name, answer in seen.tried.items()
        if name.startswith("socket-") and name not in fine and answer not in REFUSED | NOT_OFFERED
    ]
    return f"sockets can be made: {_some(made)}" if made else ""


def host_services(seen: Seen) -> str:
    """A TCP service of the host on 127.0.0.1."""
    answer = seen.tried.get("listener", "unknown")
    return "" if answer in REFUSED | {NOBODY_THERE} else f"connecting to a service of the host: {answer}"


def abstract_sockets(seen: Seen) -> str:
    """A unix socket of the host without a path."""
    answer = seen.tried.get("abstract", "unknown")
    return "" if answer in REFUSED | {NOBODY_THERE} else f"connecting to an abstract socket of the host: {answer}"


def landlock_domains(seen: Seen) -> str:
    """The script's, and at level landlock that of its init around it: counted by how many more can be entered."""
    left = None if seen.calls is None else number_in(seen.calls.one("landlock_layers"))
    wanted = 2 if seen.level is Level.LANDLOCK else 1
    if seen.outside.landlock_layers < 0:
        return ""  # nothing to compare with; that there is one, ``landlock_files`` has seen
    if left is None:
        return "the domains could not be counted"
    nested = seen.outside.landlock_layers - left
    return "" if nested >= wanted else f"the script is in {nested} domains, not {wanted}"


def signals(seen: Seen) -> str:
    """The cell's own init."""
    return _can(seen, "signal the init") and "a script can signal the init of its cell"


def agent(seen: Seen) -> str:
    """The agent's process: its environment, and signals to it."""
    return _can(seen, "signal the agent") or _can(seen, "read the environment of the agent")


def orphans(seen: Seen) -> str:
    """They become children of the cell's init, which ends them."""
    parent = seen.facts.one("orphan")
    return "" if parent and parent == seen.status.get("PPid") else f"an orphan's parent is {parent or 'unknown'}"


# --- how much it can use ---


def static_limits(seen: Seen) -> str:
    """Those that no task changes."""
    for name, highest in seen.expected.limits.items():
        soft = seen.soft_limit(name)
        if soft is None or soft > highest:
            return f"{name.lower()}: {'no limit' if soft is None else soft}, not {highest}"
    return ""


def processes(seen: Seen) -> str:
    """RLIMIT_NPROC."""
    soft = seen.soft_limit("Max processes")
    return "" if soft is not None and soft <= seen.limits.processes else "the number of processes is not limited"


def memory(seen: Seen) -> str:
    """A script that used more than it may was killed."""
    return seen.memory


def hidden_memory(seen: Seen) -> str:
    """Memory that a watcher does not see cannot be had."""
    answer = seen.tried.get("memfd_create", "unknown")
    return "" if "memory" in seen.controllers or answer in REFUSED else f"memfd_create answers {answer}"


def killed_first(seen: Seen) -> str:
    """By the kernel, when the host runs out of memory."""
    score = seen.facts.one("oom_score_adj")
    return "" if score == "1000" else f"oom_score_adj is {score or 'unknown'}"


def _can(seen: Seen, what: str) -> str:
    return next((f"a script can {deed}" for deed in seen.facts.all("can") if deed.startswith(what)), "")


def _below(path: str, place: str) -> bool:
    return path == place or path.startswith(place.rstrip("/") + "/")


def _first(*problems: str) -> str:
    return next(filter(None, problems), "")


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    more = len(listed) - _MOST_NAMED
    return ", ".join(listed[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _bytes(size: str) -> int:
    """The size of a tmpfs as mountinfo has it: in kibibytes, with a k."""
    return (number_in(size.removesuffix("k")) or 0) * (1024 if size.endswith("k") else 1)
