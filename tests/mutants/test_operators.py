"""Which changes are made of a piece of code, and that they change what they say."""

import ast

import pytest

from tests.mutants.walk import changes_of

IN_A_FUNCTION = {
    "return a < b": {"return a <= b", "return a >= b", "return None"},
    "return 0 < a == b": {
        *("return 0 <= a == b", "return 0 >= a == b", "return 0 < a != b", "return None"),
        *("return 1 < a == b", "return -1 < a == b"),
    },
    "return a in b": {"return a not in b", "return None"},
    "return a and (not b)": {"return a or not b", "return a and b", "return None"},
    "return a + b % 2": {
        *("return a - b % 2", "return a + b // 2", "return a + b % 3", "return a + b % 1", "return None"),
    },
    "return a + 2 * 3 * -1": {"return a - 2 * 3 * -1", "return a + -5", "return a + -7", "return None"},
    "return min(a, b)": {"return max(a, b)", "return None"},
    "return f(a, b=b, hint='x')": {"f(...) without b=b", "return None"},
    "return ''": {"return '~'"},
    "return True": {"return False", "return None"},
    "return b'x'": {"return b'~'", "return None"},
    "return f'{a}: {b + 1:5}'": {
        *("return '~'", "return f'{a}: {b - 1:5}'", "return f'{a}: {b + 2:5}'", "return f'{a}: {b + 0:5}'"),
        "return None",
    },
    "return {a: b}": {"without a: b", "return None"},
    "return a in {a}": {"return a not in {a}", "without element a", "return None"},
    "return a in (a, b)": {"return a not in (a, b)", "without element a", "without element b", "return None"},
    "return (a, b)": {"return None"},
    "return a if b else c": {"return a if True else c", "return a if False else c", "return None"},
    "return [a for a in b if a]": {
        *("return [a for a in b if True]", "return [a for a in b if False]", "return None"),
    },
    "if a:\n    raise ValueError(a)": {"True", "False", "without raise ValueError(a)"},
    "while a:\n    break": {"False", "without break"},
    "a = b": {"without a = b"},
    "new = b": set(),
    "new = b\nnew = a": {"without new = a"},
    "a.x = b": {"without a.x = b"},
    "a += b": {"without a += b", "a -= b"},
    "f(a)": {"without f(a)"},
    "match a:\n    case b.x | b.y:\n        f()\n    case _ if b:\n        g()": {
        *("without case b.x | b.y", "without case _ if b", "True", "False", "without f()", "without g()"),
        *("without pattern b.x of b.x | b.y", "without pattern b.y of b.x | b.y"),
    },
    "assert a < b": set(),
}
"""A body, and what becomes of it."""


@pytest.mark.parametrize("body", IN_A_FUNCTION)
def test_what_is_made_of_a_function(body: str) -> None:
    indented = body.replace("\n", "\n    ")
    tree = ast.parse(f"def f(a, b):\n    {indented}")
    texts = [change.text for change in changes_of(tree)]
    assert {text.rpartition(" => ")[2] for text in texts} == IN_A_FUNCTION[body]
    assert len(set(texts)) == len(texts)


IN_A_MODULE = {
    "LIMIT: Final = 3": {"LIMIT: Final = 4", "LIMIT: Final = 2"},
    "NAMES = ('a', ('b', 'c'))": {
        *("without element 'a'", "without element ('b', 'c')", "NAMES = ('~', ('b', 'c'))"),
        *("NAMES = ('a', ('~', 'c'))", "NAMES = ('a', ('b', '~'))"),
    },
    '"""Words."""\n__all__ = ["f"]\nKind = int | None': {"Kind = int & None"},
    "@dataclass(frozen=True)\nclass A:\n    x: 'int' = 0\n    '''Words.'''": {"x: 'int' = 1", "x: 'int' = -1"},
    "def f(a: 'x', b=False) -> 'y':\n    '''Words.'''": {"a: 'x', b=True"},
    "class A:\n    def __repr__(self):\n        return 'A'": set(),
    "if TYPE_CHECKING:\n    f(a=1)": set(),
}


@pytest.mark.parametrize("source", IN_A_MODULE)
def test_what_is_made_of_a_module(source: str) -> None:
    changes = changes_of(ast.parse(source))
    assert {change.text.rpartition(" => ")[2] for change in changes} == IN_A_MODULE[source]


def test_the_tree_is_as_it_was_until_a_change_is_applied() -> None:
    source = "def f(a):\n    return a + 1"
    tree = ast.parse(source)
    (change,) = [change for change in changes_of(tree) if "a - 1" in change.text]
    assert ast.unparse(tree) == source
    change.apply()
    assert ast.unparse(tree) == "def f(a):\n    return a - 1"


def test_a_change_is_named_by_its_place_and_of_two_that_read_the_same_the_second_is_numbered() -> None:
    source = "class A:\n    def f(self):\n        def g():\n            self.x = 1\n        self.x = 1"
    removals = [change for change in changes_of(ast.parse(source)) if change.text.startswith("without")]
    assert [(change.scope, change.line, change.text) for change in removals] == [
        ("A.f", 4, "without self.x = 1"),
        ("A.f", 5, "without self.x = 1 #2"),
    ]
