"""The table of docs/crashes.md: one row for each crash point, written by ``test_matrix``."""

from typing import Final

from tests.crashes.points import POINTS
from tests.rigs.evidence import Table

KILLS, FATE, USAGE, LEFT = COLUMNS = ("kills", "what became of the tasks", "usage", "left behind")
CRASHES: Final = Table(
    "crashes",
    "docs/crashes.md",
    "where it is killed",
    tuple(f"{point.process}: {point.name}" for point in POINTS),
    COLUMNS,
)
TABLES: Final = (CRASHES,)
