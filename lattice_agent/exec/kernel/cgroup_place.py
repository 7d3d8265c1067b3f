"""Where this process is in the cgroup v2 hierarchy, and whether that group is ours to manage. Changes nothing.

We manage the group that this process is in only if it was given to us:

* as root: the extended attribute ``trusted.delegate`` is 1, which systemd sets for ``Delegate=yes``; or
  ``user.delegate`` is, which any owner can set, on a directory of root;
* not as root: the directory and the files in it that matter may be written by us, unless systemd made the group for a
  unit (it marks those with ``user.invocation_id``) and did not delegate it (``user.delegate``): systemd may take the
  controllers of such a group away at any time.

The root of the hierarchy (it has no ``cgroup.type``) and groups of a threaded subtree are never ours.
"""

from __future__ import annotations

import os

from lattice_agent.exec.kernel.cgroup_tree import ENABLED, PROCESSES

LEAF = "agent"
"""The group below ours that takes our processes. Whoever is found in it manages the group above."""

_MOVES = 3
"""Looks until this process was not moved meanwhile, which another spawner below the same group does, once."""


def survey() -> tuple[str, str]:
    """The directory of the group to manage, and why we may not manage it ("" if we may)."""
    own, answer = _own(), ("", "")
    for _ in range(_MOVES):
        answer = _look(own)
        before, own = own, _own()
        if own == before:
            break
    return answer


def parse_own(text: str) -> str | None:
    """The v2 group in /proc/<pid>/cgroup, as seen from our cgroup namespace's root; None if there is none."""
    return next((line[3:] for line in text.splitlines() if line.startswith("0::/")), None)


def parse_mounts(text: str) -> list[tuple[str, str]]:
    """(root, mount point) of every cgroup2 mount in /proc/<pid>/mountinfo (proc(5)), in its order.

    The root is the group that appears at the mount point: not ``/`` where a subtree was bound, as in containers.
    """
    found = []
    for line in text.splitlines():
        fields = line.split(" ")
        optional = fields[6:]  # up to a single dash; the type follows
        if "-" in optional and optional[optional.index("-") + 1 :][:1] == ["cgroup2"]:
            found.append((_unescape(fields[3]), _unescape(fields[4])))
    return found


def locate(own: str, mounts: list[tuple[str, str]]) -> list[str]:
    """Every directory at which the group ``own`` is visible. A path with ``..`` lies outside our namespace's root."""
    found = []
    for root, point in mounts:
        if ".." in [*own.split("/"), *root.split("/")]:
            continue
        above = root.rstrip("/")
        if own == root or own.startswith(above + "/"):
            inside = own.removeprefix(above).strip("/")
            found.append(os.path.join(point, inside) if inside else point)
    return found


def _own() -> str | None:
    return parse_own(_text("/proc/self/cgroup"))


def _look(own: str | None) -> tuple[str, str]:
    if own is None:
        return "", "this process is in no cgroup v2 group"
    path = next((path for path in locate(own, parse_mounts(_text("/proc/self/mountinfo"))) if _holds_us(path)), "")
    if not path:
        return "", f"no cgroup2 mount shows the group of this process, {own}"
    parent, name = os.path.split(path)
    if name == LEAF and not _refusal(parent):
        return parent, ""
    return path, _refusal(path)


def _unescape(field: str) -> str:
    """A field of mountinfo without its octal escapes: space, tab, newline and, last, the backslash itself."""
    for code in ("\\040", "\\011", "\\012", "\\134"):
        field = field.replace(code, chr(int(code[1:], 8)))
    return field


def _holds_us(path: str) -> bool:
    """Whether this process is listed there: something else may be mounted over the directory."""
    try:
        return str(os.getpid()) in _text(f"{path}/{PROCESSES}").split()
    except OSError:
        return False


def _refusal(path: str) -> str:
    try:
        kind = _text(f"{path}/cgroup.type").strip()
    except FileNotFoundError:
        return f"{path} is the root of the hierarchy, which nobody delegates"
    except OSError as error:
        return f"{path}/cgroup.type: {error.strerror}"
    if kind != "domain":
        return f"{path} is of type {kind}"
    if not _delegated(path):
        return f"{path} is not delegated (in a systemd unit: Delegate=yes)"
    if not all(os.access(f"{path}/{name}", os.W_OK, effective_ids=True) for name in (".", PROCESSES, ENABLED)):
        return f"{path} may not be written by uid {os.geteuid()}"
    return ""


def _delegated(path: str) -> bool:
    if os.geteuid() == 0:
        return _marked(path, "trusted.delegate") or (_marked(path, "user.delegate") and os.stat(path).st_uid == 0)
    return _marked(path, "user.delegate") or not _attribute(path, "user.invocation_id")


def _marked(path: str, name: str) -> bool:
    return _attribute(path, name) == b"1"


def _attribute(path: str, name: str) -> bytes:
    try:
        return os.getxattr(path, name)
    except OSError:
        return b""  # not set, not for us to see, or a kernel without attributes on cgroup2


def _text(path: str) -> str:
    with open(path, "rb") as file:
        return os.fsdecode(file.read())
