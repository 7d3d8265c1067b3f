"""Ends a process by SIGKILL at a named place of the production code: an import hook that compiles the place in.

Production source knows nothing of it. A test's own program calls ``install`` before it imports the modules; they are
then compiled from their source with ``passing(NAME)`` put before or after the statement that a point names. That costs
one look for a file: only a *fuse* that names the point, laid by a test, makes it end the process, at the n-th passing.
The fuse burns up with it, so whatever is started in its place goes on.

Standard library only: the spawner installs it too, a bare interpreter without site packages.
"""

from __future__ import annotations

import ast
import contextlib
import os
import signal
import sys
import types
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from typing import Any

PASSING = "_passing_a_crash_point"
"""What the place is called by in the module that it is compiled into."""
BEFORE, AFTER = "before", "after"


class AnchorError(Exception):
    """The statement that a point names is not there, or not only once: the source has changed."""


@dataclass(frozen=True)
class Place:
    """One statement of a module. ``anchor``: its exact source text, without indentation; of a statement with a block
    the first line. ``side``: ``before`` or ``after``; after a ``return`` is when its value is there."""

    name: str
    module: str
    anchor: str
    side: str


# --- compiling in ----------------------------------------------------------------------------------------------------


def compiled(source: bytes, path: str, places: Sequence[Place]) -> types.CodeType:
    """The module's code with its places. Raises AnchorError."""
    tree = ast.parse(source, path)
    lines = source.splitlines(keepends=True)
    statements = [(block, node) for block in _blocks(tree) for node in block]
    found = [(place, *_find(place, statements, lines)) for place in places]
    for place, block, statement in found:
        at = block.index(statement)
        block[at : at + 1] = _with_call(statement, place)
    ast.fix_missing_locations(tree)
    return compile(tree, path, "exec", dont_inherit=True)


Statements = Sequence[tuple[list[ast.stmt], ast.stmt]]
"""Each with the block that it is in."""


def _find(place: Place, statements: Statements, lines: Sequence[bytes]) -> tuple[list[ast.stmt], ast.stmt]:
    anchor = place.anchor.encode()
    found = [(block, node) for block, node in statements if _text_of(node, lines) == anchor]
    if len(found) != 1:
        raise AnchorError(f"{place.name}: {place.module} has {len(found)} statements {place.anchor!r}")
    return found[0]


def _with_call(statement: ast.stmt, place: Place) -> list[ast.stmt]:
    call = ast.parse(f"{PASSING}({place.name!r})").body[0]
    if place.side == BEFORE:
        return [call, statement]
    if isinstance(statement, ast.Return) and statement.value is not None:
        kept = ast.Name("_kept_by_a_crash_point", ast.Store())
        return [
            ast.Assign([kept], statement.value),
            call,
            ast.Return(ast.Name(kept.id, ast.Load())),
        ]
    if isinstance(statement, ast.Return | ast.Raise | ast.Continue | ast.Break):
        raise AnchorError(f"{place.name}: nothing comes after {place.anchor!r}")
    return [statement, call]


def _blocks(tree: ast.Module) -> list[list[ast.stmt]]:
    """Every list of statements in the module."""
    found = []
    for node in ast.walk(tree):
        for field in ("body", "orelse", "finalbody"):
            block = getattr(node, field, None)
            if isinstance(block, list):
                found.append(block)
    return found


def _text_of(node: ast.stmt, lines: Sequence[bytes]) -> bytes:
    """Its source (``ast.get_source_segment`` splits the module anew for each); its first line if it has a block."""
    first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
    if hasattr(node, "body"):
        return lines[first][node.col_offset :].rstrip()
    if first == last:
        return lines[first][node.col_offset : node.end_col_offset]
    return b"".join((lines[first][node.col_offset :], *lines[first + 1 : last], lines[last][: node.end_col_offset]))


# --- the import hook -------------------------------------------------------------------------------------------------


class _Loader(SourceFileLoader):
    """From the source, always: a compiled file of the import cache has no places, and must not get any."""

    def __init__(self, name: str, path: str, places: Sequence[Place], passing: object) -> None:
        super().__init__(name, path)
        self._places = places
        self._passing = passing

    def get_code(self, fullname: str) -> types.CodeType:
        path = self.get_filename(fullname)
        return compiled(self.get_data(path), path, self._places)

    def exec_module(self, module: types.ModuleType) -> None:
        setattr(module, PASSING, self._passing)
        super().exec_module(module)


class _Finder(MetaPathFinder):
    def __init__(self, places: Sequence[Place], passing: object) -> None:
        self._places = places
        self._passing = passing

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        here = [place for place in self._places if place.module == fullname]
        spec = PathFinder.find_spec(fullname, path) if here else None
        if spec is None or spec.origin is None:
            return None
        spec.loader = _Loader(fullname, spec.origin, here, self._passing)
        return spec


def install(places: Sequence[Place], fuse: Path) -> None:
    """Compile these places into their modules from now on; ``fuse`` is the file that is looked for."""
    late = sorted({place.module for place in places} & sys.modules.keys())
    if late:
        raise ImportError(f"imported before the crash points: {', '.join(late)}")
    sys.meta_path.insert(0, _Finder(places, Fuse(fuse).passing))


# --- the fuse --------------------------------------------------------------------------------------------------------


class Fuse:
    """A file that says at which point, and at the how manieth passing in one process, that process ends."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._laid = ""
        self._passed = 0

    def lay(self, name: str, number: int = 1) -> None:
        """In one step: whoever looks sees all of it."""
        new = self.path.with_name(f"{self.path.name}.new")
        new.write_text(f"{number} {os.urandom(8).hex()} {name}")
        new.replace(self.path)

    @property
    def lies(self) -> bool:
        """Whether it still waits for its process."""
        return self.path.exists()

    def take_away(self) -> None:
        """If it is still there."""
        self.path.unlink(missing_ok=True)

    def passing(self, name: str) -> None:
        """Called at every point: the end of the process if the fuse says so."""
        try:
            laid = self.path.read_text()
        except OSError:
            return
        number, _, wanted = laid.split(" ", 2)
        if wanted != name:
            return
        if laid != self._laid:
            self._laid, self._passed = laid, 0
        self._passed += 1
        if self._passed >= int(number):
            # Whoever takes it away is the one that dies: a fork that comes by at the same moment lives.
            with contextlib.suppress(FileNotFoundError):
                self.path.unlink()
                os.kill(os.getpid(), signal.SIGKILL)
