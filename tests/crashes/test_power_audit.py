"""The power fails while the audit is written: what was synced stays, what is torn is declared, and the chain goes on.

Of records that were not synced the file may hold any part: cut at any byte, with zeros or garbage in their place. The
same is done to what *was* synced, which no disk does that keeps its word: a whole record that is missing at the end
cannot be seen in the file itself (docs/crashes.md), anything else can.
"""

import json
import random
from pathlib import Path
from typing import Final

import pytest

from lattice_agent.audit import TORN_EVENT, AuditLog, history, verify
from tests.crashes import power
from tests.rigs.extent import extent

pytestmark = pytest.mark.sized

CUTS: Final = extent(100, 5000)
RECORDS: Final = 12
RECORD: Final = {"seq", "event", "fields", "prev", "hash"}
"""What every record has."""


def written(path: Path, count: int) -> tuple[bytes, bytes]:
    """The file when its last sync returned, and at the end: so many records were not synced."""
    with AuditLog(path) as log:
        for number in range(RECORDS):
            log.record("task.decided", task_id=f"task-{number}", script_sha256="0" * 64)
        log.sync()
        synced = path.read_bytes()
        for number in range(count):
            log.record("task.ended", task_id=f"task-{number}", kind="exited")
        return synced, path.read_bytes()


def records(path: Path) -> list[dict[str, object]]:
    """Every line that is one; the torn ones are left out, also those of which parts make up JSON again."""
    found = []
    for line in path.read_bytes().split(b"\n"):
        try:
            read = json.loads(line)
        except ValueError:
            continue
        found += [read] if read.keys() >= RECORD else []
    return found


def went_on(path: Path) -> list[dict[str, object]]:
    """The records after a restart that writes one more; the chain holds."""
    with AuditLog(path) as log:
        log.record("task.decided", task_id="after")
    assert verify(history(path)) is None
    found = records(path)
    assert found[-1]["fields"] == {"task_id": "after"}
    return found


def test_what_was_synced_is_there_and_the_rest_whole_or_declared(tmp_path: Path) -> None:
    rng = random.Random("audit")
    path = tmp_path / "audit.log"
    declared = 0
    for number in range(CUTS):
        path.unlink(missing_ok=True)
        synced, whole = written(path, number % 3 + 1)
        path.write_bytes(power.torn(synced, whole, rng))
        found = went_on(path)
        kept = [record["fields"] for record in found[:RECORDS]]
        assert kept == [record["fields"] for record in map(json.loads, synced.splitlines())]
        torn = [record for record in found if record["event"] == TORN_EVENT]
        assert len(torn) <= 1
        declared += len(torn)
        assert len(found) <= RECORDS + number % 3 + 1 + len(torn) + 1
    assert 0 < declared < CUTS


def test_cut_or_overwritten_anywhere_is_declared_or_found_or_ends_between_two_records(tmp_path: Path) -> None:
    rng = random.Random("audit damage")
    path = tmp_path / "audit.log"
    _, whole = written(path, 1)
    found_broken = 0
    for _ in range(CUTS):
        damaged = rng.choice((power.truncated, power.overwritten))(whole, rng)
        path.write_bytes(damaged)
        with AuditLog(path) as log:
            log.record("task.decided", task_id="after")
        broken = verify(history(path))
        found_broken += broken is not None
        if broken is None and damaged != whole[: len(damaged)]:
            assert any(record["event"] == TORN_EVENT for record in records(path))
    assert found_broken > CUTS / 10
