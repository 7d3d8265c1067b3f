"""Makes the seccomp program of a variant with libseccomp (pyseccomp). Lives in a process of its own, for milliseconds.

The spawner forks a child that imports this and reads the program from a pipe; it never maps libseccomp itself. By hand:
``python -I -S -c`` with the import path set, ``filter_export.main(["inet"])``, the program on standard output.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from lattice_agent.errors import SandboxError
from lattice_agent.exec import syscalls
from lattice_agent.exec.syscalls import Conditions, Rule, Variant

if TYPE_CHECKING:
    from types import ModuleType

FOREIGN_ARCHITECTURE: Final = 0x0005_0000 | syscalls.EPERM
"""SECCOMP_RET_ERRNO: the answer to a call of another architecture. libseccomp would kill the thread; a call that is not
executed does no more harm, and the program that made it gets a word to say."""

_HALVING: Final = 2
"""SCMP_FLTATR_CTL_OPTIMIZE: find a call by halving instead of one comparison after the other."""


def export_filter(variant: Variant) -> bytes:
    """The program of a variant as seccomp(2) takes it: one ``struct sock_filter`` of 8 bytes after the other.

    Raises SandboxError when libseccomp or pyseccomp is missing or cannot express a rule.
    """
    return assemble(syscalls.rules(variant))


def assemble(rules: Iterable[Rule]) -> bytes:
    """A program that lets through what the rules name, has the calls of ``syscalls.MISSING`` be missing, and answers
    everything else with EPERM. A call that this architecture does not have is passed over.

    Raises SandboxError as ``export_filter`` does.
    """
    library = _library()
    try:
        program = library.SyscallFilter(library.ERRNO(syscalls.EPERM))
        program.set_attr(library.Attr.ACT_BADARCH, FOREIGN_ARCHITECTURE)
        with suppress(OSError):  # libseccomp before 2.5 does not know it; the program is then slower, not other
            program.set_attr(library.Attr.CTL_OPTIMIZE, _HALVING)
        for name, conditions in rules:
            for number in _numbers(library, name):
                # Exactly: libseccomp may otherwise leave out a comparison that it cannot express.
                program.add_rule_exactly(library.ALLOW, number, *_comparisons(library, conditions))
        missing = [number for name in syscalls.MISSING for number in _numbers(library, name)]
        for number in (*missing, *syscalls.MISSING_NUMBERS):
            program.add_rule_exactly(library.ERRNO(syscalls.ENOSYS), number)
        return _exported(program)
    except OSError as error:
        raise SandboxError(f"libseccomp cannot build the filter: {error.strerror}") from error


def main(arguments: list[str]) -> None:
    """Write the program of the variant whose true fields are named (``["inet", "memory_watch"]``) to descriptor 1.

    Raises SandboxError for a name that is not a field, and as ``export_filter`` does.
    """
    known = Variant.__slots__
    unknown = [name for name in arguments if name not in known]
    if unknown:
        raise SandboxError(f"a filter variant has no field {unknown[0]}", hint=f"its fields are {', '.join(known)}")
    rest = memoryview(export_filter(Variant(**{name: name in arguments for name in known})))
    while rest:
        rest = rest[os.write(1, rest) :]


def _library() -> ModuleType:
    """pyseccomp, which looks for libseccomp when it is imported."""
    try:
        import pyseccomp as library
    except (ImportError, RuntimeError, OSError) as error:
        raise SandboxError(
            f"cannot load libseccomp: {error}",
            hint="install the package libseccomp2 (libseccomp) and the Python module pyseccomp",
        ) from error
    module: ModuleType = library
    return module


def _numbers(library: ModuleType, name: str) -> list[int]:
    """The number of a call here, or none."""
    number: int = library.resolve_syscall(library.Arch.NATIVE, name)  # negative: not known, or not on this architecture
    if number < 0:
        number = syscalls.NUMBERS.get(name, -1)
    return [number] if number >= 0 else []


def _comparisons(library: ModuleType, conditions: Conditions) -> list[Any]:
    return [library.Arg(argument, library.MASKED_EQ, mask, value) for argument, mask, value in conditions]


def _exported(program: Any) -> bytes:
    """libseccomp writes to a descriptor only."""
    with open(os.memfd_create("filter", os.MFD_CLOEXEC), "rb", buffering=0) as file:
        program.export_bpf(file)
        size = os.lseek(file.fileno(), 0, os.SEEK_CUR)
        return os.pread(file.fileno(), size, 0)
