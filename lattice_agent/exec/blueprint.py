"""What a cell is built from: the values of one build, shared by the steps of its three processes. No I/O.

A ``Blueprint`` is what the agent asked for (one per profile); a ``Build`` is one cell of it in the making. Written out
by hand for the spawner's memory (see ``requests``).
"""

from __future__ import annotations

from lattice_agent.exec.kernel.recipe import Recipe

STRICT, NETWORK, LANDLOCK = b"strict", b"network", b"landlock"
LEVELS = (STRICT, NETWORK, LANDLOCK)

WORK = "/tmp/work"  # noqa: S108 - inside the cell, on its own tmpfs
"""The work directory inside a cell that has a root of its own."""
TMP = "/tmp"  # noqa: S108 - as above
SCRIPT = "script"
"""Name of the script in the work directory."""

RULESET_FD = 5
"""Where native/cell finds the launcher's Landlock ruleset; below it are the descriptors it waits with."""

CELL_IDS = range(0x7000_0000, 0x8000_0000)
"""User and group ids of cells that root builds: above everything that accounts, containers (systemd's end at
0x6FFFFFFF) and user namespaces commonly use."""
HOST_IDS, ONE_ID, ID_RANGE = range(3)
"""Whose ids scripts get: of CELL_IDS, which only root can give; the agent's own, mapped as one id; subordinate ones of
the agent's user (``id_mapping``), beside which the agent's own are mapped too."""
OWN_INSIDE = 1000
"""What the ids of an unprivileged agent are called in its user namespaces. Nothing is called 0 there."""
FIRST_INSIDE = OWN_INSIDE + 1
"""The first of the subordinate ids there."""
FILES_MOST = 256
"""RLIMIT_NOFILE of a script. It bounds pipe and socket buffers, which no process's size shows."""
STACK_BYTES = 8 << 20
SIGNALS_MOST = 1024


class Blueprint:
    """One profile as the spawner sees it."""

    def __init__(
        self,
        level: bytes,
        *,
        network: bool = False,
        read_only: tuple[bytes, ...] = (),
        writable: tuple[bytes, ...] = (),
        work_bytes: int = 0,
        work_inodes: int = 0,
    ) -> None:
        self.level = level
        self.network = network or level == NETWORK
        """The host's network is reachable."""
        self.read_only = read_only
        self.writable = writable
        self.work_bytes = work_bytes
        self.work_inodes = work_inodes

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for blueprints that can share a template: the sizes are the cell's own."""
        return (self.level, self.network, self.read_only, self.writable)

    @property
    def namespaces(self) -> bool:
        """Whether cells have namespaces and a root of their own."""
        return self.level != LANDLOCK


class Identity:
    """The ids of one running cell, as they are called in its user namespace if it has one."""

    def __init__(self, uid: int, gid: int, init_uid: int, *, unique: bool, keep_groups: bool) -> None:
        self.uid = uid
        self.gid = gid
        self.init_uid = init_uid
        """Equal to ``uid`` where there is only one."""
        self.unique = unique
        """No other process of the host has this uid."""
        self.keep_groups = keep_groups
        """The agent's supplementary groups cannot be dropped."""


class Build:
    """One cell in the making. The first half is given; the steps fill in the second."""

    def __init__(
        self,
        blueprint: Blueprint,
        identity: Identity,
        *,
        filter_program: bytes,
        mount_namespace: int = -1,
        user_namespace: int = -1,
        directory: bytes = b"",
        hostname: str = "cell",
        familiar: tuple[str, ...] = (),
        system_directories: tuple[str, ...] = (),
    ) -> None:
        self.recipe = Recipe()
        """What the maker will do. Descriptors below are its own: places in the recipe (``recipe.Later``)."""
        self.blueprint = blueprint
        self.identity = identity
        self.filter_program = filter_program
        self.mount_namespace = mount_namespace
        self.user_namespace = user_namespace
        """Of the template; -1 where there is none."""
        self.directory = directory
        """Work directory on the host; empty: on the cell's own tmpfs."""
        self.hostname = hostname
        self.familiar = familiar
        """Paths that most scripts need first: the shell, the loader, libc."""
        self.system_directories = system_directories
        """Those of the template that are mounts of their own."""
        self.resolver = b""
        self.control = (-1, -1)
        """Agent's end, launcher's end."""
        self.status = (-1, -1)
        """Read end, init's end."""
        self.stdout = (-1, -1)
        self.stderr = (-1, -1)
        self.script = -1
        self.proc = -1
        self.tmpfs = -1
        self.held = -1
        self.work_disk = -1
        self.ruleset = -1
        self.script_ids = (0, 0)
        """What the launcher becomes; 0: it stays who its maker is."""
        self.clear_capabilities = 0
        self.empty_bounding_set = 0

    @property
    def work_directory(self) -> str:
        """Where the script runs, by its path inside."""
        if self.blueprint.namespaces or not self.directory:
            return WORK
        return self.directory.decode("utf-8", "surrogateescape")

    @property
    def gives_ids(self) -> bool:
        """Whether there are ids to give, another one to the init than to the script: the host's or a range's."""
        return self.identity.init_uid != self.identity.uid

    @property
    def in_user_namespace(self) -> bool:
        """Whether the template has a user namespace: what a cell may do ends there."""
        return self.user_namespace >= 0

    @property
    def own_user_namespace(self) -> bool:
        """Whether the cell has one of its own, below the template's: with one id there is nothing else to share."""
        return self.in_user_namespace and not self.gives_ids
