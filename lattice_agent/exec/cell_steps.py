"""How one cell is confined: a table of steps, carried out one after the other by the process that makes the cell.

Here the steps are written down as system calls; native/maker.c makes them (``kernel.recipe``), so that a cell does not
cost a fork of this interpreter. The maker confines itself (``cell``) and is then replaced by native/cell, which forks
the launcher; what the two do not share (ids, the Landlock domain, capabilities) is prepared here and taken by the
launcher itself, before it waits.
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
    files,
    landlock,
    libc,
    loopback,
    mounts,
    namespaces,
    privileges,
    rlimits,
    seccomp,
)
from lattice_agent.exec.kernel.recipe import ANY_ERROR, Recipe
from lattice_agent.exec.step import Step, carry_out

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
RESOLVER_MOST = 16384
"""Bytes of resolv.conf; a recipe has to hold them. No resolver looks at more than three servers."""
RESOLVER_MODE = 0o444
NO_OVERLAY = (errno.ENODEV, errno.EPERM, errno.EINVAL)
"""A kernel without overlayfs, or one that has no use for it in a user namespace: cells then share inodes, and the probe
does not report private file locks."""
TCP_BUFFERS = "4096 65536 131072"
"""Bytes of a connection's buffer inside a cell: least, at first, most. No process's size shows them."""
UMASK = 0o077
DIRECTORY_MODE = 0o700
SCRIPT_MODE = 0o600


# --- the place ---


def _oom_score(build: Build) -> None:
    files.write("/proc/self/oom_score_adj", "1000", build.recipe.call)


def _take_work_disk(build: Build) -> None:
    if build.in_user_namespace:  # only in a mount namespace of its own user namespace may it copy a mount
        namespaces.unshare(namespaces.NEWNS, build.recipe.call)
    build.work_disk = mounts.detach(os.fsdecode(build.directory), build.recipe.call)


def _attach_work_disk(build: Build) -> None:
    call = build.recipe.call
    call("mkdirat", files.AT_FDCWD, os.fsencode(blueprint.WORK), DIRECTORY_MODE)
    mounts.attach(build.work_disk, blueprint.WORK, call)
    call("close", build.work_disk)
    mounts.restrict(blueprint.WORK, read_only=False, call=call)


def _enter_template(build: Build) -> None:
    namespaces.enter(build.mount_namespace, namespaces.NEWNS, build.recipe.call)


def _namespaces(build: Build) -> None:
    namespaces.unshare(_namespace_flags(build), build.recipe.call)


def _namespace_flags(build: Build) -> int:
    flags = namespaces.NEWNS | namespaces.NEWIPC | namespaces.NEWUTS | namespaces.NEWCGROUP
    return flags if build.blueprint.network else flags | namespaces.NEWNET


def _root(build: Build) -> None:
    """The collected root as this cell's own: overlays without an upper layer, whose inodes no other cell sees."""
    recipe = build.recipe
    _overlay(recipe, template.LOWER, template.MOUNT, mounts.NOSUID)
    for path in build.system_directories:
        _overlay(recipe, template.SOURCES + path, template.MOUNT + path, mounts.NOSUID | mounts.NODEV)
    for path in template.bound_places(build.blueprint, user_namespace=build.in_user_namespace):
        mounts.bind(template.SOURCES + path, template.MOUNT + path, recursive=True, call=recipe.call)
    mounts.pivot(template.MOUNT, recipe.call)
    for path in build.familiar:  # an overlay looks every file up anew: these now, and not when a task waits
        recipe.call("faccessat", files.AT_FDCWD, os.fsencode(path), os.F_OK, tolerate=(ANY_ERROR,))


def _overlay(recipe: Recipe, lower: str, target: str, flags: int) -> None:
    """``lower`` at ``target`` with inodes of its own; where the kernel cannot do that, with the same."""
    options = f"lowerdir={lower}:{template.EMPTY}".encode()
    words = (b"overlay", os.fsencode(target), b"overlay", flags | mounts.RDONLY, options)
    recipe.attempt("mount", *words, tolerate=NO_OVERLAY, skip_on_success=2)  # the two below
    mounts.bind(lower, target, call=recipe.call)
    mounts.seal(target, recipe.call)


def _map_ids(build: Build) -> None:
    ids = (build.identity.uid, build.identity.gid)
    # The template's namespace maps them on to the agent's.
    namespaces.map_single_ids(ids, ids, template.SOURCES + "/proc", build.recipe.call)


def _proc(build: Build) -> None:
    mounts.mount("proc", "/proc", mounts.NOSUID | mounts.NODEV | mounts.NOEXEC, "hidepid=2", build.recipe.call)
    build.proc = files.open_directory("/proc", build.recipe.call)


def _seal_proc(build: Build) -> None:
    for name in MASKED:
        covered = os.fsencode(f"/proc/{name}")
        build.recipe.call("mount", b"/dev/null", covered, None, mounts.BIND, None, tolerate=(errno.ENOENT,))
    mounts.seal("/proc", build.recipe.call)


def _work_tmpfs(build: Build) -> None:
    plan, ids = build.blueprint, build.identity
    options = f"size={plan.work_bytes},nr_inodes={plan.work_inodes},mode=700,uid={ids.uid},gid={ids.gid}"
    mounts.mount("tmpfs", blueprint.TMP, mounts.NOSUID | mounts.NODEV, options, build.recipe.call)
    build.tmpfs = files.open_directory(blueprint.TMP, build.recipe.call)


def _work_directory(build: Build) -> None:
    call, path, ids = build.recipe.call, os.fsencode(build.work_directory), (build.identity.uid, build.identity.gid)
    if _own_tmpfs(build):
        call("mkdirat", files.AT_FDCWD, path, DIRECTORY_MODE)
    work = files.open_directory(build.work_directory, call)
    call("fchown", work, *ids)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    build.script = call("openat", work, blueprint.SCRIPT.encode(), flags, SCRIPT_MODE)
    call("close", work)
    call("fchown", build.script, *ids)


def _read_resolver(build: Build) -> None:
    """Now, while the recipe is written: the spawner's tree is the host's."""
    build.resolver = _read("/etc/resolv.conf")


def _resolver(build: Build) -> None:
    """The present file, wherever its link points: the template may be older than it."""
    call, copy = build.recipe.call, f"{blueprint.TMP}/.resolv.conf"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    fd = call("openat", files.AT_FDCWD, copy.encode(), flags, RESOLVER_MODE)
    call("fchmod", fd, RESOLVER_MODE)
    call("write", fd, build.resolver, len(build.resolver))
    call("close", fd)
    mounts.bind(copy, "/etc/resolv.conf", call=call)
    mounts.restrict("/etc/resolv.conf", call=call)


def _held_namespace(build: Build) -> None:
    """Its end is the dear part of a cell's end; the spawner's descriptor takes it out of the init's way."""
    flags = os.O_RDONLY | os.O_CLOEXEC
    build.held = build.recipe.call("openat", files.AT_FDCWD, b"/proc/self/ns/mnt", flags, 0)


def _hostname(build: Build) -> None:
    name = build.hostname.encode()
    build.recipe.call("sethostname", name, len(name))


def _loopback(build: Build) -> None:
    loopback.bring_up(build.recipe.call)
    for name in ("tcp_rmem", "tcp_wmem"):
        files.write(f"/proc/sys/net/ipv4/{name}", TCP_BUFFERS, build.recipe.call)


def _channels(build: Build) -> None:
    """Pipes that belong to the script's uid, so that it can open /dev/stdout and /dev/stderr by name."""
    recipe = build.recipe
    build.control = recipe.pair("socketpair", socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC, 0)
    build.status = recipe.pair("pipe2", os.O_CLOEXEC)
    build.stdout = recipe.pair("pipe2", os.O_CLOEXEC)
    build.stderr = recipe.pair("pipe2", os.O_CLOEXEC)
    for pair in (build.stdout, build.stderr):
        recipe.call("fchown", pair[1], build.identity.uid, build.identity.gid)


def _subreaper(build: Build) -> None:
    privileges.become_subreaper(build.recipe.call)


def _reaper_domain(build: Build) -> None:
    landlock.scope_signals(build.recipe.call)


# --- confinement ---


def _session(build: Build) -> None:
    build.recipe.call("setsid")


def _keyring(build: Build) -> None:
    privileges.leave_session_keyring(build.recipe.call)


def _static_limits(build: Build) -> None:
    """The maker has the spawner's limits, so what it can set is known here. Best effort: the probe looks."""
    for _name, number, value in STATIC_LIMITS:
        limit = libc.Packed("=QQ", *(rlimits.as_unsigned(each) for each in rlimits.lowered(number, value, value)))
        build.recipe.call("prlimit64", 0, number, limit, None, tolerate=(ANY_ERROR,))


def _directory(build: Build) -> None:
    build.recipe.call("chdir", os.fsencode(build.work_directory))
    build.recipe.call("umask", UMASK)


def _landlock(build: Build) -> None:
    plan, call = build.blueprint, build.recipe.call
    deny_tcp = not plan.namespaces and not plan.network
    rules = landlock.Ruleset(deny_tcp=deny_tcp, scope_abstract=True, scope_signals=True, call=call)
    for path, rights in landlock_rules(build):
        _allow(build.recipe, rules, path, rights & rules.files)
    build.ruleset = rules.fd


def _allow(recipe: Recipe, rules: landlock.Ruleset, path: str, rights: int) -> None:
    """A rule on what is at the path, if anything is: as for a directory, and where it is none as for a file."""
    words = (files.AT_FDCWD, os.fsencode(path), os.O_PATH | os.O_CLOEXEC, 0)
    rule, close = 2, 1  # operations: the descriptor is stored and the rule added; the descriptor is closed
    fd = recipe.attempt("openat", *words, tolerate=(errno.ENOENT,), skip_on_error=rule + rule + close)
    add = ("landlock_add_rule", rules.fd)
    recipe.attempt(*add, *landlock.path_beneath(fd, rights), tolerate=(errno.EINVAL,), skip_on_success=rule)
    recipe.call(*add, *landlock.path_beneath(fd, rights & landlock.OF_ONE_FILE))
    recipe.call("close", fd)


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


def _groups(build: Build) -> None:
    privileges.drop_groups(build.recipe.call)


def _identity(build: Build) -> None:
    ids = build.identity
    if build.gives_ids:
        privileges.become(ids.init_uid, ids.gid, build.recipe.call)
        build.script_ids = (ids.uid, ids.gid)


def _securebits(build: Build) -> None:
    privileges.lock_securebits(build.recipe.call)


def _capabilities(build: Build) -> None:
    for_bounding_set = (privileges.CAP_SETPCAP,) if build.own_user_namespace else ()
    privileges.keep_only(INIT_CAPABILITIES if build.gives_ids else for_bounding_set, build.recipe.call)
    build.clear_capabilities = 1


def _no_new_privileges(build: Build) -> None:
    privileges.no_new_privileges(build.recipe.call)


def _end_with_spawner(build: Build) -> None:
    number = signal.SIGKILL if build.blueprint.namespaces else signal.SIGUSR2
    privileges.die_with_parent(number, build.recipe.call)


def _waiting_descriptors(build: Build) -> None:
    call = build.recipe.call
    null = call("openat", files.AT_FDCWD, b"/dev/null", os.O_RDONLY | os.O_CLOEXEC, 0)
    ruleset = build.ruleset if build.ruleset >= 0 else null
    waits_with = (null, build.stdout[1], build.stderr[1], build.control[1], build.status[1], ruleset)
    for number, fd in enumerate(waits_with):  # all of them are above: native/maker.c sees to that
        call("dup3", fd, number, 0)


def _seccomp(build: Build) -> None:
    seccomp.install(build.filter_program, build.recipe.call)


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


def _gives_ids(build: Build) -> bool:
    return build.gives_ids


def _own_user_namespace(build: Build) -> bool:
    return build.own_user_namespace


def _has_capabilities(build: Build) -> bool:
    """Whether the maker has any: root's, or those of a user namespace."""
    return build.gives_ids or build.in_user_namespace


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
        lambda build: build.blueprint.namespaces and not build.own_user_namespace,
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
        "this agent has one id to give, and it is not called 0",
        _own_user_namespace,
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
    Step("groups", _groups, "no supplementary groups", "the agent's groups open files", _gives_ids),
    Step(
        "identity",
        _identity,
        lambda build: (
            f"init becomes uid {build.identity.init_uid}, the launcher uid {build.identity.uid}, "
            f"gid {build.identity.gid}" + (" of the user namespace" if build.in_user_namespace else "")
        ),
        "no other cell has the init's id, nor the script's unless its work directory is on disk",
        _gives_ids,
    ),
    Step(
        "capabilities",
        _capabilities,
        lambda build: (
            "no capabilities in any set of the launcher"
            + ("; of the init only CAP_KILL, once it has forked" if build.gives_ids else " or the init")
        ),
        "what root may is given up bit by bit",
    ),
    Step(
        "bounding-set",
        _bounding_set,
        "empty capability bounding set",
        "no file gives a capability",
        _has_capabilities,
    ),
    Step(
        "securebits",
        _securebits,
        "securebits: uid 0 means nothing, no ambient capabilities, locked",
        "no way back to capabilities",
        _has_capabilities,
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


def write_down(steps: tuple[Step, ...], build: Build) -> None:
    """Write the steps into the build's recipe. Raises StepError with the name of the one that cannot be."""
    for step in steps:
        build.recipe.begin(step.name)
        carry_out((step,), build)


def steps_for(build: Build) -> tuple[Step, ...]:
    """The steps of this kind of cell."""
    return tuple(step for step in CELL_STEPS if step.applies(build))


def namespace_names(build: Build) -> list[str]:
    """In the words of namespaces(7)."""
    names = ["pid", "mount", "ipc", "uts", "cgroup"]
    if not build.blueprint.network:
        names.append("net")
    if build.own_user_namespace:
        names.append("user")
    return names
