"""An agent for the hostile tests: a process of its own that runs scripts in cells and tells how they ended.

Started by ``cell_rig.Agent``. One line of JSON on standard input for each script, one on standard output for each
outcome, which bear the same number; any number at once. The argument is JSON too: ``without``, names of steps that its
spawner leaves out; ``keep``, the level whose cells are kept ready; ``has_a_key``, whether its session keyring has one.

It is as careless as an agent may be: it has a secret in its environment, and descriptors that are not closed on exec.
"""

import ctypes
import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from typing import Any

import trio

from lattice_agent.errors import SandboxError
from lattice_agent.exec import cell_pool, launch
from lattice_agent.exec.host import count_uid_threads
from lattice_agent.exec.kernel import libc, seqpacket
from lattice_agent.exec.launch import SpawnerProcess, start_spawner
from lattice_agent.exec.library import DEFAULT_LIMITS, plan_for
from lattice_agent.exec.outcome import Outcome
from lattice_agent.exec.plan import Level, Profile
from lattice_agent.exec.runner import Runner, open_runner

LEAKED_PIPE, LEAKED_SOCKET = 77, 78
BUILD_S = 5.0
SOME_GROUPS = [4, 27]
"""Of an agent that is root: what they open must not be open to scripts."""
_JOIN_SESSION, _SETPERM, _SESSION, _EVERYBODY = 1, 5, -3, 0x3F3F_3F3F
_LEAVE_OUT = """
from lattice_agent.exec import cell_steps, template
for module, table in ((cell_steps, "CELL_STEPS"), (template, "TEMPLATE_STEPS")):
    setattr(module, table, tuple(step for step in getattr(module, table) if step.name not in {names!r}))
"""


def start_spawner_without(names: list[str]) -> SpawnerProcess:
    """A spawner that carries out all steps but these."""
    ours, theirs = seqpacket.pair()
    program = launch._program(theirs.fileno())
    start = program.index("from lattice_agent")
    with theirs:
        process = subprocess.Popen(
            [
                sys.executable,
                "-I",
                "-S",
                "-c",
                program[:start] + "\n" + _LEAVE_OUT.format(names=names) + program[start:],
            ],
            env={},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
    return SpawnerProcess(process, ours)


def leave_descriptors_open() -> None:
    """A pipe with something in it and a socket, for whoever inherits them."""
    read, write = os.pipe()
    os.write(write, b"secret")
    os.dup2(read, LEAKED_PIPE, inheritable=True)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    os.dup2(theirs.fileno(), LEAKED_SOCKET, inheritable=True)
    ours.detach()


async def answer(runner: Runner, request: dict[str, Any]) -> None:
    """Run one script and tell how it ended."""
    limits = replace(DEFAULT_LIMITS, **{"wall_s": 10.0, "cpu_s": 15, **request["limits"]})
    read_only, writable = (tuple(request["paths"].get(name, ())) for name in ("read_only", "writable"))
    profile = Profile(Level(request["level"]), read_only=read_only, writable=writable)
    if profile.level in (Level.LANDLOCK, Level.HOST) and os.geteuid() != 0:
        # As the agent does it: there the limit counts everything that the user has.
        limits = replace(limits, processes=limits.processes + (count_uid_threads(os.geteuid()) or 0))
    if request["work_disk"]:
        profile = replace(profile, work_disk=request["work_disk"])
    try:
        text = request["script"].encode("utf-8", "surrogateescape")
        plan = plan_for(text, profile, request["interpreter"], limits, request["environment"])
        if profile.level is Level.HOST:
            plan = replace(plan, profile=None)  # it has no cells
        told = tell(await runner.run(plan))
    except SandboxError as error:
        told = {"kind": "raised", "message": str(error)}
    print(json.dumps({"number": request["number"], **told}), flush=True)


def tell(outcome: Outcome) -> dict[str, Any]:
    """An outcome as JSON has it."""
    return {
        "kind": outcome.kind.value,
        "exit_code": outcome.exit_code,
        "signal": outcome.signal,
        "clock": outcome.clock and outcome.clock.value,
        "wall_s": outcome.wall_s,
        "cpu_s": outcome.cpu_s,
        "max_rss_bytes": outcome.max_rss_bytes,
        "stdout": outcome.stdout.kept.decode("utf-8", "replace"),
        "stderr": outcome.stderr.kept.decode("utf-8", "replace"),
        "produced": outcome.stdout.produced,
        "killed": outcome.sweeping.killed,
        "uncertain": outcome.sweeping.uncertain,
        "message": outcome.message,
    }


async def serve(options: dict[str, Any]) -> None:
    """Until the end of standard input."""
    profile = Profile(Level(options["keep"]))
    spawner = start_spawner_without(options["without"]) if any(options["without"]) else start_spawner()
    keep = profile if profile.level is not Level.LANDLOCK else None
    async with open_runner(spawner, keep_ready=keep) as runner:
        print(json.dumps({"number": 0, "kind": "ready"}), flush=True)
        lines = trio.lowlevel.FdStream(os.dup(0))
        async with lines, trio.open_nursery() as nursery:
            pending = b""
            async for piece in lines:
                *complete, pending = (pending + piece).split(b"\n")
                for line in complete:
                    nursery.start_soon(answer, runner, json.loads(line))


def put_a_key() -> None:
    """Into a session keyring of its own, so that the keyring of whoever runs the tests stays as it is (keyrings(7))."""
    libc.call("keyctl", _JOIN_SESSION, None)
    system = ctypes.CDLL(None, use_errno=True)
    add_key = {"x86_64": 248, "aarch64": 217}[os.uname().machine]
    key = system.syscall(add_key, b"user", b"lattice-test", b"secret", 6, _SESSION)
    assert key > 0, os.strerror(ctypes.get_errno())
    libc.call("keyctl", _SETPERM, key, _EVERYBODY)


def main() -> None:
    options = json.loads(sys.argv[1])
    cell_pool.BUILD_S = BUILD_S  # type: ignore[misc]  # final, but some cells without a step never come to be
    leave_descriptors_open()
    if options["has_a_key"]:
        put_a_key()
    if os.geteuid() == 0:
        os.setgroups(SOME_GROUPS)
    trio.run(serve, options)


if __name__ == "__main__":
    main()
