"""What ``lattice-agent exec`` is to run: the script's text, and the interpreter that it asks for in its first line."""

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lattice_agent.errors import UsageError
from lattice_agent.exec.local_policy import INTERPRETERS

STDIN: Final = "-"
MOST_BYTES: Final = 16 << 20
"""Of a script. It goes into the cell's work directory, where files of 64 MiB find room."""
EXIT_NOT_READ: Final = 126
_KINDS: Final = (
    (re.compile(r"sh|dash|ash"), "sh"),
    (re.compile(r"bash"), "bash"),
    (re.compile(r"python[0-9.]*"), "python3"),
    (re.compile(r"node|nodejs"), "node"),
)


class ScriptError(UsageError):
    """The script cannot be read, or asks for an interpreter that is not offered."""

    exit_code = EXIT_NOT_READ
    default_hint = "name a file that can be read, - for standard input, or -c and the script itself"


@dataclass(frozen=True)
class Script:
    """A script, and how its first line wants it to be run."""

    text: bytes
    interpreter: str
    options: str = ""
    """Words of the first line for the interpreter; they are not passed on."""


def read_script(name: str) -> bytes:
    """The content of a file, or of standard input for ``-``. Raises ScriptError."""
    try:
        if name == STDIN:
            text = sys.stdin.buffer.read(MOST_BYTES + 1)
        else:
            with Path(name).open("rb") as file:
                text = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise ScriptError(f"cannot read the script {name}: {error.strerror}") from None
    if len(text) > MOST_BYTES:
        raise ScriptError(
            f"the script {name} has more than {MOST_BYTES} bytes", hint="let it read its data from a file"
        )
    return text


def interpret(text: bytes, given: str) -> Script:
    """The script with its interpreter: the ``given`` one, else that of its first line, else sh. Raises ScriptError.

    >>> interpret(b"#!/usr/bin/env python3\\nprint()", "").interpreter
    'python3'
    """
    if given:
        if given not in INTERPRETERS:
            raise ScriptError(f"unknown interpreter {given!r}", hint=f"use one of {', '.join(INTERPRETERS)}")
        return Script(text, given)
    program, options = _first_line(text)
    if not program:
        return Script(text, "sh")
    name = next((name for pattern, name in _KINDS if pattern.fullmatch(os.path.basename(program))), None)
    if name is None:
        raise ScriptError(
            f"the script's first line asks for {program}, which is not one of {', '.join(INTERPRETERS)}",
            hint="choose one of them with --interpreter",
        )
    return Script(text, name, options)


def _first_line(text: bytes) -> tuple[str, str]:
    """Program and its words, as execve(2) reads them; env(1) is looked through."""
    line = text.split(b"\n", 1)[0].rstrip(b"\r")
    if not line.startswith(b"#!"):
        return "", ""
    words = line[2:].decode("utf-8", "replace").split()
    if words and os.path.basename(words[0]) == "env":
        words = words[1:]
        while words and (words[0].startswith("-") or "=" in words[0]):
            words = words[1:]
    return (words[0], " ".join(words[1:])) if words else ("", "")
