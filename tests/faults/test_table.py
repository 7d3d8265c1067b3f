"""The document has the whole table."""

from tests.faults.table import FAULTS


def test_the_document_has_every_fault_and_no_blank() -> None:
    _, _, *lines = FAULTS.written().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    assert tuple(row[0] for row in cells) == FAULTS.rows
    assert all(len(row) == 1 + len(FAULTS.columns) and all(row) for row in cells)
