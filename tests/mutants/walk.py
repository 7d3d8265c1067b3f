"""Finds every change of a module: walks its syntax tree and asks ``operators`` at each node."""

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from tests.mutants.change import Change, Place, shown
from tests.mutants.operators import alternatives, is_number

SKIPPED_FIELDS = {"annotation", "returns", "decorator_list", "targets", "target", "ctx", "type_comment", "format_spec"}
Function = ast.FunctionDef | ast.AsyncFunctionDef


def changes_of(tree: ast.Module) -> list[Change]:
    """Every change of this tree, in the order of its nodes; the tree stays as it is."""
    numbered: list[Change] = []
    seen: Counter[tuple[str, str]] = Counter()
    for change in _Walk().module(tree):
        seen[change.scope, change.text] += 1
        nth = seen[change.scope, change.text]
        numbered.append(change if nth == 1 else replace(change, text=f"{change.text} #{nth}"))
    return numbered


class _Walk:
    def __init__(self) -> None:
        self._scope: list[str] = []
        self._function: Function | None = None
        """The outermost one that the walk is in."""
        self._around: list[ast.AST] = []
        """Ancestors of the node within its statement, and that, the innermost last."""

    def module(self, tree: ast.Module) -> Iterator[Change]:
        yield from self._children(tree)

    def _children(self, node: ast.AST) -> Iterator[Change]:
        for field, value in ast.iter_fields(node):
            if field in SKIPPED_FIELDS:
                continue
            if isinstance(value, ast.AST):
                yield from self._visit(value, Place(node, field))
            elif isinstance(value, list):
                for index, item in enumerate(value):
                    if isinstance(item, ast.AST):
                        yield from self._visit(item, Place(node, field, index))

    def _visit(self, node: ast.AST, place: Place) -> Iterator[Change]:
        if _is_left_alone(node, place):
            return
        for new, text in self._alternatives(node, place):
            line = getattr(new, "lineno", None) or getattr(node, "lineno", 0)
            text = text or shown(place, new, self._nearest_first(node))
            yield Change(place, new, self._name(), self._function is not None, line, text)
        if not is_number(node):
            yield from self._below(node)

    def _alternatives(self, node: ast.AST, place: Place) -> Iterator[tuple[ast.AST, str]]:
        yield from alternatives(node, place.parent, place.field)
        if self._function is not None and _can_go(node, self._function):
            yield ast.copy_location(ast.Pass(), node), f"without {shown(place, ast.Pass(), []).partition(' => ')[0]}"

    def _below(self, node: ast.AST) -> Iterator[Change]:
        if isinstance(node, Function | ast.ClassDef) and self._function is None:
            self._scope.append(node.name)
            self._function = node if isinstance(node, Function) else None
            yield from self._children(node)
            self._function = None
            self._scope.pop()
            return
        outside = self._around
        self._around = [node] if isinstance(node, ast.stmt) else [*outside, node]
        yield from self._children(node)
        self._around = outside

    def _name(self) -> str:
        return ".".join(self._scope) or "(module)"

    def _nearest_first(self, node: ast.AST) -> list[ast.AST]:
        return [] if isinstance(node, ast.stmt) else self._around[::-1]


def _is_left_alone(node: ast.AST, place: Place) -> bool:
    match node:
        case ast.Expr(value=ast.Constant()) | ast.Assert() | ast.Import() | ast.ImportFrom():
            return True
        case ast.FunctionDef(name="__repr__") | ast.keyword(arg="hint"):
            return True
        case ast.If(test=ast.Name(id="TYPE_CHECKING")) | ast.Assign(targets=[ast.Name(id="__all__")]):
            return True
    return isinstance(place.parent, ast.JoinedStr) and isinstance(node, ast.Constant)


def _can_go(node: ast.AST, function: Function) -> bool:
    """Whether the function is still one without this statement."""
    match node:
        case ast.Expr(value=ast.Call()) | ast.Raise() | ast.AugAssign() | ast.Continue() | ast.Break():
            return True
        case ast.Assign(targets=[target]):
            return not isinstance(target, ast.Tuple) and not _is_first(target, function)
    return False


def _is_first(target: ast.expr, function: Function) -> bool:
    """Whether nothing before it in the function gives this name a value."""
    if not isinstance(target, ast.Name):
        return False
    every = [node for node in ast.walk(function) if isinstance(node, ast.arg | ast.Name | ast.Nonlocal)]
    return not any(_binds(node, target.id) and node.lineno < target.lineno for node in every)


def _binds(node: ast.AST, name: str) -> bool:
    match node:
        case ast.arg():
            return node.arg == name
        case ast.Name(ctx=ast.Store()):
            return node.id == name
        case ast.Nonlocal():
            return name in node.names
    return False
