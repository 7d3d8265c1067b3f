"""Builds the one native program of the package (lattice_agent/exec/native); the rest is in pyproject.toml."""

import os
import subprocess
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.build_py import build_py

PLACE = Path("lattice_agent/exec/native")
SOURCES = [PLACE / "cell.c", PLACE / "maker.c"]
PROGRAM = PLACE / "cell"
FLAGS = [
    *("-std=c11", "-Os", "-Wall", "-Wextra", "-Werror"),
    *("-static", "-nostdlib", "-ffreestanding", "-fno-builtin", "-fno-stack-protector", "-fno-pie", "-no-pie"),
    *("-fno-asynchronous-unwind-tables", "-Wl,--build-id=none,-z,noexecstack,-z,norelro,-s"),
]


class BuildWithCell(build_py):
    """build_py, and the program: beside its source for an editable install, in the build tree otherwise."""

    def run(self) -> None:
        super().run()
        target = PROGRAM if self.editable_mode else Path(self.build_lib, PROGRAM)
        target.parent.mkdir(parents=True, exist_ok=True)
        compiler = os.environ.get("CC", "cc").split()
        subprocess.run([*compiler, *FLAGS, "-o", os.fspath(target), *map(os.fspath, SOURCES)], check=True)


class NativeDistribution(Distribution):
    """A wheel of this package is for one architecture."""

    def has_ext_modules(self) -> bool:
        return True


setup(cmdclass={"build_py": BuildWithCell}, distclass=NativeDistribution)
