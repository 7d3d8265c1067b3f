"""Signal masks and dispositions of the spawner, its supervisors and the script (signal(7))."""

from __future__ import annotations

import os
import signal


def reset_ignored() -> None:
    """Give every ignored signal its default again.

    An ignored signal stays ignored over exec. Python ignores SIGPIPE and SIGXFSZ, and nohup SIGHUP; a script must
    find the defaults (``yes | head`` ends by SIGPIPE). Only called with those signals blocked.
    """
    for number in signal.valid_signals():
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


def block_all_but_sigchld() -> None:
    """Nothing that can be blocked reaches this process: a script of the same uid may signal it.

    SIGKILL and SIGSTOP cannot be blocked; what then happens is told in ``spawner``.
    """
    signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals() - {signal.SIGCHLD})


def unblock_all() -> None:
    """An empty signal mask, as a script expects it. Pending signals are not inherited by a fork."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def forget_child_watch() -> None:
    """In a fork that has children of its own and does not watch them."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)


class ChildWatch:
    """Makes poll(2) wake when a child ended or stopped (SIGCHLD): watch ``fileno()``, then ``clear()``."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        # Without a handler Python writes nothing to the wake-up descriptor.
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)

    def fileno(self) -> int:
        """Readable after a SIGCHLD."""
        return self._read

    def descriptors(self) -> set[int]:
        """Both ends, to be kept open."""
        return {self._read, self._write}

    def clear(self) -> None:
        """Forget the signals told so far. Call it before reaping, so that none is missed."""
        try:
            while os.read(self._read, 4096):
                pass
        except BlockingIOError:
            return
