"""One change of a module: the place of a node in its syntax tree, and what stands there instead."""

import ast
from dataclasses import dataclass
from typing import Any

LONGEST = 110
"""Characters of code that a change is shown within."""


@dataclass(frozen=True)
class Place:
    """Where a node hangs: in a field of its parent, at ``index`` if that holds a list."""

    parent: ast.AST
    field: str
    index: int | None = None

    def get(self) -> ast.AST:
        value = getattr(self.parent, self.field)
        return value if self.index is None else value[self.index]

    def put(self, node: ast.AST) -> None:
        if self.index is None:
            setattr(self.parent, self.field, node)
        else:
            getattr(self.parent, self.field)[self.index] = node


@dataclass(frozen=True)
class Change:
    """``scope`` is the outermost function that holds it, with its class; or the class, or ``(module)``."""

    place: Place
    new: ast.AST
    scope: str
    is_in_function: bool
    line: int
    text: str
    """Of a scope, each has another: two that read the same are numbered."""

    def apply(self) -> None:
        """Makes it in the tree, for good."""
        self.place.put(self.new)


def changed(node: Any, **fields: Any) -> Any:
    """A copy of a node, with other values in some of its fields; the node's children are shared."""
    values = {name: getattr(node, name) for name in node._fields if hasattr(node, name)}
    return ast.copy_location(type(node)(**values | fields), node)


def shown(place: Place, new: ast.AST, around: list[ast.AST]) -> str:
    """``before => after``, in as much of the code around it as fits on a line.

    ``around``: the node's ancestors within its statement, the innermost first.
    """
    old = place.get()
    before, after = ast.unparse(old), ast.unparse(ast.fix_missing_locations(new))
    for ancestor in around:
        wider = ast.unparse(ancestor)
        if "\n" in wider or len(wider) > LONGEST:
            break
        place.put(new)
        before, after = wider, ast.unparse(ancestor)
        place.put(old)
    return f"{shortened(before)} => {shortened(after)}"


def shortened(code: str) -> str:
    """On one line, and not too long."""
    line = " ".join(code.split())
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"
