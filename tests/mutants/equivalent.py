"""Changes that change nothing that anybody could see, found by hand: no test can kill them, so none has to.

``equivalent.txt`` has a block for each, with a blank line between: path and scope, the change as it is reported, and
why it makes no difference. One that no module has any more is an error, so that the list cannot outlive the code.
"""

import ast
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from tests.mutants.subjects import Subject
from tests.mutants.walk import changes_of

LIST: Final = Path(__file__).with_name("equivalent.txt")
Key = tuple[str, str, str]


def reasons(text: str) -> dict[Key, str]:
    """By path, scope and change. ValueError for a block that is not one, or comes twice."""
    found: dict[Key, str] = {}
    for block in filter(None, (part.strip() for part in text.split("\n\n"))):
        place, change, *reason = block.splitlines()
        path, _, scope = place.partition(" ")
        if not (scope and reason) or (path, scope, change) in found:
            raise ValueError(f"not a block of path and scope, change, reason, or not the first: {block!r}")
        found[path, scope, change] = " ".join(line.strip() for line in reason)
    return found


def unmatched(keys: Iterable[Key], subjects: Iterable[Subject]) -> set[Key]:
    """Those that are no change of any of these modules."""
    listed = set(keys)
    paths = {path for path, _, _ in listed}
    changes = {
        (subject.path, change.scope, change.text)
        for subject in subjects
        if subject.path in paths
        for change in changes_of(ast.parse(subject.source()))
    }
    return listed - changes
