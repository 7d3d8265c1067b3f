"""What is seen of each fault: the table of docs/faults.md. Tests note, ``make tables`` writes."""

from typing import Final

from tests.rigs.evidence import Table

DURING, AFTER, PLANE = "agent during", "after", "control plane"

ROWS: Final = (
    "disk full",
    "read-only state directory",
    "inode exhaustion",
    "EMFILE",
    "EMFILE of the spawner",
    "ENOMEM on fork",
    "/tmp noexec",
    "no cgroup delegation",
    "user namespaces forbidden",
    "/proc hidden",
    "clock at 1970",
    "DNS gone",
    "certificate changed",
    "certificate expired",
    "slow-loris",
    "1 byte at a time",
    "answer after 29 s",
    "gzip bomb",
)

FAULTS: Final = Table(
    name="faults",
    document="docs/faults.md",
    heading="fault",
    rows=ROWS,
    columns=(DURING, AFTER, PLANE),
)
TABLES: Final = (FAULTS,)


def note(row: str, *, during: str = "", after: str = "", plane: str = "") -> None:
    """Notes what is given."""
    for column, seen in ((DURING, during), (AFTER, after), (PLANE, plane)):
        if seen:
            FAULTS.note(row, column, seen)


def apart(row: str, why: str) -> None:
    """The control plane has no part in this fault, for this reason."""
    note(row, plane=f"— ({why})")
