"""What is measured: single numbers with a time, written as they come. A soak of days needs no more memory than one of
minutes.

A row is (seconds since the start, who, which of its lives, what, number).
"""

import csv
import os
import sqlite3
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from types import TracebackType
from typing import Final

from tests.soak.plant import Agent, Server

HEADING: Final = ("at_s", "who", "life", "what", "value")
_BUSY_S: Final = 0.5
"""How long a look into a database waits for its owner; then this sample lacks it."""
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_ROLLUP: Final = {"Pss:": "pss_kib", "Pss_Anon:": "heap_kib", "Rss:": "rss_kib"}
_JOURNAL: Final = "SELECT count(*), coalesce(sum(phase = 'finished'), 0), coalesce(sum(result_bytes), 0) FROM task"
_TARGETS: Final = "SELECT count(*) FROM target"

Numbers = Mapping[str, float]
Lives = dict[int, list[tuple[float, float]]]
"""Points (seconds, value) of each life."""


class SampleFile:
    """Rows are on disk when ``add`` returns but for a few kilobytes."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", newline="")
        self._writer = csv.writer(self._file)
        self._writer.writerow(HEADING)
        self._began = time.monotonic()

    def __enter__(self) -> "SampleFile":
        return self

    def __exit__(self, _kind: type[BaseException] | None, _value: object, _trace: TracebackType | None) -> None:
        self._file.close()

    @property
    def now(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._began

    def add(self, who: str, life: int, numbers: Numbers) -> None:
        at = f"{self.now:.2f}"
        self._writer.writerows((at, who, life, what, f"{value:.10g}") for what, value in numbers.items())


def read_samples(path: Path) -> dict[tuple[str, str], Lives]:
    """By who and what."""
    found: dict[tuple[str, str], Lives] = defaultdict(lambda: defaultdict(list))
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            found[row["who"], row["what"]][int(row["life"])].append((float(row["at_s"]), float(row["value"])))
    return {key: dict(lives) for key, lives in found.items()}


# --- what a process uses ---------------------------------------------------------------------------------------------


def process_numbers(pid: int | None) -> dict[str, float]:
    """Nothing of a process that has gone."""
    if pid is None:
        return {}
    try:
        place = Path(f"/proc/{pid}")
        numbers = dict(_memory(place))
        numbers["fds"] = len(os.listdir(place / "fd"))
        fields = (place / "stat").read_text().rpartition(")")[2].split()
        numbers["threads"] = int(fields[17])
        numbers["cpu_s"] = (int(fields[11]) + int(fields[12])) / _TICKS
        numbers["children"] = len((place / f"task/{pid}/children").read_text().split())
    except (OSError, IndexError):
        return {}
    return numbers


def _memory(place: Path) -> Iterator[tuple[str, float]]:
    for line in (place / "smaps_rollup").read_text().splitlines():
        name, value, *_ = [*line.split(), ""]
        if name in _ROLLUP:
            yield _ROLLUP[name], float(value)


# --- what lies on disk -----------------------------------------------------------------------------------------------


def server_numbers(server: Server, database: Path) -> dict[str, float]:
    return process_numbers(server.pid) | database_numbers(database, {"targets": _TARGETS})


def agent_numbers(agent: Agent) -> dict[str, float]:
    site = agent.site
    numbers = process_numbers(agent.pid)
    numbers |= database_numbers(site.state / "state.db", {"journal_rows unsent journal_bytes": _JOURNAL})
    numbers["audit_bytes"] = sum(path.stat().st_size for path in site.state.glob("audit.log*"))
    numbers["work_directories"] = len(site.work_directories())
    return numbers


def database_numbers(path: Path, questions: Mapping[str, str]) -> dict[str, float]:
    """``used_bytes`` are pages that hold something. A question is named by its columns."""
    numbers = {"file_bytes": _size(path), "wal_bytes": _size(Path(f"{path}-wal"))}
    with suppress(sqlite3.OperationalError):  # busy, or not made yet
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=_BUSY_S)) as database:
            page, pages, free = (
                database.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("page_size", "page_count", "freelist_count")
            )
            numbers["used_bytes"] = page * (pages - free)
            for names, question in questions.items():
                numbers |= zip(names.split(), map(float, database.execute(question).fetchone()), strict=True)
    return numbers


def _size(path: Path) -> float:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
