"""How one cell is confined: a table of steps, carried out one after the other by the process that makes the cell.

The maker confines itself (``cell``) and is then replaced by native/cell, which forks the launcher; what the two do not
share (ids, the Landlock domain, capabilities) is prepared here and taken by the launcher itself, before it waits.
``lattice-agent exec --explain`` prints this table; each step says why it is there.

Why this order. Files of the host are read before they go out of sight. The place is made while there are privileges to
make it with. Then the privileges go: ids first, then all capabilities but those that native/cell needs for its last
steps, then the securebits, after which none can come back. no_new_privs comes before Landlock and seccomp, which the
unprivileged may not use without it; seccomp is last, because it forbids most of what comes before.
"""

from __future__ import annotations

import errno
import os
import resource
import signal
import socket

from lattice_agent.exec import blueprint, template
from lattice_agent.exec.blueprint import Build
from lattice_agent.exec.kernel import (
    descriptors,
    landlock,
    loopback,
    mounts,
    namespaces,
    privileges,
    rlimits,
    seccomp,
)
from lattice_agent.exec.step import Step

MASKED = ("kallsyms", "kcore", "keys", "sched_debug")
"""Files of /proc about the host's kernel, covered by /dev/null. File permissions protect others as well as ever."""
INIT_CAPABILITIES = (privileges.CAP_KILL, privileges.CAP_SETGID, privileges.CAP_SETUID, privileges.CAP_SETPCAP)
"""What native/cell keeps until it has forked: to give the launcher its ids, and to empty the bounding set. Afterwards
the init has CAP_KILL alone."""
WRITABLE_DEVICES = ("null", "full")
"""Not zero: a shared writable mapping of it is memory that no process's size shows."""
LANDLOCK_ETC_FILES = ("passwd", "group", "hosts", "resolv.conf")
"""Readable at level landlock, where the host's own are in place of generated ones."""
STATIC_LIMITS = (
    ("core", resource.RLIMIT_CORE, 0),
    ("nofile", resource.RLIMIT_NOFILE, blueprint.FILES_MOST),
    ("stack", resource.RLIMIT_STACK, blueprint.STACK_BYTES),
    ("memlock", resource.RLIMIT_MEMLOCK, 0),
    ("msgqueue", resource.RLIMIT_MSGQUEUE, 0),
    ("sigpending", resource.RLIMIT_SIGPENDING, blueprint.SIGNALS_MOST),
    ("nice", resource.RLIMIT_NICE, 0),
    ("rtprio", resource.RLIMIT_RTPRIO, 0),
)
"""Limits that no task changes; those of the task are lowered by the launcher when it comes (native/cell.c)."""
RESOLVER_MOST = 65536
NO_OVERLAY = (errno.ENODEV, errno.EPERM, errno.EINVAL)
"""A kernel without overlayfs, or one that has no use for it in a user namespace: cells then share inodes, and the probe
does not report private file locks."""
TCP_BUFFERS = "4096 65536 131072"
"""Bytes of a connection's buffer inside a cell: least, at first, most. No process's size shows them."""
UMASK = 0o077
DIRECTORY_MODE = 0o700
SCRIPT_MODE = 0o600


# --- the place ---


def _oom_score(_build: Build) -> None:
    _write("/proc/self/oom_score_adj", "1000")


def _take_work_disk(build: Build) -> None:
    build.work_disk = mounts.detach(os.fsdecode(build.directory))


def _attach_work_disk(build: Build) -> None:
    os.mkdir(blueprint.WORK, DIRECTORY_MODE)
    mounts.attach(build.work_disk, blueprint.WORK)
    os.close(build.work_disk)
    mounts.restrict(blueprint.WORK, read_only=False)


def _enter_template(build: Build) -> None:
    namespaces.enter(build.mount_namespace, namespaces.NEWNS)
    os.close(build.mount_namespace)


def _namespaces(build: Build) -> None:
    namespaces.unshare(_namespace_flags(build))


def _namespace_flags(build: Build) -> int:
    flags = namespaces.NEWNS | namespaces.NEWIPC | namespaces.NEWUTS | namespaces.NEWCGROUP
    return flags if build.blueprint.network else flags | namespaces.NEWNET


def _root(build: Build) -> None:
    """The collected root as this cell's own: overlays without an upper layer, whose inodes no other cell sees."""
    _overlay(template.LOWER, template.MOUNT, mounts.NOSUID)
    for path in template.overlay_places():
        _overlay(template.SOURCES + path, template.MOUNT + path, mounts.NOSUID | mounts.NODEV)
    for path in template.bound_places(build.blueprint, user_namespace=_mapped(build)):
        mounts.bind(template.SOURCES + path, template.MOUNT + path, recursive=True)
    mounts.pivot(template.MOUNT)
    for path in build.familiar:
        os.path.exists(path)  # an overlay looks every file up anew: these now, and not when a task waits


def _overlay(lower: str, target: str, flags: int) -> None:
    """``lower`` at ``target`` with inodes of its own; where the kernel cannot do that, with the same."""
    try:
        mounts.mount("overlay", target, flags | mounts.RDONLY, f"lowerdir={lower}:{template.EMPTY}")
    except OSError as error:
        if error.errno not in NO_OVERLAY:
            raise
        mounts.bind(lower, target)
        mounts.seal(target)


def _map_ids(build: Build) -> None:
    ids = (build.identity.uid, build.identity.gid)
    namespaces.map_single_ids(
        ids, ids, template.SOURCES + "/proc"
    )  # the template's namespace maps them on to the agent's


def _proc(build: Build) -> None:
    mounts.mount("proc", "/proc", mounts.NOSUID | mounts.NODEV | mounts.NOEXEC, "hidepid=2")
    build.proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _seal_proc(_build: Build) -> None:
    for name in MASKED:
        try:
            mounts.bind("/dev/null", f"/proc/{name}")
        except FileNotFoundError:
            continue
    mounts.seal("/proc")


def _work_tmpfs(build: Build) -> None:
    plan, ids = build.blueprint, build.identity
    options = f"size={plan.work_bytes},nr_inodes={plan.work_inodes},mode=700,uid={ids.uid},gid={ids.gid}"
    mounts.mount("tmpfs", blueprint.TMP, mounts.NOSUID | mounts.NODEV, options)
    build.tmpfs = os.open(blueprint.TMP, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _work_directory(build: Build) -> None:
    path = build.work_directory
    if _own_tmpfs(build):
        os.mkdir(path, DIRECTORY_MODE)
    work = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    os.fchown(work, build.identity.uid, build.identity.gid)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    build.script = os.open(blueprint.SCRIPT, flags, SCRIPT_MODE, dir_fd=work)
    os.close(work)
    os.fchown(build.script, build.identity.uid, build.identity.gid)


def _read_resolver(build: Build) -> None:
    build.resolver = _read("/etc/resolv.conf")


def _resolver(build: Build) -> None:
    """The present file, wherever its link points: the template may be older than it."""
    copy = f"{blueprint.TMP}/.resolv.conf"
    fd = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444)
    try:
        os.fchmod(fd, 0o444)
        os.write(fd, build.resolver)
    finally:
        os.close(fd)
    mounts.bind(copy, "/etc/resolv.conf")
    mounts.restrict("/etc/resolv.conf")


def _held_namespace(build: Build) -> None:
    """Its end is the dear part of a cell's end; the spawner's descriptor takes it out of the init's way."""
    build.held = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)


def _hostname(build: Build) -> None:
    socket.sethostname(build.hostname)


def _loopback(_build: Build) -> None:
    loopback.bring_up()
    for name in ("tcp_rmem", "tcp_wmem"):
        _write(f"/proc/sys/net/ipv4/{name}", TCP_BUFFERS)


def _channels(build: Build) -> None:
    """Pipes that belong to the script's uid, so that it can open /dev/stdout and /dev/stderr by name."""
    agent_end, launcher_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    build.control = (agent_end.detach(), launcher_end.detach())
    build.status = os.pipe2(os.O_CLOEXEC)
    build.stdout = os.pipe2(os.O_CLOEXEC)
    build.stderr = os.pipe2(os.O_CLOEXEC)
    for pair in (build.stdout, build.stderr):
        os.fchown(pair[1], build.identity.uid, build.identity.gid)


def _subreaper(_build: Build) -> None:
    privileges.become_subreaper()


def _reaper_domain(_build: Build) -> None:
    landlock.scope_signals()


# --- confinement ---


def _session(_build: Build) -> None:
    os.setsid()


def _keyring(_build: Build) -> None:
    privileges.leave_session_keyring()


def _static_limits(_build: Build) -> None:
    for _name, number, value in STATIC_LIMITS:
        rlimits.apply(number, value, value)


def _directory(build: Build) -> None:
    os.chdir(build.work_directory)
    os.umask(UMASK)


def _landlock(build: Build) -> None:
    plan = build.blueprint
    rules = landlock.Ruleset(deny_tcp=not plan.namespaces and not plan.network, scope_abstract=True, scope_signals=True)
    for path, rights in landlock_rules(build):
        try:
            fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        rules.allow(fd, rights)
        os.close(fd)
    build.ruleset = rules.fd


def landlock_rules(build: Build) -> list[tuple[str, int]]:
    """What a script may do with files: path inside and rights. Everything else is refused."""
    plan = build.blueprint
    if plan.namespaces:
        read = ["/"]
        write = [blueprint.TMP]
    else:
        read = [*template.SYSTEM_DIRECTORIES, "/proc", *(f"/dev/{name}" for name in template.DEVICES)]
        read += [f"/etc/{name}" for name in (*template.ETC_FILES, *template.ETC_DIRECTORIES, *LANDLOCK_ETC_FILES)]
        read += [os.fsdecode(path) for path in plan.read_only]
        write = [build.work_directory]
    write += [os.fsdecode(path) for path in plan.writable]
    return [
        *((path, landlock.READ_EXECUTE) for path in read),
        *((path, landlock.READ_EXECUTE | landlock.WRITE) for path in write),
        *((f"/dev/{name}", landlock.READ_ONLY | landlock.WRITE_FILE) for name in WRITABLE_DEVICES),
    ]


def _bounding_set(build: Build) -> None:
    build.empty_bounding_set = 1


def _groups(_build: Build) -> None:
    privileges.drop_groups()


def _identity(build: Build) -> None:
    ids = build.identity
    if build.root_ids:
        privileges.become(ids.init_uid, ids.gid)
        build.script_ids = (ids.uid, ids.gid)


def _securebits(_build: Build) -> None:
    privileges.lock_securebits()


def _capabilities(build: Build) -> None:
    if build.root_ids:
        privileges.keep_only(INIT_CAPABILITIES)
    else:
        privileges.keep_only((privileges.CAP_SETPCAP,) if _mapped(build) else ())
    build.clear_capabilities = 1


def _no_new_privileges(_build: Build) -> None:
    privileges.no_new_privileges()


def _end_with_spawner(build: Build) -> None:
    privileges.die_with_parent(signal.SIGKILL if build.blueprint.namespaces else signal.SIGUSR2)


def _waiting_descriptors(build: Build) -> None:
    null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    ruleset = build.ruleset if build.ruleset >= 0 else null
    descriptors.place((null, build.stdout[1], build.stderr[1], build.control[1], build.status[1], ruleset))


def _seccomp(build: Build) -> None:
    seccomp.install(build.filter_program)


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def _read(path: str) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return b""
    try:
        return os.read(fd, RESOLVER_MOST)
    finally:
        os.close(fd)


# --- the table ---


def _everywhere(_build: Build) -> bool:
    return True


def _namespaced(build: Build) -> bool:
    return build.blueprint.namespaces


def _on_host_tree(build: Build) -> bool:
    return not build.blueprint.namespaces


def _own_network(build: Build) -> bool:
    return build.blueprint.namespaces and not build.blueprint.network


def _host_network(build: Build) -> bool:
    return build.blueprint.namespaces and build.blueprint.network


def _mapped(build: Build) -> bool:
    return build.user_namespace >= 0


def _privileged(build: Build) -> bool:
    return build.root_ids or build.user_namespace >= 0


def _own_tmpfs(build: Build) -> bool:
    """Whether the work directory is on the cell's tmpfs."""
    return not build.directory


def _on_disk(build: Build) -> bool:
    return build.blueprint.namespaces and bool(build.directory)


CELL_STEPS = (
    Step(
        "resolver-file",
        _read_resolver,
        "the host's resolv.conf is read",
        "it may have changed since the template was made",
        _host_network,
    ),
    Step(
        "work-disk",
        _take_work_disk,
        lambda build: f"the mount of {os.fsdecode(build.directory)} is taken along",
        "policy wants the work directory on disk; it goes out of sight with the host's tree",
        _on_disk,
    ),
    Step(
        "template",
        _enter_template,
        "into the template's mount namespace",
        "its read-only root was made once for all cells of the profile",
        lambda build: build.blueprint.namespaces and not _mapped(build),
    ),
    Step(
        "namespaces",
        _namespaces,
        lambda build: "own namespaces: " + ", ".join(namespace_names(build)),
        "the host's processes, mounts, interfaces, ipc objects and names are out of reach",
        _namespaced,
    ),
    Step(
        "ids",
        _map_ids,
        lambda build: f"uid and gid {build.identity.uid} stand for the agent's",
        "an unprivileged agent has one id to give, and it is not called 0",
        _mapped,
    ),
    Step(
        "root",
        _root,
        "the template's root through overlays of the cell's own, read-only, and pivot_root into it",
        "locks on programs and devices that all cells see would be a channel between cells",
        _namespaced,
    ),
    Step(
        "proc",
        _proc,
        "/proc of the own pid namespace, hidepid=2",
        "a script sees its own processes only",
        _namespaced,
    ),
    Step(
        "held-namespace",
        _held_namespace,
        "a descriptor on the mount namespace, for the spawner",
        "an outcome does not wait until the mounts are taken down",
        _namespaced,
    ),
    Step(
        "oom-score",
        _oom_score,
        "oom_score_adj 1000",
        "when the host runs out of memory, a script goes before anything else",
    ),
    Step(
        "work-tmpfs",
        _work_tmpfs,
        lambda build: (
            f"a tmpfs on {blueprint.TMP}: {build.blueprint.work_bytes} bytes, {build.blueprint.work_inodes} inodes, "
            "nosuid, nodev"
        ),
        "what a script writes is bounded, and is gone with the cell",
        _namespaced,
    ),
    Step(
        "work-disk-mount",
        _attach_work_disk,
        f"it becomes {blueprint.WORK}, nosuid, nodev",
        "files there are bounded one by one only, and removed by the agent",
        _on_disk,
    ),
    Step(
        "work-directory",
        _work_directory,
        lambda build: (
            f"work directory {build.work_directory} (0700), in it an empty file {blueprint.SCRIPT}, held open"
        ),
        "the text of the script is written through the descriptor when the task comes",
    ),
    Step(
        "resolver",
        _resolver,
        "/etc/resolv.conf as it was just read",
        "names resolve wherever the host's file really is",
        _host_network,
    ),
    Step(
        "hostname",
        _hostname,
        lambda build: f"hostname {build.hostname}",
        "the host's name stays outside",
        _namespaced,
    ),
    Step(
        "loopback",
        _loopback,
        f"loopback up, no other interface; TCP buffers of {TCP_BUFFERS} bytes",
        "programs that talk to themselves over 127.0.0.1 work, and cannot hide memory in sockets",
        _own_network,
    ),
    Step(
        "proc-sealed",
        _seal_proc,
        "/proc read-only; covered in it: " + " ".join(MASKED),
        "no setting of the kernel can be changed, and less about it can be read",
        _namespaced,
    ),
    Step(
        "channels",
        _channels,
        "pipes for output, owned by the script's uid; a socket for the task; a pipe for the status",
        "all that connects a cell with the outside; /dev/stdout can be opened by its name",
    ),
    Step("no-new-privs", _no_new_privileges, "no_new_privs", "set-user-id programs run as the script"),
    Step(
        "subreaper",
        _subreaper,
        "child subreaper",
        "orphans of the script stay below its init",
        _on_host_tree,
    ),
    Step(
        "reaper-domain",
        _reaper_domain,
        "the init enters a Landlock domain in which signals stay",
        "its kill(-1) reaches this cell and nothing else",
        _on_host_tree,
    ),
    Step("session", _session, "a session of its own", "no controlling terminal"),
    Step("keyring", _keyring, "an empty session keyring", "the agent's keys stay outside"),
    Step(
        "limits",
        _static_limits,
        "limits: "
        + ", ".join(f"{name} {value}" for name, _number, value in STATIC_LIMITS)
        + "; the task's own (cpu, address space, data, file size, processes) when it comes",
        "no single process uses up the host",
    ),
    Step(
        "directory",
        _directory,
        lambda build: f"directory {build.work_directory}, umask {UMASK:03o}",
        "a script's files are its own from the start",
    ),
    Step(
        "landlock",
        _landlock,
        lambda build: (
            f"Landlock ABI {landlock.abi()}: "
            + "; ".join(f"{path} {landlock.describe(rights)}" for path, rights in landlock_rules(build))
            + "; abstract sockets and signals stay inside; the launcher enters before it waits"
        ),
        "a second wall around files, held up by other code of the kernel than the first",
    ),
    Step("groups", _groups, "no supplementary groups", "the agent's groups open files", lambda build: build.root_ids),
    Step(
        "identity",
        _identity,
        lambda build: (
            f"init becomes uid {build.identity.init_uid}, the launcher uid {build.identity.uid}, "
            f"gid {build.identity.gid}"
        ),
        "no other process of the host has these ids, and the script has not its init's",
        lambda build: build.root_ids,
    ),
    Step(
        "capabilities",
        _capabilities,
        lambda build: (
            "no capabilities in any set of the launcher"
            + ("; of the init only CAP_KILL, once it has forked" if build.root_ids else " or the init")
        ),
        "what root may is given up bit by bit",
    ),
    Step(
        "bounding-set",
        _bounding_set,
        "empty capability bounding set",
        "no file gives a capability",
        _privileged,
    ),
    Step(
        "securebits",
        _securebits,
        "securebits: uid 0 means nothing, no ambient capabilities, locked",
        "no way back to capabilities",
        _privileged,
    ),
    Step(
        "end-with-spawner",
        _end_with_spawner,
        "the init ends when the spawner ends",
        "no cell outlives the one who would clean it up",
    ),
    Step(
        "descriptors",
        _waiting_descriptors,
        "open: 0 /dev/null, 1 and 2 the pipes, 3 the task's socket until exec; all others closed on exec",
        "nothing else is inherited",
    ),
    Step(
        "seccomp",
        _seccomp,
        lambda build: f"seccomp: an allowlist of {len(build.filter_program) // 8} instructions",
        "most of the kernel is out of reach; last, as it would forbid the steps above",
    ),
)
"""In the order of execution."""
ON_HOST = ("resolver-file", "work-disk")
"""Steps that need the host's tree: before the template is entered, whichever way that goes."""


def steps_for(build: Build) -> tuple[Step, ...]:
    """The steps of this kind of cell."""
    return tuple(step for step in CELL_STEPS if step.applies(build))


def namespace_names(build: Build) -> list[str]:
    """In the words of namespaces(7)."""
    names = ["pid", "mount", "ipc", "uts", "cgroup"]
    if not build.blueprint.network:
        names.append("net")
    if build.user_namespace >= 0:
        names.append("user")
    return names
