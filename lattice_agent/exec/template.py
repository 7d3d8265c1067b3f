"""The template: a mount namespace that holds a minimal root, collected once for all cells of one profile.

Its own root has four directories: ``LOWER`` with what is copied and made, ``SOURCES`` with what is bound from the host
(apart, because an overlay in a user namespace may not have mounts below its lower directory), ``EMPTY``, and ``MOUNT``,
where a cell puts its own view of it all together (``cell_steps``) before that becomes its root. A template is made by a
short-lived child; what stays of it are two descriptors, which keep the namespaces alive without any process.

The steps run in the order of ``TEMPLATE_STEPS``. Sources are opened before the new root hides anything, and bound
through their descriptors.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence

from lattice_agent.exec import blueprint, id_mapping
from lattice_agent.exec.blueprint import FIRST_INSIDE, HOST_IDS, ID_RANGE, OWN_INSIDE, Blueprint
from lattice_agent.exec.kernel import mounts, namespaces
from lattice_agent.exec.step import Step

STAGE = "/tmp"  # noqa: S108 - every system has it; hidden by a mount that only the template sees
LOWER, SOURCES, EMPTY, MOUNT = "/lower", "/sources", "/empty", "/mount"
SYSTEM_DIRECTORIES = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
ETC_FILES = (
    "host.conf", "gai.conf", "ld.so.cache", "ld.so.conf", "locale.alias", "localtime", "mime.types", "nsswitch.conf",
    "os-release", "debian_version", "protocols", "services", "timezone",
)  # fmt: skip
"""Copied, following links: small, world-readable, without secrets or names of the host's users."""
ETC_DIRECTORIES = ("alternatives", "ld.so.conf.d", "ssl/certs", "pki/tls/certs", "ca-certificates", "terminfo")
"""Copied as well, files and links, one level deep. Private keys (ssl/private) are not among them."""
ETC_FILE_MOST = 1 << 20
STAGE_BYTES, STAGE_INODES = 16 << 20, 8192
"""Bounds of what is copied; a host with more of it gets no template, which says so."""
PASSWD = b"root:x:0:0:root:/nonexistent:/usr/sbin/nologin\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
GROUP = b"root:x:0:\nnogroup:x:65534:\n"
HOSTS = b"127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n"
DEVICES = ("null", "zero", "full", "random", "urandom")
DEVICE_LINKS = (
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("shm", blueprint.TMP),
)
DEVICE_NUMBERS = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9)}
"""As in the kernel's devices.txt."""
DIRECTORY_MODE = 0o755


class Stage:
    """A template in the making."""

    def __init__(self, plan: Blueprint, script_ids: Sequence[int], *, ids: int, in_range: int = 0) -> None:
        self.plan = plan
        self.script_ids = script_ids
        """User and group ids that scripts of this template may have: they get a name."""
        self.ids = ids
        """HOST_IDS, ONE_ID or ID_RANGE."""
        self.in_range = in_range
        """How many subordinate ids are wanted, with ID_RANGE."""
        self.sources: dict[str, int] = {}
        """Path inside to a descriptor (O_PATH) of what will be there."""
        self.links: list[tuple[str, str]] = []
        """Path inside and its target, for /bin -> usr/bin and its kin."""
        self.files: list[tuple[str, bytes]] = []

    @property
    def user_namespace(self) -> bool:
        """Whether the template has one: nobody here is root."""
        return self.ids != HOST_IDS


def open_sources(stage: Stage) -> None:
    """Open what will be bound and read what will be copied, while the host's tree is still in sight."""
    for path in SYSTEM_DIRECTORIES:
        if os.path.islink(path):
            stage.links.append((path, os.readlink(path)))
        elif os.path.isdir(path):
            stage.sources[path] = _open(path)
    for name in ETC_DIRECTORIES:
        _collect(stage, f"/etc/{name}")
    stage.files += [(f"/etc/{name}", data) for name in ETC_FILES if (data := _read(f"/etc/{name}")) is not None]
    stage.files += [*_names_of_ids(stage.script_ids), ("/etc/hosts", _hosts(stage))]
    if stage.user_namespace:
        for name in DEVICES:
            stage.sources[f"/dev/{name}"] = _open(f"/dev/{name}")
    for item in (*stage.plan.read_only, *stage.plan.writable):
        path = os.fsdecode(item)
        stage.sources[path] = _open(path)
    if stage.user_namespace:
        # The kernel lets a user namespace mount a proc only where a whole one is already in sight.
        stage.sources["/proc"] = _open("/proc")


def _names_of_ids(script_ids: Sequence[int]) -> list[tuple[str, bytes]]:
    """passwd and group: programs ask who they are, and some end when nobody can tell them."""
    users = [f"script{uid}:x:{uid}:{uid}:script:{blueprint.WORK}:/bin/sh\n" for uid in script_ids]
    groups = [f"script{gid}:x:{gid}:\n" for gid in script_ids]
    return [("/etc/passwd", PASSWD + "".join(users).encode()), ("/etc/group", GROUP + "".join(groups).encode())]


def _hosts(stage: Stage) -> bytes:
    return (_read("/etc/hosts") or HOSTS) if stage.plan.network else HOSTS


def mount_stage(_stage: Stage) -> None:
    """Empty but for its four directories."""
    mounts.mount("tmpfs", STAGE, mounts.NOSUID, f"size={STAGE_BYTES},nr_inodes={STAGE_INODES},mode=755")
    for path in (LOWER, SOURCES, EMPTY, MOUNT):
        os.mkdir(STAGE + path, DIRECTORY_MODE)


def make_directories(stage: Stage) -> None:
    """Mount points, links, devices and copied files."""
    root = STAGE + LOWER
    for path in ("/proc", "/tmp", "/etc", "/dev", "/var"):  # noqa: S108 - inside the stage
        os.mkdir(root + path, DIRECTORY_MODE)
    for path, target in stage.links:
        os.makedirs(os.path.dirname(root + path), DIRECTORY_MODE, exist_ok=True)
        os.symlink(target, root + path)
    os.symlink(blueprint.TMP, root + "/var/tmp")  # noqa: S108 - inside the stage
    for name, target in DEVICE_LINKS:
        os.symlink(target, f"{root}/dev/{name}")
    if not stage.user_namespace:
        for name in DEVICES:
            _make_device(f"{root}/dev/{name}", DEVICE_NUMBERS[name])
    for path, data in stage.files:
        _write(root + path, data)
    if stage.plan.network:
        _write(root + "/etc/resolv.conf", b"")


def bind_sources(stage: Stage) -> None:
    """Everything that comes from the host: read-only, no set-user-id, devices only where they are the point."""
    writable = {os.fsdecode(item) for item in stage.plan.writable}
    for path, fd in sorted(stage.sources.items()):
        target = STAGE + SOURCES + path
        for place in (target, STAGE + LOWER + path):
            if not os.path.lexists(place):
                _make_mount_point(place, fd)
        mounts.bind(f"/proc/self/fd/{fd}", target, recursive=stat.S_ISDIR(os.fstat(fd).st_mode))
        if path != "/proc":
            mounts.restrict(target, read_only=path not in writable, devices=path.startswith("/dev/"))
        os.close(fd)


def enter_stage(_stage: Stage) -> None:
    """Seal the root and make it the root."""
    mounts.seal(STAGE)
    mounts.pivot(STAGE)


def _own_ids(stage: Stage) -> None:
    if stage.ids == ID_RANGE:
        id_mapping.enter_mapped_namespace(OWN_INSIDE, FIRST_INSIDE, stage.in_range)
        return
    outside = (os.geteuid(), os.getegid())
    namespaces.unshare(namespaces.NEWUSER)
    namespaces.map_single_ids((OWN_INSIDE, OWN_INSIDE), outside)


def _describe_ids(stage: Stage) -> str:
    more = f"; {stage.in_range} subordinate ids {FIRST_INSIDE} and up (newuidmap, newgidmap)"
    return f"a user namespace: the agent's ids are called {OWN_INSIDE}" + (more if stage.ids == ID_RANGE else "")


def _separate(_stage: Stage) -> None:
    namespaces.unshare(namespaces.NEWNS)
    mounts.make_private()


TEMPLATE_STEPS = (
    Step(
        "user-namespace",
        _own_ids,
        _describe_ids,
        "only there may an unprivileged agent make the other namespaces, and nothing in it is called 0",
        lambda stage: stage.user_namespace,
    ),
    Step(
        "mount-namespace",
        _separate,
        "a mount namespace of its own, all propagation private",
        "no mount made here shows outside, none made outside appears here",
    ),
    Step(
        "sources",
        open_sources,
        lambda stage: "taken from the host: " + _describe_sources(stage),
        "an allowlist: /root, /home, /var, /run, /sys and the rest of /etc and /dev do not exist inside",
    ),
    Step("root", mount_stage, "an empty tmpfs to collect a root in", "nothing is there by accident"),
    Step(
        "root-files",
        make_directories,
        "mount points, links, devices, copied files; passwd, group and hosts generated",
        "names of the host's users stay outside",
    ),
    Step(
        "root-binds",
        bind_sources,
        "the sources are bound: nosuid, read-only unless named as writable, nodev except for the devices",
        "programs come in, privileges do not",
    ),
    Step("root-sealed", enter_stage, "the tmpfs read-only, pivot_root, the host's root unmounted", "no way back"),
)
"""In the order of execution; once per profile."""
MAKE_NAMESPACES = ("user-namespace", "mount-namespace")
"""Steps after which there are the namespaces that stay of a template."""


def steps_for(stage: Stage) -> tuple[Step, ...]:
    """The steps of this kind of template."""
    return tuple(step for step in TEMPLATE_STEPS if step.applies(stage))


def _describe_sources(stage: Stage) -> str:
    writable = ", ".join(_names(stage.plan.writable))
    parts = [
        " ".join((*SYSTEM_DIRECTORIES, *_names(stage.plan.read_only))),
        "copies of /etc/ " + " ".join((*ETC_FILES, *ETC_DIRECTORIES)),
        "devices " + " ".join(DEVICES),
    ]
    return "; ".join([*parts, f"writable {writable}"] if writable else parts)


def _names(paths: tuple[bytes, ...]) -> list[str]:
    return [os.fsdecode(path) for path in paths]


def _open(path: str) -> int:
    return os.open(path, os.O_PATH | os.O_CLOEXEC)


def _read(path: str) -> bytes | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return None
        return os.read(fd, ETC_FILE_MOST)
    finally:
        os.close(fd)


def _write(path: str, data: bytes) -> None:
    os.makedirs(os.path.dirname(path), DIRECTORY_MODE, exist_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)


def _collect(stage: Stage, directory: str) -> None:
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        return
    for name in names:
        path = f"{directory}/{name}"
        if os.path.islink(path):
            stage.links.append((path, os.readlink(path)))
        elif (data := _read(path)) is not None:
            stage.files.append((path, data))


def _make_device(path: str, number: tuple[int, int]) -> None:
    os.mknod(path, stat.S_IFCHR, os.makedev(*number))
    os.chmod(path, 0o666)  # noqa: S103 - as in every /dev; the umask has cut it


def overlay_places(stage: Stage) -> list[str]:
    """The system directories that are mounts of their own in the template, as it is being made."""
    return [path for path in SYSTEM_DIRECTORIES if path in stage.sources]


def bound_places(plan: Blueprint, *, user_namespace: bool) -> list[str]:
    """What else is a mount of its own there: devices and proc in a user namespace, and the policy's paths."""
    own = ["/proc", *(f"/dev/{name}" for name in DEVICES)] if user_namespace else []
    return sorted([*own, *_names(plan.read_only), *_names(plan.writable)])


def _make_mount_point(target: str, fd: int) -> None:
    if stat.S_ISDIR(os.fstat(fd).st_mode):
        os.makedirs(target, DIRECTORY_MODE, exist_ok=True)
    else:
        _write(target, b"")
