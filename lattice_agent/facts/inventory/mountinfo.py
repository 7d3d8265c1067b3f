"""The table of mounts, ``/proc/self/mountinfo`` (proc_pid_mountinfo(5)), and which of them can be reached.

A line: id, parent's id, ``major:minor``, root within the file system, mount point, options, any number of optional
fields, ``-``, type, source, options of the file system. In texts the kernel writes blanks and backslashes in octal.
"""

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

_ESCAPE: Final = re.compile(r"\\([0-3][0-7]{2})")
_SEPARATOR: Final = "-"
_BEFORE, _AFTER = 6, 3  # fields on either side of the optional ones
_ABOVE: Final = ""  # the parent of a mount whose own parent we are not shown: the root we live in


@dataclass(frozen=True, slots=True)
class Mount:
    """One line. ``number`` is ``major:minor`` of the super block, so all subvolumes of a btrfs have the same."""

    id: str
    parent: str
    number: str
    root: str
    point: str
    read_only: bool
    type: str
    source: str


def parse_mountinfo(text: str) -> tuple[Mount, ...]:
    """The mounts in the order of the table, which is that of mounting; lines that are not complete are left out."""
    # Not splitlines: the kernel leaves other characters that Python takes for the end of a line as they are.
    return tuple(mount for line in text.split("\n") if (mount := _parse_line(line)) is not None)


def _parse_line(line: str) -> Mount | None:
    fields = line.split(" ")  # not split(): a source may be empty
    if _SEPARATOR not in fields[_BEFORE:]:
        return None
    after = fields[fields.index(_SEPARATOR, _BEFORE) + 1 :]
    if len(after) < _AFTER:
        return None
    id_, parent, number, root, point, options = fields[:_BEFORE]
    return Mount(
        id=id_,
        parent=parent,
        number=number,
        root=unescape(root),
        point=unescape(point),
        # The mount, or the file system as a whole: ext4 with errors=remount-ro changes only the latter.
        read_only="ro" in (options.split(",")[0], after[2].split(",")[0]),
        type=unescape(after[0]),
        source=unescape(after[1]),
    )


def unescape(text: str) -> str:
    r"""A text of the table as it was.

    >>> unescape(r"/mnt/my\040disk")
    '/mnt/my disk'
    """
    return _ESCAPE.sub(lambda found: chr(int(found[1], 8)), text)


def reachable(mounts: Iterable[Mount], table: Collection[Mount]) -> Iterator[Mount]:
    """Those ``mounts`` that their mount points lead to, not to one mounted later at the same place or above it.

    ``table`` is all there are.
    """
    ids = {mount.id for mount in table}
    on_top = {(_parent_in(ids, mount), mount.point): mount for mount in table}
    return (mount for mount in mounts if _mount_at(on_top, mount.point) == mount)


def _parent_in(ids: set[str], mount: Mount) -> str:
    return mount.parent if mount.parent in ids and mount.parent != mount.id else _ABOVE


def _mount_at(on_top: dict[tuple[str, str], Mount], point: str) -> Mount | None:
    """The mount that a path ends in: at every step down, what is mounted there on the mount we are in."""
    at, passed = None, set[str]()
    for place in _steps_to(point):
        while (above := on_top.get((at.id if at else _ABOVE, place))) and above.id not in passed:
            passed.add(above.id)  # a table that has been made up may go in circles
            at = above
    return at


def _steps_to(point: str) -> Iterator[str]:
    """``/``, ``/mnt``, ``/mnt/a`` for ``/mnt/a``."""
    yield "/"
    parts = point.strip("/").split("/")
    yield from ("/" + "/".join(parts[:count]) for count in range(1, len(parts) + 1) if parts[0])
