"""What a probe of one level has seen: the facts from inside a cell, beside what is true outside. Values only. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from lattice_agent.exec.plan import Level, Limits, Profile
from lattice_agent.exec.probe_script import Facts

_NAMESPACE: Final = re.compile(r"\b(\w+):\[(\d+)\]")
_POINT, _OPTIONS = 4, 5
"""Fields of a line of /proc/self/mountinfo: proc(5)."""


@dataclass(frozen=True)
class Outside:
    """What is true of the process that asks, to compare with. Defaults are what could not be found out."""

    uid: int
    groups: tuple[int, ...] = ()
    """Supplementary ones, other than its own group."""
    namespaces: Mapping[str, str] = field(default_factory=dict)
    """Name in /proc/self/ns to inode number."""
    seccomp_filters: int = 0
    session_keyrings: frozenset[str] = frozenset()
    """Serial numbers, as /proc/keys has them, of those it can see."""
    resolver: str = ""
    """Content of /etc/resolv.conf."""
    landlock_abi: int = 0
    landlock_layers: int = -1
    """How many more domains it could enter; -1: not counted."""


@dataclass(frozen=True)
class Expected:
    """What the steps promise, in their own numbers and names."""

    limits: Mapping[str, int]
    """Line of /proc/self/limits to the highest soft limit."""
    tcp_buffers: str
    hostname: str
    umask: int
    root: frozenset[str]
    """Paths that may be in /."""
    etc: frozenset[str]
    """Names that may be in /etc."""
    devices: frozenset[str]
    """Names that may be in /dev."""


@dataclass(frozen=True)
class Mount:
    """One line of mountinfo."""

    point: str
    root: str
    options: tuple[str, ...]
    propagates: bool
    kind: str
    of_filesystem: Mapping[str, str]
    """Options of the file system: name to value, "" for one without."""


@dataclass(frozen=True)
class Seen:
    """One level, probed."""

    profile: Profile
    directory: str
    """Where the script should be; empty: somewhere that is not known in advance."""
    limits: Limits
    outside: Outside
    expected: Expected
    facts: Facts
    """Of the shell."""
    calls: Facts | None = None
    """Of python3; None: it was not asked, or is not there."""
    memory: str = ""
    """Why the memory limit is not known to hold; empty: a script that used more was killed."""
    controllers: frozenset[str] = frozenset()
    """cgroup v2 controllers that limit a cell as a whole; without that of memory a watcher does."""
    host_changed: str = ""
    """What of the host's own tree is other than before."""

    @property
    def level(self) -> Level:
        """The level that was probed."""
        return self.profile.level

    @cached_property
    def status(self) -> Mapping[str, str]:
        """/proc/self/status of the script."""
        return self.facts.named("status")

    @cached_property
    def namespaces(self) -> Mapping[str, str]:
        """Name to inode number."""
        return dict(_NAMESPACE.findall(self.facts.one("namespaces")))

    @cached_property
    def mounts(self) -> Mapping[str, Mount]:
        """By mount point; of several on one the topmost."""
        found = map(parse_mount, self.facts.all("mount"))
        return {mount.point: mount for mount in found if mount is not None}

    @property
    def own_user_namespace(self) -> bool:
        """Whether the cell has one."""
        inside = self.namespaces.get("user")
        return inside is not None and inside != self.outside.namespaces.get("user")

    @property
    def given_uid(self) -> bool:
        """Whether the script's uid is one that was given to the agent's user: /proc/self/uid_map inside names both.

        A line there is first id inside, first id of the namespace around it, and their number (user_namespaces(7)).
        That the agent's own uid is in another line than the script's shows that the namespace around is the agent's:
        below a second one the numbers would not be the agent's.
        """
        uid = number_in(self.status.get("Uid", "").partition("\t")[0].partition(" ")[0])
        words = [line.split() for line in self.facts.all("uid_map")]
        if not self.own_user_namespace or uid is None or not all(map(_three_numbers, words)):
            return False
        lines = [tuple(map(int, line)) for line in words]
        of_script = [line for line in lines if uid in range(line[0], line[0] + line[2])]
        of_agent = [line for line in lines if self.outside.uid in range(line[1], line[1] + line[2])]
        return bool(of_script and of_agent) and not set(of_script) & set(of_agent)

    @cached_property
    def tried(self) -> Mapping[str, str]:
        """What python3 tried: name to the name of the error, or ``done``."""
        return {} if self.calls is None else self.calls.named("tried")

    def soft_limit(self, name: str) -> int | None:
        """A line of /proc/self/limits; None for "unlimited" or a line that is not there."""
        for line in self.facts.all("limit"):
            if line.startswith(name + " "):
                return number_in(next(iter(line[len(name) :].split()), ""))
        return None


def parse_mount(line: str) -> Mount | None:
    """A line of /proc/self/mountinfo (proc(5)); None if it is not one."""
    own, dash, rest = line.partition(" - ")
    fields, filesystem = own.split(" "), rest.split(" ")
    if not dash or len(fields) <= _OPTIONS:
        return None
    options = dict(option.partition("=")[::2] for option in filesystem[-1].split(","))
    propagates = any(tag.startswith(("shared:", "master:")) for tag in fields[_OPTIONS + 1 :])
    return Mount(fields[_POINT], fields[3], tuple(fields[_OPTIONS].split(",")), propagates, filesystem[0], options)


def number_in(text: str, base: int = 10) -> int | None:
    """A number without a sign, as a kernel writes it; None for every other text: what is not understood is not seen."""
    try:
        return int(text, base) if text.isascii() and text.isalnum() else None
    except ValueError:
        return None


def _three_numbers(words: list[str]) -> bool:
    return len(words) == 3 and None not in map(number_in, words)


def parse_namespaces(links: Mapping[str, str]) -> Mapping[str, str]:
    """Name to inode number, of links such as ``pid:[4026531836]``."""
    return {name: match[2] for name, link in links.items() if (match := _NAMESPACE.search(link))}
