"""The spawner's cells: what is asked for, being built, ready, in use, and gone. Never waits for any of it.

Life of a cell, and what may be asked of it when::

    waiting   for the template or the filter of its kind          KillCell
    building  its maker works                                     KillCell
    ready     the agent has its descriptors                       UseCell, KillCell
    in use    it has a task; its memory is watched                TerminateCell, KillCell
    ending    it was killed; its init is not reaped yet           KillCell

A cell leaves the table when its init was reaped: nothing lives in it then, and its ids may be given to another.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress

from lattice_agent.exec import cell, filter_source, id_mapping
from lattice_agent.exec.blueprint import (
    CELL_IDS,
    FIRST_INSIDE,
    HOST_IDS,
    ID_RANGE,
    ONE_ID,
    OWN_INSIDE,
    Blueprint,
    Build,
    Identity,
)
from lattice_agent.exec.kernel import cgroup, libc, seqpacket
from lattice_agent.exec.kernel.wait import is_child
from lattice_agent.exec.memory_watch import INTERVAL_MS, SHORTEST_MS, Place, pause_ms
from lattice_agent.exec.priority import Attention
from lattice_agent.exec.requests import (
    CellFailed,
    CellGone,
    CellReady,
    KillCell,
    Message,
    PrepareCell,
    RefusedMessageError,
    TerminateCell,
    UseCell,
    check_cell,
)
from lattice_agent.exec.step import StepError

CELLS_MOST = 64
"""At once, in whatever state; a PrepareCell beyond is refused."""
ORDERS_MOST = 16
"""Kept, of some 20 KiB each: as many common cells as are mostly there at once. Beyond they are written anew."""
TEMPLATES_MOST = 16
"""Kept at once; the one that was not used for longest goes. Running cells do not need their template any more."""
IDS_OF_ONE = 256
"""Ids that one spawner uses, chosen by chance out of CELL_IDS."""
SUBORDINATE_IDS = 2 * CELLS_MOST
"""Ids of its user's range that one spawner without root uses: a script's and an init's for each cell."""
INIT = 1
"""A cell's init is a process of its group too."""
FIRST = 1
"""Of a script's processes the one that is the script: its own end is told apart from those of the others."""
KEPT = 3
"""Descriptors of a cell with namespaces that stay here: its tmpfs, /proc and mount namespace."""
LAST_WORDS = 3
"""Messages that a maker can have sent, its end-of-file included."""
BUSY_MOST, BUSY_STEP = 0.5, 0.1
"""Share of the time up to which looks go before others, and how much the last one counts in it: about seven long ones
in a row, as a cell that gets to its limit with many processes needs them, still do; looks at many cells do not."""
BLIND_MOST = 20
"""Looks in a row at a cell that may fail (no descriptor to look with), two seconds; then it is ended: no script runs on
that nobody watches."""
WAITING, BUILDING, READY, IN_USE, ENDING = range(5)
_HOSTNAME = "cell"
_FAMILIAR = ("/bin/sh", "/etc/ld.so.cache")
_FAMILIAR_LIBRARIES = ("ld-", "libc.so", "libc-")
_REASON_MOST = 512


class Cell:
    """One entry of the table."""

    def __init__(self, number: int, plan: Blueprint, directory: bytes, slot: int) -> None:
        self.number = number
        self.plan = plan
        self.directory = directory
        self.slot = slot
        self.state = WAITING
        self.pid = 0
        """Of the maker, then the init: the same process."""
        self.pidfd = -1
        self.order: cell.Order | None = None
        """While it is being built."""
        self.socket: socket.socket | None = None
        self.handed: list[int] = []
        """The agent's descriptors until it has them."""
        self.kept: list[int] = []
        """Ours, until there is a place."""
        self.place: Place | None = None
        self.held = -1
        """Its mount namespace."""
        self.group: cgroup.Group | None = None
        self.memory_limit = 0
        self.memory_peak = 0
        self.memory_hit = False
        self.killed = 0
        self.successor = 0
        self.blind = 0
        """Looks in a row that failed."""

    @property
    def looking(self) -> int:
        """A process of ours that looks at the cell from inside; 0: there is none."""
        return self.place.child if self.place is not None else 0

    def signal(self, number: int) -> None:
        """Send a signal to the init; nothing happens if it is gone."""
        if self.pidfd >= 0:
            try:
                libc.call("pidfd_send_signal", self.pidfd, number, None, 0)
            except ProcessLookupError:
                return

    def reaped(self) -> bool:
        """Whether its maker or init is gone without a trace: not even a zombie is left."""
        try:
            libc.call("pidfd_send_signal", self.pidfd, 0, None, 0)
        except ProcessLookupError:
            return True
        return False

    def close(self) -> None:
        """Give back every descriptor."""
        if self.socket is not None:
            self.socket.close()
            self.socket = None
        seqpacket.close_all(self.handed + self.kept)
        self.handed, self.kept = [], []
        if self.place is not None:
            self.place.close()
        for fd in (self.pidfd, self.held):
            if fd >= 0:
                os.close(fd)
        self.pidfd = self.held = -1


class Cells:
    """See the module's text. ``tell`` sends a message (with descriptors) to the agent."""

    def __init__(self, poll: select.poll, tell: Callable[[Message, list[int]], None]) -> None:
        self._poll = poll
        self._tell = tell
        self._cells: dict[int, Cell] = {}
        self._slots = list(range(CELLS_MOST - 1, -1, -1))
        chosen = int.from_bytes(os.urandom(4), "big") % (len(CELL_IDS) // IDS_OF_ONE)
        self._first_id = CELL_IDS[chosen * IDS_OF_ONE]
        self._ids = HOST_IDS if os.geteuid() == 0 else ID_RANGE if id_mapping.tools_there() else ONE_ID
        """Of new templates; ONE_ID for good when a range cannot be had at the first attempt."""
        self._range_seen = False
        """There was a template with a range. None is made without one then: the agent has seen, and may have told and
        decided by it, that ids are unique and no groups are kept."""
        self._processors = len(os.sched_getaffinity(0))
        self._groups_left = bool(set(os.getgroups()) - {os.getegid()})
        self._filters = filter_source.Filters()
        self._groups: cgroup.Groups | None = None
        self._unremoved: list[cgroup.Group] = []
        self._templates: dict[object, cell.Template] = {}
        self._orders: dict[object, cell.Order] = {}
        self._program = -1
        self._familiar = familiar_files()
        self._watched_ns = 0
        self._interval_ms = INTERVAL_MS
        self._attention = Attention()
        self._busy = 0.0
        """Share of its time that it has looked at memory, of late."""
        self._gone_plans: dict[int, Blueprint] = {}
        self._helpers: set[int] = set()
        """Children that make a template or a filter, or bring a cell through a user namespace."""

    # --- what the spawner's loop asks ---

    @property
    def any(self) -> bool:
        """Whether there is any cell or helper left, but for what nobody can name any more: a maker whose helper was
        killed before it said who was born. The last sweep finds it."""
        return bool(self._helpers) or any(entry.pid or entry.state != ENDING for entry in self._cells.values())

    @property
    def expecting(self) -> bool:
        """Whether a child may be a maker of which nobody has told yet: it is born before its helper can say so."""
        return any(entry.socket is not None and not entry.pid for entry in self._cells.values())

    def __contains__(self, pid: object) -> bool:
        """Whether a process belongs to this table: a sweep of orphans leaves it alone."""
        return pid in self._helpers or any(pid in (entry.pid, entry.looking) for entry in self._cells.values())

    @property
    def interval_ms(self) -> int | None:
        """How long the loop may wait: until the next ``watch``; None: there is nothing to watch."""
        if any(entry.memory_limit or entry.successor for entry in self._cells.values()):
            return max(self._interval_ms - (time.monotonic_ns() - self._watched_ns) // 1_000_000, 0)
        return None

    def watch(self) -> None:
        """Measure every cell in use if it is time, and kill those that use more memory than they may."""
        now = time.monotonic_ns()
        if now - self._watched_ns < self._interval_ms * 1_000_000:
            return
        self._interval_ms = INTERVAL_MS
        watching = any(entry.memory_limit for entry in self._cells.values())
        self._attention.demand(wanted=watching and self._busy < BUSY_MOST)
        for entry in list(self._cells.values()):
            self._build_successor(entry)
            if entry.state == IN_USE and entry.memory_limit and entry.place is not None:
                self._look(entry, entry.place)
        # Looks begin at the interval, but leave a pause between them.
        ended = time.monotonic_ns()
        self._watched_ns = max(now, ended - (self._interval_ms - SHORTEST_MS) * 1_000_000)
        took_ms = (ended - now) / 1e6
        self._busy += (took_ms / (took_ms + self._interval_ms) - self._busy) * BUSY_STEP

    def _look(self, entry: Cell, place: Place) -> None:
        try:
            used, too_much = place.over(entry.memory_limit)
        except OSError:
            entry.blind += 1
            if entry.blind > BLIND_MOST:
                self._kill(entry)
            return
        entry.blind = 0
        entry.memory_peak = max(entry.memory_peak, used)
        self._interval_ms = min(self._interval_ms, pause_ms(place.room, self._processors))
        if too_much:
            entry.memory_hit = True
            self._kill(entry)

    def ended(self, pid: int) -> bool:
        """A child was reaped; whether it was one of this table's."""
        if pid in self._helpers:
            self._helpers.discard(pid)
            return True
        for entry in list(self._cells.values()):
            if entry.pid == pid:
                if entry.state == BUILDING:
                    self._maker_ended(entry)
                if entry.number in self._cells:
                    self._gone(entry)
                return True
            if entry.looking == pid:
                return True
        return False

    def hear(self, ready: set[int]) -> None:
        """Take in what makers have said, of those descriptors that are readable."""
        if self._filters.fileno() in ready:
            self._filters_said()
        for template in list(self._templates.values()):
            if template.fileno() in ready:
                self._template_said(template)
        for entry in list(self._cells.values()):
            if entry.socket is not None and entry.socket.fileno() in ready:
                self._maker_said(entry)

    def kill_all(self) -> None:
        """End everything."""
        for entry in list(self._cells.values()):
            entry.successor = 0
            self._kill(entry)
        for pid in self._helpers:
            os.kill(pid, signal.SIGKILL)  # our own children, not reaped yet

    def close(self) -> None:
        """Remove what is not a process: the groups."""
        if self._groups is not None:
            self._groups.close()
            self._groups = None

    # --- requests ---

    def prepare(self, message: Message, _passed: list[int]) -> None:
        """Begin to build a cell, or to wait for what it is built from."""
        assert isinstance(message, PrepareCell)
        check_cell(message)
        if message.cell in self._cells or not self._slots:
            raise RefusedMessageError(f"PrepareCell: {len(self._cells)} cells now, or number {message.cell} is taken")
        plan = Blueprint(
            message.level,
            network=bool(message.network),
            read_only=tuple(message.read_only),
            writable=tuple(message.writable),
            work_bytes=message.work_bytes,
            work_inodes=message.work_inodes,
        )
        self._begin(message.cell, plan, message.directory)

    def use(self, message: Message, _passed: list[int]) -> None:
        """The cell has its task."""
        assert isinstance(message, UseCell)
        entry = self._in_state(message.cell, READY)
        if entry is None:
            # Its task was over before we heard of it: the next cell is wanted all the same.
            self._build_another(message.successor, self._gone_plans.get(message.cell))
            return
        entry.state = IN_USE
        entry.successor = message.successor
        try:
            self._limit(entry, message)
        except OSError:
            self._kill(entry)  # no task runs without its limits
            raise

    def _limit(self, entry: Cell, message: UseCell) -> None:
        if entry.group is not None:
            entry.group.limit(
                message.memory_bytes if self._controls("memory") else None,
                message.processes + INIT if self._controls("pids") else None,
                message.cpu_percent or None if self._controls("cpu") else None,
            )
        if not self._controls("memory"):
            if not any(other.memory_limit for other in self._cells.values()):
                self._watched_ns = time.monotonic_ns()  # nobody was watched: the first look is an interval from now
            entry.memory_limit = message.memory_bytes

    def terminate(self, message: Message, _passed: list[int]) -> None:
        """SIGTERM to the script and all it started: the init passes it on."""
        assert isinstance(message, TerminateCell)
        entry = self._in_state(message.cell, IN_USE)
        if entry is not None:
            entry.signal(signal.SIGTERM)

    def kill(self, message: Message, _passed: list[int]) -> None:
        """End a cell in whatever state."""
        assert isinstance(message, KillCell)
        entry = self._cells.get(message.cell)
        if entry is None:
            self._tell(CellGone(message.cell, 0, 0), [])
        else:
            self._kill(entry)

    def _in_state(self, number: int, state: int) -> Cell | None:
        """The cell, if it is still there; its end is told already if not."""
        entry = self._cells.get(number)
        if entry is None or entry.state == ENDING:
            return None
        if entry.state != state:
            raise RefusedMessageError(f"cell {number} is not in the state for this request")
        return entry

    # --- building ---

    def _begin(self, number: int, plan: Blueprint, directory: bytes) -> None:
        entry = Cell(number, plan, directory, self._slots.pop())
        self._cells[number] = entry
        try:
            self._advance(entry)
        except (OSError, StepError) as error:
            self._failed(entry, str(error))

    def _build_successor(self, entry: Cell) -> None:
        number, entry.successor = entry.successor, 0
        self._build_another(number, entry.plan)

    def _build_another(self, number: int, plan: Blueprint | None) -> None:
        """A cell like one that had its task; 0 is none."""
        if not number:
            return
        if plan is None or number in self._cells or not self._slots:
            self._tell(CellFailed(number, f"{len(self._cells)} cells now".encode()), [])
        else:
            self._begin(number, plan, b"")

    def _advance(self, entry: Cell) -> None:
        """Start to build if everything is there that it needs; start to make what is not."""
        if not self._filters.asked:
            self._open_groups()
            self._helpers.add(self._filters.ask(memory_watch=not self._controls("memory")))
            self._poll.register(self._filters.fileno(), select.POLLIN)
        if self._filters.error:
            raise StepError(self._filters.error)
        if self._program < 0:
            self._program = cell.open_program()
        namespaced = entry.plan.namespaces
        program = self._filters.program(inet=namespaced or entry.plan.network, shares_host=not namespaced)
        template = self._template_for(entry.plan) if namespaced else None
        if program is None or (namespaced and (template is None or not template.ready)):
            return
        order = entry.order = self._order(entry, program, template)
        entry.state = BUILDING
        if self._groups is not None:
            entry.group = self._groups.create(str(entry.number))
        group = entry.group.fd if entry.group else -1
        namespaces = (template.mount_namespace, template.user_namespace) if template else ()
        passed = [fd for fd in (self._program, *namespaces, group) if fd >= 0]
        entry.socket, helper = order.start(passed, at_once=self._attention.raised)
        self._helpers.add(helper)
        self._poll.register(entry.socket, select.POLLIN)

    def _order(self, entry: Cell, program: bytes, template: cell.Template | None) -> cell.Order:
        """Written down once for all cells that differ in nothing. (Slots are used again soonest first.)"""
        plan = entry.plan
        identity = self.identity(plan, entry.slot, template.ids if template else None, on_disk=bool(entry.directory))
        # With the host's network a cell gets the resolv.conf of this moment.
        key = None if plan.network else (plan.key, entry.directory, plan.work_bytes, plan.work_inodes, identity.uid)
        if key in self._orders:
            return self._orders[key]
        build = Build(
            plan,
            identity,
            filter_program=program,
            mount_namespace=template.mount_namespace if template else -1,
            user_namespace=template.user_namespace if template else -1,
            directory=entry.directory,
            hostname=_HOSTNAME,
            familiar=self._familiar,
            system_directories=template.system_directories if template else (),
        )
        order = cell.Order(build, grouped=self._groups is not None)
        if key is not None and not entry.directory and len(self._orders) < ORDERS_MOST:
            self._orders[key] = order  # a directory's name does not come again
        return order

    def _open_groups(self) -> None:
        """Use our cgroup if it was delegated. If it cannot be used there are no controllers, and what they would do is
        reported as missing."""
        try:
            self._groups = cgroup.open_groups()
        except OSError as error:
            sys.stderr.write(f"cgroup is not used: {error.strerror} ({error.filename})\n")

    def _controls(self, controller: str) -> bool:
        return self._groups is not None and controller in self._groups.controllers

    def identity(self, plan: Blueprint, slot: int, ids: int | None, *, on_disk: bool) -> Identity:
        """Of a cell in this slot. ``ids``: its template's, None without one; ``on_disk``: its work directory is on the
        host's disk, where the agent has to remove it."""
        if self._ids == HOST_IDS:
            first = self._first_id + 2 * slot
            return Identity(first, first, first + 1, unique=True, keep_groups=False)
        if ids == ID_RANGE:
            first = FIRST_INSIDE + 2 * slot
            script = OWN_INSIDE if on_disk else first
            return Identity(script, script, first + 1, unique=not on_disk, keep_groups=False)
        uid, gid = (OWN_INSIDE, OWN_INSIDE) if plan.namespaces else (os.geteuid(), os.getegid())
        return Identity(uid, gid, uid, unique=False, keep_groups=self._groups_left)

    def _template_for(self, plan: Blueprint) -> cell.Template | None:
        """The template of a plan, perhaps still in the making; None while all places are taken by such."""
        template = self._templates.pop(plan.key, None)
        if template is None:
            if len(self._templates) >= TEMPLATES_MOST:
                oldest = next((key for key, made in self._templates.items() if made.ready), None)
                if oldest is None:
                    return None
                self._drop_template(oldest)
            template = self._make_template(plan)
        self._templates[plan.key] = template  # the most recently used is last
        return template

    def _make_template(self, plan: Blueprint) -> cell.Template:
        self._orders.clear()
        if self._ids == HOST_IDS:
            of_scripts: tuple[int, ...] = tuple(range(self._first_id, self._first_id + 2 * CELLS_MOST, 2))
        else:
            subordinate = range(FIRST_INSIDE, FIRST_INSIDE + SUBORDINATE_IDS, 2) if self._ids == ID_RANGE else ()
            of_scripts = (OWN_INSIDE, *subordinate)
        template = cell.Template(plan, of_scripts, self._ids, SUBORDINATE_IDS)
        self._helpers.add(template.pid)
        self._poll.register(template.fileno(), select.POLLIN)
        return template

    def _drop_template(self, key: object) -> None:
        template = self._templates.pop(key)
        if template.fileno() >= 0:
            self._poll.unregister(template.fileno())
        template.close()

    def _filters_said(self) -> None:
        fd = self._filters.fileno()
        if self._filters.read():
            self._poll.unregister(fd)
            self._advance_all(lambda _entry: True, self._filters.error)

    def _template_said(self, template: cell.Template) -> None:
        self._poll.unregister(template.fileno())
        error = template.finish()
        if error:
            del self._templates[template.plan.key]
        if template.unmapped and not self._range_seen:
            self._do_without_range(error)
            error = ""  # the cells that wait for it have another one made
        self._range_seen = self._range_seen or (template.ids == ID_RANGE and template.ready)
        self._advance_all(lambda entry: entry.plan.key == template.plan.key, error)
        self._advance_all(lambda _entry: True, "")  # those that found no place for their template

    def _do_without_range(self, why: str) -> None:
        """For the rest of this process's life. An owner who has not given a range is not told: nothing is wrong."""
        news = self._ids == ID_RANGE and why.startswith(id_mapping.REFUSED)
        self._ids = ONE_ID
        try:
            os.write(2, f"cells share the agent's uid: {why}\n".encode("utf-8", "replace") if news else b"")
        except OSError:
            return  # nobody has to listen

    def _advance_all(self, concerns: Callable[[Cell], bool], error: str) -> None:
        for entry in [entry for entry in self._cells.values() if entry.state == WAITING and concerns(entry)]:
            try:
                if error:
                    raise StepError(error)
                self._advance(entry)
            except (OSError, StepError) as failure:
                self._failed(entry, str(failure))

    def _maker_said(self, entry: Cell) -> None:
        """A maker tells twice: what it has made, and by the end-of-file that native/cell took its place."""
        assert entry.socket is not None
        try:
            received = seqpacket.receive(entry.socket, _REASON_MOST + 1)
        except seqpacket.CutMessageError as error:
            self._give_up(entry, error)
            return
        if received is None:
            return
        data, passed = received
        if data[:1] == cell.BORN:
            entry.pid, entry.pidfd = cell.born(data), passed[0]
            if entry.state == ENDING:
                entry.signal(signal.SIGKILL)
            if entry.reaped():
                self.ended(entry.pid)  # it was reaped before anybody knew whose it was
        elif data[:1] == cell.FINISHED:
            entry.handed, entry.kept = passed[: cell.HANDED_OVER], passed[cell.HANDED_OVER :]
        else:
            seqpacket.close_all(passed)
            self._made(entry, entry.order.recipe.failure(data) if data and entry.order is not None else "")

    def _give_up(self, entry: Cell, error: seqpacket.CutMessageError) -> None:
        """We have no descriptor left for what its maker sent. It is ended, now or when it says who it is."""
        if entry.state != ENDING:
            self._tell(CellFailed(entry.number, str(error).encode()), [])
            entry.state = ENDING
        if error.data[:1] == cell.BORN:
            entry.pid = cell.born(error.data)
            if is_child(entry.pid):
                os.kill(entry.pid, signal.SIGKILL)
            else:
                self.ended(entry.pid)
        entry.signal(signal.SIGKILL)

    def _made(self, entry: Cell, failure: str) -> None:
        assert entry.socket is not None
        self._poll.unregister(entry.socket)
        entry.socket.close()
        entry.socket = None
        if entry.state != BUILDING:
            if not entry.pid:
                self._gone(entry)  # killed before its maker was born
            return
        if failure or not entry.handed:
            self._failed(entry, failure or "its maker died")
            return
        entry.place = self._place(entry)  # only now: its helper's word of who it is may come last but for the end
        if len(entry.handed) != cell.HANDED_OVER or entry.place is None:
            self._failed(entry, "its maker did not hand over everything")  # what is missing could not be watched
            return
        entry.state = READY
        entry.order = None
        controllers = [name.encode() for name in sorted(self._groups.controllers)] if self._groups else []
        self._tell(CellReady(entry.number, controllers), [*entry.handed, entry.pidfd])
        seqpacket.close_all(entry.handed)
        entry.handed = []

    def _maker_ended(self, entry: Cell) -> None:
        """A maker is dead before its cell was complete: what it said last is still to be read."""
        for _ in range(LAST_WORDS):
            if entry.socket is not None:
                self._maker_said(entry)
        entry.pid = 0
        if entry.socket is not None:
            self._made(entry, "its maker died")

    def _place(self, entry: Cell) -> Place | None:
        """Where to look at a cell; None: a descriptor is missing or there is one too many."""
        kept, entry.kept = entry.kept, []
        if entry.plan.namespaces and len(kept) == KEPT:
            tmpfs, proc, entry.held = kept
            return Place(entry.pid, proc, tmpfs, own_network=not entry.plan.network)
        seqpacket.close_all(kept)
        return None if entry.plan.namespaces else Place(entry.pid, -1, -1, own_network=False)

    # --- the end ---

    def _failed(self, entry: Cell, reason: str) -> None:
        self._tell(CellFailed(entry.number, reason.encode("utf-8", "replace")[:_REASON_MOST]), [])
        if entry.pid:
            self._kill(entry)
        else:
            self._forget(entry)

    def _kill(self, entry: Cell) -> None:
        """Half-built and at the namespaced levels SIGKILL takes everything along; else the init has to do it."""
        if entry.state == WAITING:
            self._gone(entry)
            return
        tree_is_its_own = entry.plan.namespaces or entry.state == BUILDING
        # Not of one that takes memory: it would go on taking some while it is counted.
        if entry.state == IN_USE and entry.place is not None and not entry.memory_hit:
            with suppress(OSError):  # no descriptor to count with; the kill comes first
                entry.killed = max(0, entry.place.processes.count_running() - FIRST)
        entry.state = ENDING
        if entry.group is not None:
            entry.group.kill()
        entry.signal(signal.SIGKILL if tree_is_its_own else signal.SIGUSR2)

    def _gone(self, entry: Cell) -> None:
        if entry.group is not None:
            with suppress(OSError):  # no descriptor to read it with
                used = entry.group.read()
                entry.memory_peak = max(entry.memory_peak, used.memory_peak or 0)
                entry.memory_hit = entry.memory_hit or bool(used.oom_kills)
        self._forget(entry)
        self._tell(CellGone(entry.number, entry.memory_peak, int(entry.memory_hit), entry.killed), [])

    def _forget(self, entry: Cell) -> None:
        self._gone_plans[entry.number] = entry.plan
        if len(self._gone_plans) > CELLS_MOST:
            del self._gone_plans[next(iter(self._gone_plans))]
        if entry.socket is not None:
            self._poll.unregister(entry.socket)
        entry.close()
        if entry.group is not None:
            self._unremoved.append(entry.group)
        # A group cannot be removed before the kernel has let go of its last process: tried again with the next cell.
        self._unremoved = [group for group in self._unremoved if not group.remove()]
        self._slots.append(entry.slot)
        del self._cells[entry.number]
        self._build_successor(entry)


def familiar_files() -> tuple[str, ...]:
    """What a shell opens before it does anything: this process has the same loader and libc."""
    found = set(_FAMILIAR)
    with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
        for line in maps:
            path = line.rstrip("\n").partition("/")[2]
            if path.rpartition("/")[2].startswith(_FAMILIAR_LIBRARIES):
                found.add(f"/{path}")
    return tuple(found)
