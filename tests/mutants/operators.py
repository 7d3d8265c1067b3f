"""Which changes are made: for each kind of node, what could stand in its place by mistake.

Left alone is what no test could or should see: docstrings, annotations, decorators (``frozen=True`` forbids, it does
not do), assertions to the type checker, hints, ``__repr__`` and ``__all__``; and what would only be a NameError, as a
module without one of its constants, or a function without the first assignment to a name.
"""

import ast
from collections.abc import Iterator
from typing import Any, Final

from tests.mutants.change import changed, shortened

Alternative = tuple[ast.AST, str]
"""What stands there instead, and how to say it ("" for: as the code before and after)."""

COMPARISONS: Final[dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
ARITHMETIC: Final[dict[type[ast.operator], type[ast.operator]]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
OPPOSITES: Final = {"min": "max", "max": "min", "any": "all", "all": "any"}
OTHER_TEXT: Final = "~"
"""Any text becomes this one: a test that asserts any part of it notices."""


def alternatives(node: ast.AST, parent: ast.AST, field: str) -> Iterator[Alternative]:
    """What could stand in the place of this node, which is that field of its parent (or in that list)."""
    yield from _of_kind(node, parent)
    if field in ("test", "guard", "ifs") and not isinstance(node, ast.Constant):
        outcomes = (False,) if isinstance(parent, ast.While) else (True, False)
        yield from ((ast.copy_location(ast.Constant(value), node), "") for value in outcomes)


def _of_kind(node: ast.AST, parent: ast.AST) -> Iterator[Alternative]:
    if is_number(node):
        yield from _numbers(node)
        return
    match node:
        case ast.Constant():
            yield from _constant(node)
        case ast.JoinedStr():
            yield changed(ast.Constant(OTHER_TEXT), lineno=node.lineno), ""
        case ast.Compare():
            yield from _comparison(node)
        case ast.BoolOp():
            yield changed(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And()), ""
        case ast.UnaryOp(op=ast.Not()):
            yield node.operand, ""
        case ast.BinOp() | ast.AugAssign() if type(node.op) in ARITHMETIC:
            yield changed(node, op=ARITHMETIC[type(node.op)]()), ""
        case ast.Call():
            yield from _call(node)
        case ast.Return(value=ast.expr() as value) if not _is_nothing(value):
            yield changed(node, value=ast.Constant(None)), ""
        case ast.Dict() | ast.Set() | ast.List() | ast.Tuple():
            yield from _elements(node, parent)
        case ast.Match() | ast.MatchOr():
            yield from _patterns(node)


def is_number(node: ast.AST) -> bool:
    """A number, or a computation of nothing but numbers, which is one as well: ``64 * 1024``."""
    match node:
        case ast.Constant(value=int() | float() as value):
            return not isinstance(value, bool)
        case ast.BinOp():
            return is_number(node.left) and is_number(node.right)
        case ast.UnaryOp(op=ast.USub()):
            return is_number(node.operand)
    return False


def _numbers(node: Any) -> Iterator[Alternative]:
    value = eval(compile(ast.Expression(node), "number", "eval"), {"__builtins__": {}})
    for other in (value + 1, value - 1):
        yield ast.copy_location(ast.Constant(other), node), ""


def _constant(node: ast.Constant) -> Iterator[Alternative]:
    match node.value:
        case bool():
            yield changed(node, value=not node.value), ""
        case str():
            yield changed(node, value=OTHER_TEXT), ""
        case bytes():
            yield changed(node, value=OTHER_TEXT.encode()), ""


def _comparison(node: ast.Compare) -> Iterator[Alternative]:
    for index, operator in enumerate(node.ops):
        for other in COMPARISONS[type(operator)]:
            yield changed(node, ops=[*node.ops[:index], other(), *node.ops[index + 1 :]]), ""


def _call(node: ast.Call) -> Iterator[Alternative]:
    if isinstance(node.func, ast.Name) and node.func.id in OPPOSITES:
        yield changed(node, func=changed(node.func, id=OPPOSITES[node.func.id])), ""
    for keyword in node.keywords:
        if keyword.arg not in (None, "hint"):
            others = [other for other in node.keywords if other is not keyword]
            yield changed(node, keywords=others), f"{ast.unparse(node.func)}(...) without {_code(keyword)}"


def _is_nothing(value: ast.expr) -> bool:
    """Whether it is false as None is: callers that only ask whether there is something cannot tell them apart."""
    match value:
        case ast.Constant():
            return not value.value
        case ast.Tuple() | ast.List():
            return not value.elts
    return False


def _elements(node: ast.AST, parent: ast.AST) -> Iterator[Alternative]:
    if isinstance(node, ast.Dict):
        for index, (key, value) in enumerate(zip(node.keys, node.values, strict=True)):
            less = changed(node, keys=_without(node.keys, index), values=_without(node.values, index))
            yield less, f"without {_code(key) if key else '**'}: {_code(value)}"
    elif isinstance(node, ast.Set | ast.List) or _is_collection(node, parent):
        for index, element in enumerate(node.elts):
            less = changed(node, elts=_without(node.elts, index))
            # An empty set has no display of its own; {*()} is one.
            if isinstance(node, ast.Set) and not less.elts:
                less = changed(node, elts=[ast.Starred(ast.Tuple([], ast.Load()), ast.Load())])
            yield less, f"without element {_code(element)}"


def _is_collection(node: ast.AST, parent: ast.AST) -> bool:
    """Whether a tuple holds any number of things, and not one for each of its places."""
    match parent:
        case ast.Compare() | ast.For() | ast.comprehension() | ast.Starred():
            return True
        case ast.AnnAssign() | ast.Assign(targets=[ast.Name()]):
            return node is parent.value
    return False


def _patterns(node: ast.Match | ast.MatchOr) -> Iterator[Alternative]:
    if isinstance(node, ast.Match):
        for index, case in enumerate(node.cases):
            if len(node.cases) > 1:
                text = f"without case {_code(case.pattern)}" + (f" if {_code(case.guard)}" if case.guard else "")
                yield changed(node, cases=_without(node.cases, index)), text
        return
    for index, pattern in enumerate(node.patterns):
        rest = _without(node.patterns, index)
        less = changed(node, patterns=rest) if len(rest) > 1 else rest[0]
        yield less, f"without pattern {_code(pattern)} of {_code(node)}"


def _without(items: list[Any], index: int) -> list[Any]:
    return [*items[:index], *items[index + 1 :]]


def _code(node: ast.AST) -> str:
    return shortened(ast.unparse(node))
