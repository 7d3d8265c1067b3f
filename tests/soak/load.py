"""Tasks of all kinds, at a pace, each followed to its end."""

import csv
import random
import time
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import trio

from tests.soak.endings import HEADING, Deaths, faults_of, rows_of
from tests.soak.kinds import KINDS, Kind, script
from tests.soak.operators import AGAIN_S, AwayError, Operators, Refused

MOST_OPEN: Final = 120
"""Tasks; beyond it nothing is ordered until some have ended. The server holds 256 answers back at once."""
ENDS_S: Final = 720.0
"""A task that has not ended by then is counted as lost. A lease whose answer was lost on the wire dies after the task's
timeout and 300 s; then it is handed out again, and that may happen twice."""
AGAIN_ONE_IN: Final = 12
"""Orders that do an ended task again."""
FAULTS_SHOWN: Final = 50


class Load:
    """``watched``: tasks that are worth being looked at, for the viewers. ``ended``: targets."""

    def __init__(self, operators: Operators, nodes: Sequence[str], starts: Path, deaths: Deaths, path: Path) -> None:
        self._operators, self._nodes, self._starts, self._deaths = operators, nodes, starts, deaths
        self._file = path.open("w", newline="")
        self._endings = csv.writer(self._file)
        self._endings.writerow(HEADING)
        self._done: deque[tuple[str, Kind]] = deque(maxlen=30)
        self._began = time.monotonic()
        self.watched: deque[tuple[str, str]] = deque(maxlen=30)
        self.ordered = self.ended = self.open = self.unanswered = self.leased_again = 0
        self.faults: list[str] = []
        self.fault_count = 0
        self.excused: Counter[str] = Counter()

    def __enter__(self) -> "Load":
        return self

    def __exit__(self, _kind: type[BaseException] | None, _value: object, _trace: TracebackType | None) -> None:
        self._file.close()

    def fault(self, sentence: str) -> None:
        """Notes something that must not happen; of very many the first are kept."""
        self.fault_count += 1
        if len(self.faults) < FAULTS_SHOWN:
            self.faults.append(sentence)

    async def run(self, chance: random.Random, per_s: float, seconds: float) -> None:
        """Orders for so long, then waits until every task has ended."""
        weights = [kind.weight for kind in KINDS]
        async with trio.open_nursery() as nursery:
            with trio.move_on_after(seconds):
                while True:
                    await trio.sleep(chance.expovariate(per_s))
                    (kind,) = chance.choices(KINDS, weights)
                    again = self._done and chance.randrange(AGAIN_ONE_IN) == 0
                    nodes = chance.sample(self._nodes, min(kind.nodes, len(self._nodes)))
                    cancel_after_s = chance.uniform(0.2, 3.0)
                    if self.open < MOST_OPEN:
                        order = self._again if again else self._new
                        nursery.start_soon(order, kind, nodes, cancel_after_s)

    async def _new(self, kind: Kind, nodes: Sequence[str], cancel_after_s: float) -> None:
        limits = {"timeout_sec": kind.timeout_s, "output_limit": kind.output_limit}
        text = script(kind, self._starts)
        body = {"nodes": list(nodes), "interpreter": kind.interpreter, "script": text, **limits}
        await self._order("tasks", body, kind, cancel_after_s)

    async def _again(self, _kind: Kind, _nodes: Sequence[str], cancel_after_s: float) -> None:
        task_id, kind = self._done[0]
        self._done.rotate(-1)
        await self._order(f"tasks/{task_id}/rerun", {"only": "all"}, kind, cancel_after_s)

    async def _order(self, path: str, body: dict[str, Any], kind: Kind, cancel_after_s: float) -> None:
        """An order without an answer may have been taken. Its task is then nobody's, but its starts are counted."""
        self.open += 1
        try:
            since = time.monotonic()
            try:
                task = (await self._operators.ask("POST", path, body))["task"]
            except AwayError:
                self.unanswered += 1
                return
            except Refused as refusal:
                self.fault(f"{kind.name}: not taken: {refusal}")
                return
            self.ordered += 1
            if kind.watched:
                self.watched.append((task["id"], task["nodes"][0]))
            async with trio.open_nursery() as nursery:
                if kind.cancelled:
                    nursery.start_soon(self._cancel, task["id"], cancel_after_s)
                await self._follow(task["id"], kind, since)
                nursery.cancel_scope.cancel()
        finally:
            self.open -= 1

    async def _cancel(self, task_id: str, after_s: float) -> None:
        """Once it is running, so that there is something to be ended, or at once if it waits for long."""
        await trio.sleep(after_s)
        with suppress(Refused):  # it has ended: then its outcome says how
            await self._operators.surely("POST", f"tasks/{task_id}/cancel", {})

    async def _follow(self, task_id: str, kind: Kind, since: float) -> None:
        try:
            task = await self._operators.ended(task_id, ENDS_S)
        except Refused as refusal:
            self.fault(f"{kind.name} {task_id}: cannot be seen: {refusal}")
            return
        now = time.monotonic()
        if task is None:
            self.fault(f"{kind.name} {task_id}: has not ended after {now - since:.0f} s")
            return
        for sentence in faults_of(kind, task, lambda node: self._deaths.within(node, since, now)):
            self.fault(f"{kind.name} {task_id}: {sentence}")
        rows = rows_of(now - self._began, kind, task, now - since)
        self._endings.writerows(rows)
        self.ended += len(rows)
        for target in task["targets"]:
            self.leased_again += target["attempts"] > 1
            if target["outcome"] != kind.outcome:
                self.excused[target["outcome"]] += 1
        self._done.append((task_id, kind))

    async def wait_all_ended(self) -> None:
        """Returns when nothing is open."""
        while self.open:  # noqa: ASYNC110
            await trio.sleep(AGAIN_S)

    def flush(self) -> None:
        """So that the endings can be read."""
        self._file.flush()
