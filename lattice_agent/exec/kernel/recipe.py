"""System calls that are written down here and made by another process: the recipe that native/maker.c carries out.

A process in the making needs a hundred system calls; a fork of a Python interpreter that makes them costs more than
the calls. So whoever wants them made calls ``Recipe.call`` with the words of ``libc.call``, and the functions of this
package that take a ``call`` serve both: they do a thing, or write it down.

What a call will return is known only there. Its stand-in here is a ``Later``, which may be an argument of later calls.

The bytes, all in this machine's order (struct head, struct operation)::

    head        magic, number of operations, bytes of data, 0
    operations  number of the call, place of the result, skip on error, skip on success, 4 tolerated errors,
                kinds of 6 arguments, 0, 6 arguments
    data        what arguments point to; each piece begins at a multiple of 8
"""

from __future__ import annotations

import errno
import os
import struct

from lattice_agent.exec.kernel import libc

RECIPE_MOST = 65536
"""Bytes that native/maker.c takes."""
PASSED_MOST = 8
ANY_ERROR = 0xFFFF
INTO_CGROUP = 0x2_0000_0000
"""CLONE_INTO_CGROUP."""

_MAGIC = 0x4C43_454C
_HEAD = struct.Struct("=4I")
_OPERATION = struct.Struct("=iHBB4H6B2x6Q")
_FAILURE = struct.Struct("=4sII")
_PLACES_MOST = 1024
_VALUE, _DATA, _RESULT, _RESULT_ADDRESS = range(4)
_BORN_AGAIN, _STORE_INT, _STORE_WORD, _HAND_OVER = -1, -2, -3, -4
_WORD = 2**64 - 1


class Later(int):
    """What a call will return, mostly a descriptor; here it is only the number of the place where it will be."""

    __slots__ = ()


class _Data:
    """An argument that points to data."""

    __slots__ = ("at",)

    def __init__(self, at: int) -> None:
        self.at = at


class _Address:
    """An argument that points to the place of a result."""

    __slots__ = ("place",)

    def __init__(self, place: int) -> None:
        self.place = place


class Recipe:
    """One recipe in the making; ``to_bytes`` is what goes to the maker, with as many descriptors as ``passed`` says."""

    def __init__(self) -> None:
        self.passed = 0
        self._operations: list[bytes] = []
        self._data = bytearray()
        self._about: list[tuple[str, str]] = []
        """For each operation the step that wanted it, and what it is about."""
        self._step = ""
        self._places = PASSED_MOST

    def begin(self, step: str) -> None:
        """What follows is for this step."""
        self._step = step

    def pass_on(self) -> Later:
        """The next descriptor that will be sent with the recipe, as the maker will have it."""
        self.passed += 1
        return Later(self.passed - 1)

    def call(self, name: str, *arguments: libc.Argument, tolerate: tuple[int, ...] = ()) -> int:
        """A system call, as ``libc.call`` makes it; what it will return."""
        return self.attempt(name, *arguments, tolerate=tolerate)

    def attempt(
        self,
        name: str,
        *arguments: libc.Argument | _Address,
        tolerate: tuple[int, ...] = (),
        skip_on_error: int = 0,
        skip_on_success: int = 0,
    ) -> Later:
        """A call after whose success, or error if it is a tolerated one, so many of the next operations are left out.

        The result of a call that failed or was left out is 0.
        """
        number = libc.NUMBERS.get(name)
        if number is None:
            raise OSError(errno.ENOSYS, f"{name} is not known on {os.uname().machine}", name)
        about = next((f"{name} {os.fsdecode(word)}" for word in arguments if isinstance(word, bytes) and word), name)
        prepared = [self._prepared(argument) for argument in arguments]
        return self._add(number, prepared, about, tolerate, skip_on_error, skip_on_success)

    def pair(self, name: str, *arguments: int) -> tuple[Later, Later]:
        """A call that leaves two descriptors where its last argument points, such as pipe2(2): its other arguments
        are given."""
        first, second = self._place(), self._place()
        last = [_Address(first)]
        words: list[libc.Argument | _Address] = [*arguments, *last] if name == "socketpair" else [*last, *arguments]
        self.attempt(name, *words)
        return Later(first), Later(second)

    def born_again(self, flags: int, cgroup: int | None = None) -> None:
        """The rest is done by a child of this process's own parent, in the new namespaces of ``flags`` (clone3(2)).

        ``cgroup``: the cgroup v2 directory to be born in, one of the descriptors passed on.
        """
        if cgroup is None:
            self._add(_BORN_AGAIN, [(_VALUE, flags), (_VALUE, 0)], "clone3")
        else:
            self._add(_BORN_AGAIN, [(_VALUE, flags | INTO_CGROUP), (_RESULT, cgroup)], "clone3")

    def hand_over(self, descriptors: list[int]) -> None:
        """Tell the parent that everything is made, with these descriptors."""
        at = self._keep(struct.pack(f"={len(descriptors)}H", *descriptors))
        self._add(_HAND_OVER, [(_DATA, at), (_VALUE, len(descriptors))], "the answer")

    def to_bytes(self) -> bytes:
        """Raises OSError (E2BIG) for a recipe that the maker would not take."""
        head = _HEAD.pack(_MAGIC, len(self._operations), len(self._data), 0)
        whole = b"".join((head, *self._operations, self._data))
        if len(whole) > RECIPE_MOST or self._places > _PLACES_MOST or self.passed > PASSED_MOST:
            raise OSError(errno.E2BIG, f"{len(whole)} bytes, {self._places} results", "recipe")
        return whole

    def failure(self, told: bytes) -> str:
        """What a maker says about its failure, in words: the step, the reason, what it was about."""
        if len(told) != _FAILURE.size:
            return "its maker died"
        _kind, number, error = _FAILURE.unpack(told)
        step, about = self._about[number] if number < len(self._about) else ("", "")
        return f"{step}: {os.strerror(error)} ({about})"

    # --- arguments ---

    def _prepared(self, argument: libc.Argument | _Address) -> tuple[int, int]:
        if argument is None:
            return _VALUE, 0
        if isinstance(argument, Later):
            return _RESULT, int(argument)
        if isinstance(argument, int):
            return _VALUE, argument & _WORD
        if isinstance(argument, _Address):
            return _RESULT_ADDRESS, argument.place
        if isinstance(argument, libc.Packed):
            return _DATA, self._packed(argument)
        return _DATA, self._keep(bytes(argument) + b"\0")

    def _packed(self, argument: libc.Packed) -> int:
        """Its bytes; what is known only there is stored into them before the call."""
        known = [value if type(value) is int else 0 for value in argument.values]
        at = self._keep(struct.pack(argument.format, *known))
        for value, offset in zip(argument.values, argument.offsets(), strict=True):
            if isinstance(value, Later):
                self._add(_STORE_INT, [(_DATA, at + offset), (_RESULT, int(value))], "memory")
            elif isinstance(value, bytes):
                self._add(_STORE_WORD, [(_DATA, at + offset), (_DATA, self._keep(value + b"\0"))], "memory")
        return at

    def _keep(self, piece: bytes) -> int:
        at = len(self._data)
        self._data += piece + bytes(-len(piece) % 8)
        return at

    def _place(self) -> int:
        self._places += 1
        return self._places - 1

    def _add(
        self,
        number: int,
        arguments: list[tuple[int, int]],
        about: str,
        tolerate: tuple[int, ...] = (),
        skip_on_error: int = 0,
        skip_on_success: int = 0,
    ) -> Later:
        place = self._place()
        padded = arguments + [(_VALUE, 0)] * (6 - len(arguments))
        errors = (*tolerate, 0, 0, 0, 0)[:4]
        kinds, values = zip(*padded, strict=True)
        self._operations.append(
            _OPERATION.pack(number, place, skip_on_error, skip_on_success, *errors, *kinds, *values)
        )
        self._about.append((self._step, about))
        return Later(place)
