"""What connects the agent with one run: a control socket and two pipes; and the request that hands them over."""

import math
import os
import resource
import socket
from contextlib import ExitStack
from typing import Final

from lattice_agent.exec.capture import Stream
from lattice_agent.exec.kernel import rlimits, seqpacket
from lattice_agent.exec.output_stream import OnOutput, listener
from lattice_agent.exec.plan import Limits, Plan
from lattice_agent.exec.requests import Run

CPU_KILL_MARGIN_S: Final = 1
"""SIGXCPU can be caught; so much CPU time later comes SIGKILL."""


class Channels:
    """The agent's ends, and ``theirs`` until they were handed over."""

    def __init__(self, control: socket.socket, stdout: Stream, stderr: Stream, theirs: list[int]) -> None:
        self.control = control
        self.stdout = stdout
        self.stderr = stderr
        self.theirs = theirs
        """Control socket, write end of stdout, write end of stderr: what a Run passes."""

    @classmethod
    def open(cls, output_bytes: int, on_output: OnOutput | None = None) -> "Channels":
        """Fresh channels. Raises OSError when there are no descriptors left; nothing is open then."""
        with ExitStack() as undo:
            control, their_control = seqpacket.pair()
            undo.callback(control.close)
            theirs = [their_control.detach()]
            undo.callback(lambda: seqpacket.close_all(theirs))
            stdout = Stream(_open_pipe(theirs), output_bytes, listener(on_output, "stdout"))
            undo.callback(stdout.close)
            stderr = Stream(_open_pipe(theirs), output_bytes, listener(on_output, "stderr"))
            undo.callback(stderr.close)
            undo.pop_all()
        return cls(control, stdout, stderr, theirs)

    def hand_over(self) -> None:
        """Close the other side's ends here: they were sent, or nobody will."""
        seqpacket.close_all(self.theirs)
        self.theirs = []

    def close(self) -> None:
        """Close the agent's ends, and the others if they never were sent."""
        self.hand_over()
        self.control.close()
        self.stdout.close()
        self.stderr.close()


def run_request(number: int, plan: Plan, directory: str, script_path: str) -> Run:
    """The Run that carries ``plan`` out in a work directory."""
    environment = [os.fsencode(f"{name}={value}") for name, value in plan.environment_in(directory)]
    return Run(
        number,
        [os.fsencode(plan.interpreter_path), os.fsencode(script_path)],
        environment,
        os.fsencode(directory),
        _limit_list(plan.limits),
        math.ceil(plan.linger_s * 1000),
    )


def _limit_list(limits: Limits) -> list[int]:
    """Flat (resource, soft, hard) of protocol 3.4, and no core files."""
    address = rlimits.INFINITY if limits.address_bytes is None else limits.address_bytes
    return [
        *(resource.RLIMIT_CPU, limits.cpu_s, limits.cpu_s + CPU_KILL_MARGIN_S),
        *(resource.RLIMIT_FSIZE, limits.file_bytes, limits.file_bytes),
        *(resource.RLIMIT_NPROC, limits.processes, limits.processes),
        *(resource.RLIMIT_AS, address, address),
        *(resource.RLIMIT_DATA, limits.data_bytes, limits.data_bytes),
        *(resource.RLIMIT_CORE, 0, 0),
    ]


def _open_pipe(theirs: list[int]) -> int:
    """A read end; the write end is among ``theirs``."""
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    theirs.append(write_end)
    return read_end
