"""Links of a recorded host are followed as that host would: an absolute one starts at the root of its tree, and ``..``
ends there. The kernel would follow them into the machine that reads the record.
"""

from pathlib import Path
from typing import Final

from lattice_agent.facts.rooted import is_live, link_target, read_text

_LINKS_LIMIT: Final = 40  # as the kernel's own, after which it says ELOOP
_NOWHERE: Final = "-" * 256  # longer than a name may be, so every reader finds nothing there


def inside(root: Path, path: str) -> str:
    """``path`` without links in it, below ``root``; a path that is no file when they go in circles.

    On the live host it comes back as it is, for there the kernel does the same.
    """
    if is_live(root):
        return path
    ahead, passed, links = path.split("/")[::-1], list[str](), 0
    while ahead:
        part = ahead.pop()
        if part == "..":
            del passed[-1:]
        elif part not in ("", "."):
            target = link_target(root, "/".join((*passed, part)))
            links += bool(target)
            if links > _LINKS_LIMIT:
                return _NOWHERE
            _take(part, target, passed, ahead)
    return "/".join(passed)


def _take(part: str, target: str, passed: list[str], ahead: list[str]) -> None:
    if not target:
        passed.append(part)
        return
    if target.startswith("/"):
        passed.clear()
    ahead.extend(target.split("/")[::-1])


def text_inside(root: Path, path: str) -> str:
    """``rooted.read_text`` of a path that may lead through links."""
    return read_text(root, inside(root, path))


def target_inside(root: Path, path: str) -> str:
    """``rooted.link_target`` of a link in a folder that may itself be reached through links."""
    folder, _, name = path.rpartition("/")
    return link_target(root, f"{inside(root, folder)}/{name}")
